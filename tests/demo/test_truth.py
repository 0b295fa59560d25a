"""The channel between the traffic and the demo."""

import socket
from collections.abc import Iterator

import pytest

from trafficd.demo.truth import NOT_STILL, Reporter, Truth, Witness
from trafficd.errors import HalfEndedError
from trafficd.releases import Totals


def truth(*, still_at: int = NOT_STILL, opened: int = 0) -> Truth:
    return Truth(still_at, Totals(1, 2), Totals(3, 2**63), opened, 0)


Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    traffic_end, demo_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with traffic_end, demo_end:
        yield traffic_end, demo_end


@pytest.fixture
def ends(sockets: Sockets) -> tuple[Reporter, Witness]:
    traffic_end, demo_end = sockets
    return Reporter(traffic_end), Witness(demo_end)


def test_a_witness_knows_the_newest_report(ends: tuple[Reporter, Witness]) -> None:
    reporter, witness = ends
    reporter.report(truth(opened=1))
    reporter.report(truth(still_at=300, opened=2))

    witness.look()

    assert witness.latest == truth(still_at=300, opened=2)


def test_traffic_hears_what_the_demo_saw(ends: tuple[Reporter, Witness]) -> None:
    reporter, witness = ends
    witness.saw(600)

    reporter.listen(1.0)

    assert reporter.seen_point == 600


def test_reports_that_nobody_reads_hold_nothing_up(ends: tuple[Reporter, Witness]) -> None:
    reporter, witness = ends
    for number in range(5000):
        reporter.report(truth(opened=number))

    witness.look()

    assert witness.latest is not None


def test_traffic_ends_with_the_demo(sockets: Sockets) -> None:
    traffic_end, demo_end = sockets
    reporter = Reporter(traffic_end)
    demo_end.close()

    with pytest.raises(HalfEndedError):
        reporter.listen(1.0)


def test_a_demo_survives_the_end_of_its_traffic(sockets: Sockets) -> None:
    traffic_end, demo_end = sockets
    witness = Witness(demo_end)
    witness.saw(0)
    traffic_end.close()

    witness.look()
    witness.saw(300)

    assert witness.latest is None
