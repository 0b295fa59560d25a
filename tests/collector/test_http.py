"""Pushes and scrapes over loopback, as the remote-write and HTTP specifications have them.

Each test that pushes runs twice: as usual senders write a push, which our own few lines read, and
in chunks, which aiohttp reads.
"""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import pytest

from tests.collector.pushing import (
    AMS,
    AT,
    FRA,
    MIB,
    NOW,
    OLD,
    TOKENS,
    UPLINK,
    Answered,
    Collected,
    collecting,
    entries,
    headers,
    message,
    packed,
    push,
    request,
)
from trafficd.collector import credentials, http, writer
from trafficd.collector.answers import Result, refused
from trafficd.collector.metrics import MetricsPage
from trafficd.collector.reception import MOST_BODY_BYTES
from trafficd.errors import StoreFullError
from trafficd.wire.remote_write import Protocol
from trafficd.wire.snappy import MOST_MESSAGE_BYTES

WRITTEN = "X-Prometheus-Remote-Write-{}-Written"
COUNTS = tuple(WRITTEN.format(each) for each in ("Samples", "Histograms", "Exemplars"))
V1_TYPE = "application/x-protobuf"
V2_TYPE = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


@pytest.fixture
async def served() -> AsyncIterator[Collected]:
    async with collecting() as collected:
        yield collected


def chunked(body: bytes, asked: Mapping[str, str]) -> bytes:
    """Return a push whose body is sent in chunks (RFC 9112, 7.1)."""
    whole = request(b"", {**asked, "Transfer-Encoding": "chunked"})
    whole = whole.replace(b"Content-Length: 0\r\n", b"")
    for start in range(0, len(body), 1000):
        chunk = body[start : start + 1000]
        whole += b"%x\r\n%s\r\n" % (len(chunk), chunk)
    return whole + b"0\r\n\r\n"


Written = Callable[[bytes, Mapping[str, str]], bytes]


@pytest.fixture(params=[request, chunked], ids=["usual", "unusual"])
def written(request: pytest.FixtureRequest) -> Written:
    return request.param  # type: ignore[no-any-return]


def counts(answer: Answered) -> list[str | None]:
    return [answer.headers.get(name) for name in COUNTS]


# ---- what is taken ----


async def test_a_release_is_stored_as_it_was_sent(served: Collected, written: Written) -> None:
    answer = await served.ask(written(push(7 * MIB), headers()))

    assert (answer.status, answer.body) == (204, b"")
    assert counts(answer) == [None, None, None]
    assert served.values() == [(FRA.number, AT, {UPLINK: 7.0 * MIB})]
    assert served.reception.results == {Result.STORED: 1}


async def test_version_2_is_told_how_many_samples_were_written(
    served: Collected, written: Written
) -> None:
    series = [(UPLINK, {}, 1.0), ("trafficd_class_receive_bytes_total", {"class": "wg"}, 2.0)]
    body = packed(message(*series, protocol=Protocol.V2))

    answer = await served.ask(written(body, headers(protocol=Protocol.V2)))

    assert (answer.status, counts(answer)) == (204, ["2", "0", "0"])
    assert [len(values) for _, _, values in served.values()] == [2]


async def test_version_2_is_told_that_nothing_of_a_refused_message_was_written(
    served: Collected, written: Written
) -> None:
    body = packed(message((UPLINK, {}, 1.0), ("up", {}, 1.0), protocol=Protocol.V2))

    answer = await served.ask(written(body, headers(protocol=Protocol.V2)))

    assert (answer.status, counts(answer)) == (400, ["0", "0", "0"])
    assert served.values() == []


@pytest.mark.parametrize(
    "content_type",
    [
        V1_TYPE,
        "application/x-protobuf;proto=prometheus.WriteRequest",
        "Application/X-Protobuf ; Proto=prometheus.WriteRequest",
        'application/x-protobuf; proto="prometheus.WriteRequest"; charset=utf-8',
    ],
)
async def test_every_way_to_write_the_type_of_version_1_is_taken(
    served: Collected, written: Written, content_type: str
) -> None:
    answer = await served.ask(written(push(), {**headers(), "Content-Type": content_type}))

    assert answer.status == 204
    assert len(served.stored) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v3.Request"},
        {"Content-Type": f"{V2_TYPE};proto=prometheus.WriteRequest"},
        {"Content-Type": ""},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity"},
        {"Content-Encoding": "snappy, gzip"},
        {"Content-Encoding": ""},
    ],
    ids=lambda changed: ":".join(*changed.items()),
)
async def test_another_type_or_encoding_is_told_which_are_taken(
    served: Collected, written: Written, changed: dict[str, str]
) -> None:
    answer = await served.ask(written(push(), {**headers(), **changed}))

    assert answer.status == 415
    assert b"application/x-protobuf" in answer.body
    assert counts(answer) == [None, None, None]
    assert served.stored == []


