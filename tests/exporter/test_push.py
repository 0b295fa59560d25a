"""Pushing to a real server: what arrives, in which order, and what is tried again.

The cases are those of the public compliance suite of senders, as far as they are about what a
sender of cumulative totals does; each is judged by what the receiver has read.
"""

from itertools import pairwise

import pytest

from tests.exporter.receiver import (
    HOUR,
    MIB,
    MIDNIGHT,
    WRITTEN,
    Heard,
    Pause,
    Says,
    destination,
    frame,
    pushing,
    receiving,
    release,
    run_until,
    send_all,
)
from trafficd.exporter.push import PushHealth
from trafficd.series import series_of
from trafficd.units import Duration
from trafficd.wire.remote_write import Protocol

FAR = 1 << 40
HOURS = [MIDNIGHT + number * HOUR for number in range(1, 6)]


def ats(heard: list[Heard]) -> list[int]:
    return [each.at for each in heard]


@pytest.mark.parametrize(
    ("protocol", "content_type", "version"),
    [
        (Protocol.V1, "application/x-protobuf", "0.1.0"),
        (Protocol.V2, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
    ],
)
async def test_a_message_is_posted_with_the_headers_of_its_protocol(
    protocol: Protocol, content_type: str, version: str
) -> None:
    async with (
        receiving(Says(headers=WRITTEN)) as receiver,
        pushing(destination(receiver.url, protocol=protocol)) as pusher,
    ):
        pusher.keep(HOURS[0], frame(HOURS[0]))
        await send_all(pusher)

    (heard,) = receiver.heard
    assert (heard.method, heard.path) == ("POST", "/api/v1/write")
    assert heard.headers["Content-Type"] == content_type
    assert heard.headers["Content-Encoding"] == "snappy"
    assert heard.headers["X-Prometheus-Remote-Write-Version"] == version
    assert heard.headers["User-Agent"].startswith("trafficd/")
    assert "Accept-Encoding" not in heard.headers
    assert "Authorization" not in heard.headers


@pytest.mark.parametrize("protocol", Protocol)
async def test_a_message_is_the_release_whole_with_labels_in_order(protocol: Protocol) -> None:
    async with (
        receiving(Says(headers=WRITTEN)) as receiver,
        pushing(destination(receiver.url, protocol=protocol)) as pusher,
    ):
        pusher.keep(HOURS[0], frame(HOURS[0], received=7 * MIB))
        await send_all(pusher)

    (heard,) = receiver.heard
    expected = {
        (("__name__", each.name), *each.labels, ("location", "fra"), ("node", "fra-17")): value
        for each, value in series_of(release(HOURS[0], received=7 * MIB))
    }
    got = {}
    for labels, samples in heard.series:
        names = [*labels]
        assert names == sorted(set(names))
        assert all(labels.values())
        ((time, value),) = samples
        assert time == HOURS[0] * 1000
        got[tuple(labels.items())] = value
    assert {tuple(sorted(labels)): value for labels, value in expected.items()} == got
    name = "trafficd_uplink_receive_bytes_total"
    assert got[("__name__", name), ("location", "fra"), ("node", "fra-17")] == 7 * MIB


async def test_releases_are_sent_oldest_first_one_each() -> None:
    async with receiving() as receiver, pushing(destination(receiver.url)) as pusher:
        # As a reader hands them over: the latest, and then what was missed.
        for at in (HOURS[4], *HOURS[:4]):
            pusher.keep(at, frame(at))
        await send_all(pusher)

    assert ats(receiver.heard) == HOURS


async def test_releases_of_another_run_are_sent_as_they_are() -> None:
    restarted = frame(HOURS[1], received=MIB, started_at=HOURS[0])
    async with receiving() as receiver, pushing(destination(receiver.url)) as pusher:
        pusher.keep(HOURS[0], frame(HOURS[0], received=9 * MIB))
        pusher.keep(HOURS[1], restarted)
        await send_all(pusher)

    def value(heard: Heard, name: str) -> float:
        (found,) = (s for labels, s in heard.series if labels["__name__"] == name)
        return found[0][1]

    first, second = receiver.heard
    started = "trafficd_start_timestamp_seconds"
    assert [value(each, started) for each in (first, second)] == [MIDNIGHT, HOURS[0]]
    assert value(second, "trafficd_uplink_receive_bytes_total") == MIB


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_what_is_taken_is_sent_once_whatever_stands_in_the_answer(status: int) -> None:
    body = b"" if status == 204 else b"<h1>error</h1>" * 100_000
    async with (
        receiving(Says(status, body=body), Says(status, body=body)) as receiver,
        pushing(destination(receiver.url)) as pusher,
    ):
        for at in HOURS[:2]:
            pusher.keep(at, frame(at))
        await send_all(pusher)
        health = pusher.health(before=FAR)

    assert ats(receiver.heard) == HOURS[:2]
    assert (health.sent, health.failed, health.dropped) == (2, 0, 0)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 599, 301, 302, 307, 308])
