"""What is kept for all destinations: every release, and where a run of totals begins."""

from collections.abc import Callable
from itertools import permutations

import pytest

from tests.exporter.receiver import HOUR, MIB, MIDNIGHT, destination, release
from trafficd.clock import SystemClock
from trafficd.exporter.backlog import MOST_RELEASES
from trafficd.exporter.destinations import Destinations, Pushing
from trafficd.exporter.post import Answer
from trafficd.exporter.push import Pusher, Sender
from trafficd.releases import Release, Totals
from trafficd.wire.frame import FRAME_BYTES, decode_frame, encode_frame
from trafficd.wire.remote_write import Protocol

SENDER = Sender("fra-17", "fra", HOUR)


class Nowhere:
    """A way that nothing is sent by."""

    async def send(self, block: bytes, protocol: Protocol, now: Callable[[], float]) -> Answer:
        raise AssertionError("nothing runs")


class Kept(Pusher):
    """A pusher of which only the backlog is looked at."""

    def __init__(self) -> None:
        to, clock = destination("http://127.0.0.1:9/"), SystemClock()
        super().__init__(to, SENDER, Nowhere(), lambda: False, clock=clock, chance=lambda: 0.0)

    @property
    def releases(self) -> list[Release]:
        instants = self._backlog._instants
        frames = (self._backlog.frame(at).ljust(FRAME_BYTES, b"\0") for at in instants)
        return [decode_frame(each) for each in frames]


def kept(*releases: Release) -> list[Release]:
    pusher = Kept()
    everybody = Destinations(Pushing((), SENDER, SystemClock()), [], [pusher])
    for each in releases:
        everybody.keep(each, encode_frame(each))
    return pusher.releases


# A start on the grid has its first release a window later, any other nearly two.
@pytest.mark.parametrize("first", [1, 2])
def test_a_run_begins_with_zeros_a_window_before_its_first_release(first: int) -> None:
    run = [
        release(MIDNIGHT + (first + number) * HOUR, received=number * MIB) for number in (0, 1, 2)
    ]
    zeros = release(MIDNIGHT + (first - 1) * HOUR, received=0)

    for order in permutations(run):
        assert kept(*order) == [zeros, *run]


def test_a_later_release_of_a_run_is_no_beginning() -> None:
    late = release(MIDNIGHT + 3 * HOUR)

    assert kept(late) == [late]


def test_each_run_has_a_beginning_of_its_own() -> None:
    before = release(MIDNIGHT + HOUR, received=9 * MIB)
    after = release(MIDNIGHT + 5 * HOUR, received=MIB, started_at=MIDNIGHT + 4 * HOUR)

    found = kept(after, before)

    assert [each.at for each in found] == [MIDNIGHT + hour * HOUR for hour in (0, 1, 4, 5)]
    assert [each.uplink for each in found if not each.uplink.rx_bytes] == [Totals(), Totals()]
    assert {each.started_at for each in found[2:]} == {MIDNIGHT + 4 * HOUR}


def test_what_was_sent_of_a_run_has_no_beginning_any_more() -> None:
    pusher = Kept()
    everybody = Destinations(Pushing((), SENDER, SystemClock()), [], [pusher])
    first, second = release(MIDNIGHT + HOUR), release(MIDNIGHT + 2 * HOUR)

    everybody.keep(first, encode_frame(first))
    for each in pusher.releases:
        pusher._backlog.remove(each.at)
    everybody.keep(second, encode_frame(second))

    # Zeros at the time of the first would be another value for it.
    assert pusher.releases == [second]


def test_a_reader_that_makes_up_runs_fills_no_memory() -> None:
    everybody = Destinations(Pushing((), SENDER, SystemClock()), [], [Kept()])
    frame = encode_frame(release(MIDNIGHT))

    for number in range(MOST_RELEASES + 10):
        everybody.keep(release(MIDNIGHT, started_at=number), frame)

    assert len(everybody._earliest) == MOST_RELEASES


def test_a_beginning_has_all_series_of_its_release() -> None:
    zeros, first = kept(release(MIDNIGHT + HOUR))

    assert [name for name, _ in zeros.classes] == [name for name, _ in first.classes]
    assert zeros.capacity_bits_per_second == first.capacity_bits_per_second


def test_a_beginning_before_all_time_that_can_be_told_is_left_out() -> None:
    # The first hour of 1971 whose milliseconds take six bytes: 2 ** 35 and a bit.
    first = 34_362_000

    assert kept(release(first, started_at=first - HOUR)) == [
        release(first, started_at=first - HOUR)
    ]


def test_before_the_first_decision_nothing_is_kept() -> None:
    assert kept(release(0, started_at=0)) == []
