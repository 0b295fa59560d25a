"""Recorded link events go through the reader's own rules."""

import itertools
from collections.abc import Iterator

import pytest

from trafficd.clock import Moment
from trafficd.demo.fleet import FLEET
from trafficd.demo.node import WINDOW_SECONDS, Node
from trafficd.demo.recording import Recording
from trafficd.demo.schedule import Closed, Moved, Opened, steps
from trafficd.releases import Release, Totals
from trafficd.schema import ROUNDING_BYTES

GRID_POINT = 1_700_000_100


class Exporter:
    """The other end of a recording."""

    def __init__(self) -> None:
        self._sent: list[Release] = []
        settings = Node(FLEET[0], 9791).settings
        self.recording = Recording(settings, self._sent.append, after(0))

    def releases(self) -> Iterator[Release]:
        """Yield what was sent since the last call."""
        while self._sent:
            yield self._sent.pop(0)


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


def after(seconds: float) -> Moment:
    return Moment(GRID_POINT + seconds, 1000.0 + seconds)


def floor(totals: Totals) -> Totals:
    return Totals(
        totals.rx_bytes // ROUNDING_BYTES * ROUNDING_BYTES,
        totals.tx_bytes // ROUNDING_BYTES * ROUNDING_BYTES,
    )


def test_a_recording_releases_zeros_first(exporter: Exporter) -> None:
    (release,) = exporter.releases()

    assert (release.at, release.uplink, release.tunnel) == (0, Totals(), Totals())


def test_a_recording_releases_what_moved_rounded_down(exporter: Exporter) -> None:
    for action in itertools.chain.from_iterable(itertools.islice(steps("fra-1", 14), 100)):
        match action:
            case Opened(link, packet_bytes):
                exporter.recording.open(link, packet_bytes)
            case Moved(link, received, transmitted):
                exporter.recording.move(link, received, transmitted)
            case Closed(link):
                exporter.recording.close(link)

    exporter.recording.keep_time(after(WINDOW_SECONDS))

    *_, release = exporter.releases()
    assert release.at == GRID_POINT + WINDOW_SECONDS
    assert release.tunnel == floor(exporter.recording.flow.tunnel)
    assert release.uplink == floor(exporter.recording.flow.uplink)
    assert release.tunnel.tx_bytes > 0


def test_a_recording_keeps_the_bytes_of_a_session_that_is_gone(exporter: Exporter) -> None:
    # A crowd: of fewer sessions, or of one large one, nothing would be released.
    crowd = [f"ppp{number}" for number in range(10)]
    for link in crowd:
        exporter.recording.open(link, 4096)
    for link in crowd:
        exporter.recording.move(link, 1024, 512)
        exporter.recording.close(link)

    exporter.recording.keep_time(after(WINDOW_SECONDS))

    *_, release = exporter.releases()
    assert dict(release.classes)["ppp"] == Totals(40 << 20, 20 << 20)


def test_a_recording_releases_nothing_between_grid_points(exporter: Exporter) -> None:
    exporter.recording.keep_time(after(WINDOW_SECONDS - 20))
    exporter.recording.keep_time(after(WINDOW_SECONDS))
    exporter.recording.keep_time(after(WINDOW_SECONDS + 1))

    assert [release.at for release in exporter.releases()] == [0, GRID_POINT + WINDOW_SECONDS]