async def test_what_may_work_later_is_sent_again_byte_for_byte_before_all_else(
    status: int,
) -> None:
    moved = {"Location": "/elsewhere"}
    async with (
        receiving(*[Says(status, moved)] * 3) as receiver,
        pushing(destination(receiver.url)) as pusher,
    ):
        for at in HOURS[:2]:
            pusher.keep(at, frame(at))
        await send_all(pusher)
        health = pusher.health(before=FAR)

    assert ats(receiver.heard) == [HOURS[0]] * 4 + [HOURS[1]]
    assert len({each.body for each in receiver.heard[:4]}) == 1
    assert {each.path for each in receiver.heard} == {"/api/v1/write"}
    assert (health.sent, health.failed, health.dropped) == (2, 3, 0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422])
async def test_what_never_works_is_dropped_and_counted_and_the_next_is_sent(
    status: int, said: list[str]
) -> None:
    refusal = Says(status, body=b"out of order sample\nsecond line")
    async with (
        receiving(refusal) as receiver,
        pushing(destination(receiver.url)) as pusher,
    ):
        for at in HOURS[:2]:
            pusher.keep(at, frame(at))
        await send_all(pusher)
        health = pusher.health(before=FAR)

    assert ats(receiver.heard) == HOURS[:2]
    assert (health.sent, health.failed, health.dropped) == (1, 0, 1)
    assert said == [f"exporter: centre refused a release with {status}: out of order sample"]


async def test_a_month_of_refusals_is_a_line_a_minute(said: list[str]) -> None:
    clock = Pause(MIDNIGHT + 20 * HOUR)
    async with receiving() as receiver, pushing(destination(receiver.url), clock=clock) as pusher:
        receiver.always = Says(401)
        for at in HOURS[:4]:
            pusher.keep(at, frame(at))
        await send_all(pusher)
        clock.advance(60)
        pusher.keep(HOURS[4], frame(HOURS[4]))
        await send_all(pusher)

    assert len(receiver.heard) == 5
    assert len(said) == 2


async def test_pauses_grow_with_jitter_up_to_a_cap_and_begin_anew_after_a_success() -> None:
    clock = Pause(MIDNIGHT + 20 * HOUR)
    async with (
        receiving(*[Says(503)] * 12, Says(204), Says(503)) as receiver,
        pushing(destination(receiver.url), clock=clock, chance=lambda: 0.5) as pusher,
    ):
        for at in HOURS[:2]:
            pusher.keep(at, frame(at))
        await send_all(pusher)

    # Behind the pause at the start; a pace is shorter than any pause.
    pauses = [each for each in clock.slept[1:] if each > 0.5]
    assert pauses[:3] == [0.75, 1.5, 3.0]
    assert all(earlier <= later for earlier, later in pairwise(pauses[:12]))
    assert pauses[11] == 300 * 0.75
    assert pauses[12:] == [0.75]
    assert ats(receiver.heard) == [HOURS[0]] * 13 + [HOURS[1]] * 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "wish", [{"Retry-After": "120"}, {"Retry-After": "Tue, 14 Nov 2023 23:02:00 GMT",
                                      "Date": "Tue, 14 Nov 2023 23:00:00 GMT"}],
    ids=["seconds", "date"],
)  # fmt: skip
async def test_retry_after_is_not_undercut(status: int, wish: dict[str, str]) -> None:
    clock = Pause(MIDNIGHT + 20 * HOUR)
    async with (
        receiving(Says(status, wish)) as receiver,
        pushing(destination(receiver.url), clock=clock) as pusher,
    ):
        pusher.keep(HOURS[0], frame(HOURS[0]))
        await send_all(pusher)

    assert len(receiver.heard) == 2
    assert max(clock.slept[1:]) == 120


async def test_a_release_too_old_for_its_destination_is_dropped_unsent() -> None:
    clock = Pause(MIDNIGHT + 20 * HOUR)
    async with receiving() as receiver:
        to = destination(receiver.url, max_age=Duration(16 * HOUR))
        async with pushing(to, clock=clock) as pusher:
            for at in HOURS:
                pusher.keep(at, frame(at))
            await send_all(pusher)
            health = pusher.health(before=FAR)

    # The first four hours are 16 hours and some seconds old, or older.
    assert ats(receiver.heard) == [HOURS[4]]
    assert (health.sent, health.dropped) == (1, 4)


