"""The second version of the protocol, and the way back to the first.

The cases are those of the public compliance suite of senders, judged by what the receiver has read.
"""

import pytest

from tests.exporter.receiver import (
    HOUR,
    MIDNIGHT,
    WRITTEN,
    Heard,
    Receiver,
    Says,
    destination,
    frame,
    pushing,
    receiving,
    send_all,
)
from trafficd.exporter.push import PushHealth
from trafficd.wire.remote_write import Protocol

HOURS = [MIDNIGHT + number * HOUR for number in range(1, 4)]
TYPES = {
    "2.0.0": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "0.1.0": "application/x-protobuf",
}


async def pushed(receiver: Receiver) -> PushHealth:
    """Push three releases to a destination that is said to know the second version."""
    async with pushing(destination(receiver.url, protocol=Protocol.V2)) as pusher:
        for at in HOURS:
            pusher.keep(at, frame(at))
        await send_all(pusher)
        return pusher.health(before=1 << 40)


def spoken(heard: list[Heard]) -> list[tuple[str, int]]:
    """Return the version of each message and the time in it; its type has to say the same."""
    found = []
    for each in heard:
        version = each.headers["X-Prometheus-Remote-Write-Version"]
        assert each.headers["Content-Type"] == TYPES[version]
        found.append((version, each.at))
    return found


@pytest.mark.parametrize("first", [Says(415), Says(204), Says(200, body=b"ok")])
async def test_who_does_not_know_the_second_version_gets_the_first_from_then_on(
    first: Says,
) -> None:
    async with receiving(first) as receiver:
        health = await pushed(receiver)

    assert spoken(receiver.heard) == [
        ("2.0.0", HOURS[0]),
        *(("0.1.0", at) for at in HOURS),
    ]
    assert health == PushHealth("centre", sent=3, last_success_at=MIDNIGHT + 20 * HOUR)


async def test_the_first_version_is_remembered_through_failures_and_sent_again_as_it_was() -> None:
    async with receiving(Says(503), Says(415), Says(500), Says(429), Says(503)) as receiver:
        health = await pushed(receiver)

    assert spoken(receiver.heard) == [
        ("2.0.0", HOURS[0]),
        ("2.0.0", HOURS[0]),
        *[("0.1.0", HOURS[0])] * 4,
        *(("0.1.0", at) for at in HOURS[1:]),
    ]
    for tries in (receiver.heard[:2], receiver.heard[2:6]):
        assert len({each.body for each in tries}) == 1
    assert (health.sent, health.failed, health.dropped) == (3, 4, 0)


@pytest.mark.parametrize("status", [415, 400])
async def test_who_refuses_both_versions_is_asked_once_in_each(status: int) -> None:
    async with receiving(Says(415), Says(status)) as receiver:
        health = await pushed(receiver)

    assert [at for _, at in spoken(receiver.heard)] == [HOURS[0], *HOURS]
    assert (health.sent, health.failed, health.dropped) == (2, 0, 1)


@pytest.mark.parametrize("written", ["93", "0"])
async def test_who_has_written_the_second_version_keeps_getting_it(written: str) -> None:
    async with receiving() as receiver:
        receiver.always = Says(204, {"X-Prometheus-Remote-Write-Samples-Written": written})
        health = await pushed(receiver)

    assert spoken(receiver.heard) == [("2.0.0", at) for at in HOURS]
    assert health.sent == 3


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_a_failure_of_the_second_version_is_no_reason_for_the_first(status: int) -> None:
    async with receiving(Says(status), Says(status, WRITTEN)) as receiver:
        receiver.always = Says(204, WRITTEN)
        health = await pushed(receiver)

    assert spoken(receiver.heard) == [("2.0.0", at) for at in (*[HOURS[0]] * 2, *HOURS)]
    assert (health.sent, health.failed, health.dropped) == (3, 2, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
@pytest.mark.parametrize("headers", [{}, WRITTEN], ids=["nothing written", "written in part"])
async def test_a_refusal_of_the_second_version_is_no_reason_for_the_first(
    status: int, headers: dict[str, str], said: list[str]
) -> None:
    async with receiving(Says(status, headers, b"duplicate sample")) as receiver:
        receiver.always = Says(204, WRITTEN)
        health = await pushed(receiver)

    assert spoken(receiver.heard) == [("2.0.0", at) for at in HOURS]
    assert (health.sent, health.failed, health.dropped) == (2, 0, 1)
    assert said == [f"exporter: centre refused a release with {status}: duplicate sample"]
