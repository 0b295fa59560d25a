"""Plans that hypothesis draws: what links do, without a word of names and numbers."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.accounting.recordings import (
    ALPHA,
    BETA,
    DAY,
    HOUR,
    IGNORED,
    MIB,
    MIDNIGHT,
    PORT,
    SLOT_SECONDS,
    SPARE,
    UPLINK,
    WG,
    Link,
    Recording,
)


@dataclass(frozen=True)
class Step:
    """One thing that happens; *which* picks among the links that are open."""

    do: str
    kind: str = ALPHA
    which: int = 0
    size: int = 1
    rx: int = 0
    tx: int = 0
    seconds: int = 0


Plan = tuple[Step, ...]


def play(plan: Iterable[Step], recording: Recording, *, is_prompt: bool = False) -> None:
    """Let the steps of *plan* happen, and the grid point after the last one.

    Where it *is_prompt*, each byte is told when it moves, and not by the time that it has to be.
    """
    for step in plan:
        do(step, recording)
        if is_prompt and recording.now % SLOT_SECONDS and recording.now % recording.settings.window:
            recording.dump()
    recording.next_point()


def do(step: Step, recording: Recording) -> None:
    alive = [link for link in recording.links if link.is_open and not link.is_apart]
    picked = alive[step.which % len(alive)] if alive else None
    match step.do:
        case "open":
            recording.crowd(step.kind, step.size, step.rx, step.tx)
        case "all move":
            for number, link in enumerate(each for each in alive if each.kind == step.kind):
                recording.move(link, step.rx + number * step.size, step.tx)
        case "reconnect":
            for _ in range(step.size):
                recording.close(recording.open(step.kind, step.rx, step.tx))
                recording.wait(step.seconds)
        case "churn":
            # At the very grid point: bytes, a dump between two generations, and bytes.
            recording.next_point()
            for link in alive:
                recording.move(link, step.rx, step.tx)
                recording.close(link)
            recording.crowd(step.kind, step.size, step.rx, step.tx)
        case "dump":
            recording.dump()
        case "wait":
            recording.wait(step.seconds)
        case "next point":
            recording.next_point(step.size)
        case "midnight":
            recording.wait((recording.now // DAY + 1) * DAY - recording.now)
        case _ if picked is not None:
            _do_to(picked, step, recording)


def _do_to(link: Link, step: Step, recording: Recording) -> None:
    match step.do:
        case "move":
            recording.move(link, step.rx, step.tx)
        case "close":
            recording.close(link, forgets=step.size % 2 == 0)
        case "rename":
            recording.rename(link, step.kind)
        case "reset":
            recording.reset(link, step.rx, step.tx)
        case "late":
            recording.announce_late(link, step.rx, step.tx)
        case _:
            raise AssertionError(step.do)


KINDS = (UPLINK, PORT, SPARE, ALPHA, BETA, WG, IGNORED)
# 5 % and 100 % of 3 Mbit/s for a slot are the edges of two buckets.
amounts = st.one_of(
    st.sampled_from([0, 1, MIB // 2, MIB - 1, MIB, MIB + 1, 5_625_000, 5_625_001, 112_500_000]),
    st.integers(0, 12).map(lambda mib: mib * MIB),
    st.integers(0, 12).map(lambda mib: mib * MIB),
    st.integers(0, 2**33),
)
kinds = st.sampled_from(KINDS)
sessions = st.sampled_from((ALPHA, ALPHA, BETA))
seconds = st.sampled_from((0, 1, 150, 299, 300, 301, 600, 3600))


def _one(step: st.SearchStrategy[Step]) -> st.SearchStrategy[list[Step]]:
    return step.map(lambda each: [each])


@st.composite
def _crowds(draw: st.DrawFn) -> list[Step]:
    kind, size = draw(sessions), draw(st.integers(4, 12))
    return [Step("open", kind, size=size, rx=draw(amounts), tx=draw(amounts))]


@st.composite
def _hoarders(draw: st.DrawFn) -> list[Step]:
    kind, idle = draw(sessions), draw(st.integers(4, 11))
    return [
        Step("open", kind, rx=draw(amounts), tx=draw(amounts)),
        Step("next point", size=draw(st.integers(1, 3))),
        Step("open", kind, size=idle, rx=MIB),
    ]


_steps = st.one_of(
    _one(st.builds(Step, st.just("open"), kinds, rx=amounts, tx=amounts)),
    _one(st.builds(Step, st.just("move"), which=st.integers(0, 30), rx=amounts, tx=amounts)),
    _one(
        st.builds(
            Step,
            st.just("all move"),
            kinds,
            size=st.sampled_from((0, 1, MIB)),
            rx=amounts,
            tx=amounts,
        )
    ),
    _one(st.builds(Step, st.just("close"), which=st.integers(0, 30), size=st.integers(1, 2))),
    _one(st.builds(Step, st.just("rename"), kinds, which=st.integers(0, 30))),
    _one(st.builds(Step, st.just("reset"), which=st.integers(0, 30), rx=amounts, tx=amounts)),
    _one(st.builds(Step, st.just("late"), which=st.integers(0, 30), rx=amounts, tx=amounts)),
    _one(st.builds(Step, st.just("wait"), seconds=seconds)),
    _one(st.sampled_from((Step("dump"), Step("midnight")))),
    _one(st.builds(Step, st.just("next point"), size=st.integers(1, 2))),
    _one(st.builds(Step, st.just("next point"), size=st.integers(1, 2))),
    _crowds(),
    _crowds(),
    _hoarders(),
    _one(
        st.builds(
            Step,
            st.sampled_from(("reconnect", "churn")),
            sessions,
            size=st.integers(4, 11),
            rx=amounts,
            tx=amounts,
            seconds=st.sampled_from((0, 60)),
        )
    ),
)
plans = st.lists(_steps, max_size=16).map(lambda scenes: tuple(itertools.chain(*scenes)))
windows = st.sampled_from(("5m", "450s", "1h", "6h"))
starts = st.sampled_from((MIDNIGHT - 700, MIDNIGHT - 3 * HOUR + 17, MIDNIGHT))
