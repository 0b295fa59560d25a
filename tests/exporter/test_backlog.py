"""What waits to be sent: in order, once, and bounded."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from trafficd.exporter.backlog import MOST_RELEASES, Backlog


@given(st.lists(st.integers(0, 50)), st.lists(st.integers(0, 50)), st.integers(0, 51))
def test_it_is_a_sorted_set(added: list[int], removed: list[int], before: int) -> None:
    backlog = Backlog()
    kept: set[int] = set()

    for at in added:
        backlog.add(at, b"%d" % at)
        kept.add(at)
    for at in removed:
        backlog.remove(at)
        kept.discard(at)

    assert backlog.count(before=before) == len([at for at in kept if at < before])
    for at in sorted(kept):
        assert asyncio.run(backlog.oldest()) == at
        assert backlog.frame(at) == b"%d" % at
        backlog.remove(at)
    assert backlog.count(before=1 << 40) == 0


def test_a_release_is_never_replaced() -> None:
    backlog = Backlog()
    backlog.add(300, b"first")

    backlog.add(300, b"second")

    assert backlog.frame(300) == b"first"


def test_a_beginning_gives_way_to_a_release_and_never_takes_its_place() -> None:
    backlog = Backlog()

    backlog.add(300, b"beginning", is_beginning=True)
    backlog.add(300, b"released")
    backlog.add(300, b"another")
    backlog.add(600, b"released")
    backlog.add(600, b"beginning", is_beginning=True)

    assert [backlog.frame(at) for at in (300, 600)] == [b"released", b"released"]
    assert backlog.count(before=1 << 40) == 2


def test_a_reader_that_releases_ever_more_fills_no_memory() -> None:
    backlog = Backlog()

    pushed_out = sum(backlog.add(at, b"") for at in range(MOST_RELEASES + 10))

    assert pushed_out == 10
    assert backlog.count(before=1 << 40) == MOST_RELEASES
    # 31 days of 5 minutes, and the latest.
    assert MOST_RELEASES >= 31 * 24 * 12 + 1


async def test_who_waits_for_the_oldest_gets_it_when_it_comes() -> None:
    backlog = Backlog()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        waiting = group.create_task(backlog.oldest())
        await asyncio.sleep(0)
        backlog.add(300, b"")

    assert waiting.result() == 300
