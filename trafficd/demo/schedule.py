"""Who is connected to a node, and what they move: the same story for the same seed."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

STEP_SECONDS = 0.05

SHARED_LINK = "wg0"
SESSION_LINK = "ppp"

# Sessions that stay for a while; each moves over 1 MiB in a window of five real seconds.
_MEAN_STEPS = 160
# One step in four has a client that comes, asks for one thing and is gone in milliseconds.
_SHORT_SESSIONS = 0.25
_PACKET_BYTES = range(4000, 8800)


@dataclass(frozen=True, slots=True)
class Opened:
    """A link appears; every packet on it has *packet_bytes*."""

    link: str
    packet_bytes: int


@dataclass(frozen=True, slots=True)
class Moved:
    """So many packets come from the clients behind *link*, and so many go to them."""

    link: str
    received: int
    transmitted: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A link is taken away."""

    link: str


Action = Opened | Moved | Closed


def steps(seed: str, residents: int) -> Iterator[list[Action]]:
    """Yield what happens in each step, for ever.

    Shape: the shared link is there from the first step on, and about *residents* sessions are open
    at a time. A session's link has the lowest number that is free, as pppd gives it.
    """
    chance = random.Random(seed)  # noqa: S311  # a story that repeats, not a secret
    left: dict[str, int] = {}
    actions: list[Action] = [Opened(SHARED_LINK, _PACKET_BYTES[-1])]
    while True:
        actions.append(Moved(SHARED_LINK, chance.randint(0, 2), chance.randint(2, 6)))
        while len(left) < residents:
            link = _lowest_free(left)
            left[link] = 1 + int(chance.expovariate(1 / _MEAN_STEPS))
            actions.append(Opened(link, chance.choice(_PACKET_BYTES)))
        actions.extend(Moved(link, chance.randint(0, 1), chance.randint(1, 3)) for link in left)
        if chance.random() < _SHORT_SESSIONS:
            link = _lowest_free(left)
            actions.append(Opened(link, chance.choice(_PACKET_BYTES)))
            actions.append(Moved(link, chance.randint(1, 3), chance.randint(1, 9)))
            actions.append(Closed(link))
        for link in list(left):
            left[link] -= 1
            if not left[link]:
                del left[link]
                actions.append(Closed(link))
        yield actions
        actions = []


def _lowest_free(taken: dict[str, int]) -> str:
    names = (f"{SESSION_LINK}{number}" for number in itertools.count())
    return next(name for name in names if name not in taken)