@pytest.mark.parametrize("missing", ["Content-Type", "Content-Encoding"])
async def test_a_push_says_its_type_and_its_encoding(
    served: Collected, written: Written, missing: str
) -> None:
    asked = headers()
    del asked[missing]

    answer = await served.ask(written(push(), asked))

    assert answer.status == 415
    assert served.stored == []


@pytest.mark.parametrize("unpacked", [b"", message(protocol=Protocol.V2)])
async def test_an_empty_message_is_no_mistake(
    served: Collected, written: Written, unpacked: bytes
) -> None:
    answer = await served.ask(written(packed(unpacked), headers(protocol=Protocol.V2)))

    assert (answer.status, counts(answer)) == (204, ["0", "0", "0"])
    assert served.stored == []


# ---- what is refused ----


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no snappy block",
        packed(b"no protobuf message"),
        push()[:-1],
        packed(message((UPLINK, {}, -1.0))),
        packed(message((UPLINK, {}, float("nan")))),
        packed(message((UPLINK, {}, float("inf")))),
        packed(message(("up", {}, 1.0))),
        packed(message((UPLINK, {"client": "10.0.0.7"}, 1.0))),
        packed(message(("trafficd_class_receive_bytes_total", {"class": "10.0.0.7"}, 1.0))),
        packed(message((UPLINK, {}, 1.0), node=AMS)),
        push(at=AT + 1),
        push(at=AT + 3600),
    ],
)
async def test_what_cannot_be_a_release_is_refused_with_one_line(
    served: Collected, written: Written, body: bytes
) -> None:
    answer = await served.ask(written(body, headers()))

    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert len(answer.body.splitlines()) == 1
    assert len(answer.body) < 500
    assert served.stored == []


async def test_a_good_series_beside_a_bad_one_is_not_stored(
    served: Collected, written: Written
) -> None:
    body = packed(message((UPLINK, {}, 1.0), ("up", {}, 1.0)))

    answer = await served.ask(written(body, headers()))

    assert answer.status == 400
    assert b"'up': not a metric of trafficd" in answer.body
    assert served.stored == []


def test_a_reason_is_one_short_line_whatever_it_repeats() -> None:
    reason = "a\r\nSet-Cookie: b\x00\x1b\u2028\u202e" + "y" * 5000

    answer = refused(Result.SERIES, HTTPStatus.BAD_REQUEST, reason)

    assert answer.text.isprintable()
    assert len(answer.text) < 500
    assert answer.body.count(b"\n") == 1


async def test_an_answer_stays_on_its_line_whatever_was_sent(
    served: Collected, written: Written
) -> None:
    name = "x\r\nSet-Cookie: a=b\r\n\r\n\x00\x1b\u2028" + "y" * 5000

    answer = await served.ask(written(packed(message((name, {}, 1.0))), headers()))

    assert answer.status == 400
    assert "Set-Cookie" not in answer.headers
    assert len(answer.body.decode().splitlines()) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (packed(b"\0" * MOST_MESSAGE_BYTES + b"\0"), 413),
        # Snappy makes at most 64 bytes of 3, so that this cannot hold what it says.
        (b"\xff\xff\xff\xff\x0f" + b"\0" * 1000, 400),
        (b"\x80\x80\x80\x02" + b"\0" * 1000, 400),
    ],
)
async def test_a_bomb_is_seen_by_what_it_declares(
    served: Collected, written: Written, body: bytes, status: int
) -> None:
    answer = await served.ask(written(body, headers()))

    assert (answer.status, b"declares" in answer.body) == (status, True)
    assert served.stored == []


async def test_a_body_that_is_too_long_is_not_read(served: Collected, written: Written) -> None:
    body = b"\0" * (MOST_BODY_BYTES + 1)

    async with served.line() as line:
        with contextlib.suppress(ConnectionResetError):
            answer = await line.ask(written(body, headers()))

    assert answer.status == 413
    assert served.stored == []


