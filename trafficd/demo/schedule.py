"""Who is connected to a node, and what they move: the same story for the same seed."""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

STEP_SECONDS = 0.05

SHARED_LINK = "wg0"
SESSION_LINK = "ppp"

# Sessions that stay for a while; each moves over 1 MiB in a window of five real seconds.
_MEAN_STEPS = 160
# One step in four has a client that comes, asks for one thing and is gone in milliseconds.
_SHORT_SESSIONS = 0.25
_PACKET_BYTES = range(4000, 8800)
# The fewest and the most packets in a step, from a client and to it.
_SESSION, _SHORT, _SHARED = ((0, 1), (1, 3)), ((1, 3), (1, 9)), ((0, 2), (2, 6))


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


def _once() -> float:
    return 1.0


def steps(seed: str, residents: int, shared: Callable[[], float] = _once) -> Iterator[list[Action]]:
    """Yield what happens in each step, for ever.

    Shape: the shared link is there from the first step on, and about *residents* sessions are open
    at a time. A session's link has the lowest number that is free, as pppd gives it. The shared
    link moves something *shared* times in a step, on the mean.
    """
    chance = random.Random(seed)  # noqa: S311  # a story that repeats, not a secret
    left: dict[str, int] = {}
    actions: list[Action] = [Opened(SHARED_LINK, _PACKET_BYTES[-1])]
    while True:
        times = int(shared() + chance.random())
        actions.extend(_moved(SHARED_LINK, _SHARED, chance) for _ in range(times))
        while len(left) < residents:
            link = _lowest_free(left)
            left[link] = 1 + int(chance.expovariate(1 / _MEAN_STEPS))
            actions.append(Opened(link, chance.choice(_PACKET_BYTES)))
        actions.extend(_moved(link, _SESSION, chance) for link in left)
        if chance.random() < _SHORT_SESSIONS:
            link = _lowest_free(left)
            actions.append(Opened(link, chance.choice(_PACKET_BYTES)))
            actions.append(_moved(link, _SHORT, chance))
            actions.append(Closed(link))
        for link in list(left):
            left[link] -= 1
            if not left[link]:
                del left[link]
                actions.append(Closed(link))
        yield actions
        actions = []


def session_bytes(residents: int) -> float:
    """Return what all sessions move in a step, on the mean."""
    packet = (_PACKET_BYTES[0] + _PACKET_BYTES[-1]) / 2
    return packet * (residents * _mean(_SESSION) + _SHORT_SESSIONS * _mean(_SHORT))


def shared_bytes() -> float:
    """Return what the shared link moves each time, on the mean."""
    return _PACKET_BYTES[-1] * _mean(_SHARED)


_Packets = tuple[tuple[int, int], tuple[int, int]]


def _mean(packets: _Packets) -> float:
    return sum(low + high for low, high in packets) / 2


def _moved(link: str, packets: _Packets, chance: random.Random) -> Moved:
    received, transmitted = packets
    return Moved(link, chance.randint(*received), chance.randint(*transmitted))


def _lowest_free(taken: dict[str, int]) -> str:
    names = (f"{SESSION_LINK}{number}" for number in itertools.count())
    return next(name for name in names if name not in taken)