async def test_a_release_becomes_too_old_while_it_is_tried() -> None:
    async with receiving() as receiver:
        receiver.always = Says(500)
        to = destination(receiver.url, max_age=Duration(HOUR))
        async with pushing(to, clock=Pause(HOURS[0])) as pusher:
            pusher.keep(HOURS[0], frame(HOURS[0]))
            await send_all(pusher)
            health = pusher.health(before=FAR)

    assert (health.sent, health.dropped) == (0, 1)
    assert health.failed == len(receiver.heard) > 10


@pytest.mark.parametrize("protocol", Protocol)
async def test_size_and_moment_are_the_same_whatever_moved(protocol: Protocol) -> None:
    # An idle node, a busy one, and one whose window was withheld: totals as before.
    moved = (0, 900_000 * MIB, 900_000 * MIB)
    moments: list[float] = []
    async with receiving(*[Says(headers=WRITTEN)] * len(moved)) as receiver:
        to = destination(receiver.url, protocol=protocol)
        for number, received in enumerate(moved):
            at = HOURS[number]
            clock = Pause(at)
            async with pushing(to, clock=clock) as pusher:
                pusher.keep(at, frame(at, received=received))
                await send_all(pusher)
            moments.append(clock.now().utc_seconds - at)

    assert len(receiver.heard) == len(moved)
    # Of the whole request nothing differs but the body, and that not in its length.
    shapes = {(len(each.body), *sorted(each.headers.items())) for each in receiver.heard}
    assert len(shapes) == 1
    assert len(set(moments)) == 1
    assert moments[0] >= 15


async def test_catching_up_keeps_a_pace_of_a_hundred_a_second() -> None:
    clock = Pause(MIDNIGHT + 30 * 24 * HOUR)
    month = [MIDNIGHT + number * HOUR for number in range(300)]
    async with receiving() as receiver, pushing(destination(receiver.url), clock=clock) as pusher:
        begun = clock.now().elapsed_seconds
        for at in month:
            pusher.keep(at, frame(at))
        await send_all(pusher)
        took = clock.now().elapsed_seconds - begun - 2.0

    assert ats(receiver.heard) == month
    assert took == pytest.approx(299 * 0.01)


async def test_a_start_waits_for_chance_and_for_what_was_missed() -> None:
    clock = Pause(MIDNIGHT + 20 * HOUR)
    async with (
        receiving() as receiver,
        pushing(destination(receiver.url), clock=clock, chance=lambda: 0.5) as pusher,
    ):
        pusher.keep(HOURS[0], frame(HOURS[0]))
        await send_all(pusher)

    assert clock.slept[0] == 16


async def test_an_older_release_that_comes_late_is_sent_all_the_same() -> None:
    async with receiving() as receiver, pushing(destination(receiver.url)) as pusher:
        pusher.keep(HOURS[2], frame(HOURS[2]))
        await run_until(pusher, lambda: pusher.health(before=FAR).sent == 1)
        pusher.keep(HOURS[1], frame(HOURS[1]))
        await send_all(pusher)

    assert ats(receiver.heard) == [HOURS[2], HOURS[1]]


async def test_one_message_is_under_way_at_a_time() -> None:
    async with receiving() as receiver, pushing(destination(receiver.url)) as pusher:
        for at in HOURS:
            pusher.keep(at, frame(at))
        await send_all(pusher)

    assert receiver.most_under_way == 1


async def test_health_counts_what_is_still_to_be_sent_before_the_page() -> None:
    clock = Pause(HOURS[3] + 1000)
    async with (
        receiving(Says(500), Says(400)) as receiver,
        pushing(destination(receiver.url), clock=clock) as pusher,
    ):
        for at in HOURS[:3]:
            pusher.keep(at, frame(at))
        before = pusher.health(before=HOURS[2])
        await send_all(pusher)
        after = pusher.health(before=HOURS[2])

    assert before == PushHealth("centre", pending=2)
    assert after == PushHealth("centre", sent=2, failed=1, dropped=1, last_success_at=HOURS[3])


async def test_a_clock_that_is_set_back_holds_no_release_for_long() -> None:
    clock = Pause(HOURS[0] - 5 * HOUR)
    async with receiving() as receiver, pushing(destination(receiver.url), clock=clock) as pusher:
        pusher.keep(HOURS[0], frame(HOURS[0]))
        await send_all(pusher)

    assert ats(receiver.heard) == [HOURS[0]]
    assert sum(clock.slept) <= 300 + 2