async def test_a_body_of_the_longest_kind_is_read(served: Collected, written: Written) -> None:
    body = b"\0" * MOST_BODY_BYTES

    answer = await served.ask(written(body, headers()))

    assert answer.status == 400


async def test_a_body_that_stops_coming_ends_its_connection_unanswered(
    served: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.01)
    # An answer of 4xx would have its sender drop the message, which may be good.
    begun = chunked(push(), headers())[:-20]

    async with served.line() as line:
        line.writer.write(begun)
        is_ended = await line.is_ended()

    assert is_ended
    assert served.stored == []


async def test_a_body_without_a_length_is_refused(served: Collected) -> None:
    asked = request(b"", headers()).replace(b"Content-Length: 0\r\n", b"")

    assert (await served.ask(asked)).status == 411


async def test_only_posts_are_pushes(served: Collected) -> None:
    answer = await served.ask(request(b"", headers(), line="GET /api/v1/write"))

    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("POST /api/v1/push", 404),
        ("GET /nothing", 404),
        ("GET /metrics/", 404),
        ("POST /metrics", 405),
        ("DELETE /healthz", 405),
    ],
)
async def test_other_paths_and_methods_are_refused(
    served: Collected, line: str, status: int
) -> None:
    answer = await served.ask(request(b"", {}, line=line))

    assert answer.status == status


async def test_what_is_no_http_is_refused(served: Collected) -> None:
    answer = await served.ask(b"\x16\x03\x01\x02\x00\x01 this is TLS\r\n\r\n")

    assert (answer.status, answer.headers["Server"]) == (400, "trafficd")


async def test_a_refusal_by_the_store_is_told_to_the_sender() -> None:
    said = "trafficd_uplink_receive_bytes_total: 1 before, 2 now"

    async with collecting(append=lambda batch: [said] * len(batch)) as served:
        answer = await served.push(push())

    assert (answer.status, answer.body.decode()) == (400, f"{said}\n")
    assert served.reception.results == {Result.CONFLICT: 1}


# ---- who is taken from ----


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer token-of-nobody",
        f"Basic {TOKENS[FRA]}",
        TOKENS[FRA],
        f"Bearer {TOKENS[FRA]}x",
        f"Bearer {TOKENS[FRA]} {TOKENS[FRA]}",
    ],
)
async def test_a_stranger_is_asked_for_a_token(
    served: Collected, written: Written, authorization: str | None
) -> None:
    asked = headers(None)
    if authorization is not None:
        asked["Authorization"] = authorization

    answer = await served.ask(written(push(), asked))

    assert answer.status == 401
    assert answer.headers["Www-Authenticate"] == 'Bearer realm="trafficd"'
    assert served.stored == []


async def test_the_scheme_of_a_token_is_written_in_any_case(
    served: Collected, written: Written
) -> None:
    answer = await served.ask(
        written(push(), {**headers(None), "authorization": f"bearer  {TOKENS[FRA]}"})
    )

    assert answer.status == 204


async def test_two_tokens_are_nobodys(served: Collected, written: Written) -> None:
    asked = {**headers(), "authorization": f"Bearer {TOKENS[FRA]}"}

    assert (await served.ask(written(push(), asked))).status == 401


async def test_a_revoked_node_may_not_write(served: Collected, written: Written) -> None:
    answer = await served.ask(written(push(node=OLD), headers(OLD)))

    assert answer.status == 403
    assert served.stored == []


async def test_a_node_revoked_between_two_pushes_of_a_connection_is_refused(
    served: Collected,
) -> None:
    asked = request(push(), headers())

    async with served.line() as line:
        before = await line.ask(asked)
        served.credentials.replace(entries(revoked=[FRA]))
        after = await line.ask(asked)
        served.credentials.replace(entries(revoked=[]))
        again = await line.ask(asked)

    assert [each.status for each in (before, after, again)] == [204, 403, 204]


async def test_two_nodes_on_one_connection_stay_two(served: Collected) -> None:
    async with served.line() as line:
        for node in (FRA, AMS, FRA):
            assert (await line.ask(request(push(node=node), headers(node)))).status == 204

    assert [number for number, _ in served.stored] == [FRA.number, AMS.number, FRA.number]


async def test_wrong_tokens_are_limited_and_right_ones_are_not(
    served: Collected, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "FAILURES_A_SECOND", 0.5)
    wrong = written(push(), {**headers(), "Authorization": "Bearer guess"})

    async with served.line() as line:
        statuses = [(await line.ask(wrong)).status for _ in range(credentials.FAILURES_AT_ONCE)]
        limited = await line.ask(wrong)
        right = await served.ask(written(push(), headers()))
        served.clock.advance(2)
        later = [(await line.ask(wrong)).status for _ in range(2)]

    assert set(statuses) == {401}
    assert (limited.status, int(limited.headers["Retry-After"]) > 0) == (429, True)
    assert right.status == 204
    assert later == [401, 429]


# ---- when it is too much ----


async def test_more_than_may_wait_are_told_to_come_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "MOST_WAITING", 2)

    # All three are read before the writer has its turn.
    async with (
        collecting() as served,
        served.line() as one,
        served.line() as two,
        served.line() as three,
    ):
        lines = [one, two, three]
        for line in lines:
            line.writer.write(request(push(), headers()))
        statuses = [(await line.answer()).status for line in lines]
        again = await three.ask(request(push(), headers()))

    assert sorted(statuses) in ([204, 204, 204], [204, 204, 503])
    assert again.status == 204


async def test_a_full_disk_is_the_senders_to_wait_for_and_heals() -> None:
    has_room = False

    def append(batch: object) -> list[None]:
        if not has_room:
            raise StoreFullError("no room")
        return [None]

    async with collecting(append=append) as served, served.line() as line:
        refused = await line.ask(request(push(), headers()))
        sick = await served.ask(request(b"", {}, line="GET /healthz"))
        has_room = True
        taken = await line.ask(request(push(), headers()))
        well = await served.ask(request(b"", {}, line="GET /healthz"))

    assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
    assert taken.status == 204
    assert (sick.status, well.status) == (503, 200)
    assert served.reception.results == {Result.FULL: 1, Result.STORED: 1}


# ---- pages ----


async def test_metrics_shows_what_was_pushed(served: Collected) -> None:
    await served.push(push(7 * MIB))

    async with served.line() as line:
        line.writer.write(request(b"", {"Connection": "close"}, line="GET /metrics"))
        page = (await line.reader.read()).decode()

    assert page.startswith("HTTP/1.1 200 OK")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in page


async def test_a_scrape_and_a_push_share_a_connection(served: Collected) -> None:
    async with served.line() as line:
        pushed = await line.ask(request(push(), headers()))
        health = await line.ask(request(b"", {}, line="GET /healthz"))
        head = await line.ask(request(b"", {}, line="HEAD /metrics"))
        again = await line.ask(request(push(2 * MIB), headers()))

    assert [each.status for each in (pushed, health, head, again)] == [204, 200, 200, 204]
    assert len(served.stored) == 2


async def test_a_zipped_page_is_the_same_page(served: Collected) -> None:
    bodies = []
    for asked in ({}, {"Accept-Encoding": "gzip"}):
        async with served.line() as line:
            line.writer.write(request(b"", {**asked, "Connection": "close"}, line="GET /metrics"))
            head = await line.reader.readuntil(b"\r\n\r\n")
            bodies.append(unchunked(await line.reader.read()))

    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(bodies[1]) == bodies[0]


async def test_a_page_that_fails_halfway_is_cut_off_and_nothing_follows_it(
    served: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chunks(_: MetricsPage) -> AsyncIterator[bytes]:
        yield b"half\n"
        raise OSError("the other half is lost")

    monkeypatch.setattr(MetricsPage, "chunks", chunks)

    async with served.line() as line:
        line.writer.write(request(b"", {}, line="GET /metrics"))
        async with asyncio.timeout(10):
            came = await line.reader.read()

    assert came.startswith(b"HTTP/1.1 200 OK")
    # Neither the chunk that ends a body (RFC 9112, 7.1) nor another answer in its place.
    assert came.endswith(b"half\n\r\n")
    assert came.count(b"HTTP/1.1") == 1


async def test_every_answer_has_a_date_and_no_librarys_name(
    served: Collected, written: Written
) -> None:
    answers = [
        await served.ask(written(push(), headers())),
        await served.ask(written(push(), headers(None))),
        await served.ask(request(b"", {}, line="GET /healthz")),
        await served.ask(request(b"", {}, line="GET /x")),
    ]

    assert {each.headers["Server"] for each in answers} == {"trafficd"}
    assert all(parsedate_to_datetime(each.headers["Date"]) for each in answers)


async def test_the_date_of_an_answer_is_that_of_the_clock(served: Collected) -> None:
    answer = await served.push(push())

    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == NOW


def unchunked(body: bytes) -> bytes:
    """Return what was sent in chunks."""
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole
