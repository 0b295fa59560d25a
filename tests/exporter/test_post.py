"""One try: servers that do not behave, TLS that does not hold, hosts that are not there."""

import asyncio
import random
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from tests.exporter.receiver import (
    HOUR,
    MIDNIGHT,
    Says,
    answering,
    destination,
    frame,
    posting,
    pushing,
    receiving,
    send_all,
)
from tests.service.test_web_config import Authority
from trafficd.destinations import AbsolutePath, BasicAuth, ClientCertificate, Headers
from trafficd.exporter.post import Answer, Outcome, judged, printable
from trafficd.units import Duration
from trafficd.wire.remote_write import Protocol

NOW = float(MIDNIGHT)
BLOCK = b"\x05\x10hello"


async def tried(url: str, **more: object) -> Answer:
    async with asyncio.timeout(20), posting(destination(url, **more)) as post:
        return await post.send(BLOCK, Protocol.V1, lambda: NOW)


def endless(writer: asyncio.StreamWriter, status: bytes = b"400 Bad Request") -> None:
    writer.write(b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write((b"10000\r\n" + b"x" * 0x10000 + b"\r\n") * 64)


def reset(writer: asyncio.StreamWriter) -> None:
    opened = writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


ODD: dict[str, tuple[Callable[[asyncio.StreamWriter], object], Answer]] = {
    "nothing": (lambda _: None, Answer(Outcome.UNAVAILABLE)),
    "a reset": (reset, Answer(Outcome.UNAVAILABLE)),
    "no HTTP": (lambda w: w.write(b"\x16\x03\x01\x00\x05hello"), Answer(Outcome.UNAVAILABLE)),
    "half a head": (lambda w: w.write(b"HTTP/1.1 204 No"), Answer(Outcome.UNAVAILABLE)),
    "a status that is none": (
        lambda w: w.write(b"HTTP/1.1 9999 ?\r\n\r\n"),
        Answer(Outcome.UNAVAILABLE),
    ),
    "a status of no kind": (
        lambda w: w.write(b"HTTP/1.1 799 ?\r\nContent-Length: 0\r\n\r\n"),
        Answer(Outcome.UNAVAILABLE, 799),
    ),
    "a head without an end": (
        lambda w: w.write(b"HTTP/1.1 204 No Content\r\nX: " + b"a" * 100_000),
        Answer(Outcome.UNAVAILABLE),
    ),
    "half a body of a refusal": (
        lambda w: w.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\nout of bounds"),
        Answer(Outcome.REFUSED, 400, "out of bounds"),
    ),
    "a body of a refusal that does not end": (endless, Answer(Outcome.REFUSED, 400, "x" * 200)),
    "half a body of a success": (
        lambda w: w.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhel"),
        Answer(Outcome.TAKEN, 200),
    ),
    "a body of a failure that does not end": (
        lambda w: endless(w, b"503 Later\r\nRetry-After: 7"),
        Answer(Outcome.UNAVAILABLE, 503, wish_seconds=7.0),
    ),
    "a body of a success that does not end": (
        lambda w: endless(w, b"200 OK"),
        Answer(Outcome.TAKEN, 200),
    ),
    "patience before the answer": (
        lambda w: w.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 204 No\r\n\r\n"),
        Answer(Outcome.TAKEN, 204),
    ),
    "another protocol": (
        lambda w: w.write(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        Answer(Outcome.UNAVAILABLE, 101),
    ),
    "an answer of long ago": (
        lambda w: w.write(b"HTTP/1.0 400 Bad\r\n\r\nout of bounds"),
        Answer(Outcome.REFUSED, 400, "out of bounds"),
    ),
    "a refusal in another language": (
        lambda w: w.write(b"HTTP/1.1 400 B\r\nContent-Length: 12\r\n\r\n\x1b[31m\xc3\xa9\0 a\nb"),
        Answer(Outcome.REFUSED, 400, "?[31m??? a"),
    ),
    "a compressed refusal": (
        lambda w: w.write(
            b"HTTP/1.1 400 B\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nno\n"
        ),
        Answer(Outcome.REFUSED, 400, "no"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
async def test_an_odd_answer_is_judged_by_its_status_if_it_has_one(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answer, expected = ODD[kind]

    async with answering(answer) as port:
        found = await tried(f"http://127.0.0.1:{port}/")

    assert found == expected
    assert capfd.readouterr().err == ""


HEADS = [
    b"200 OK",
    b"204 No",
    b"400 B",
    b"503 L",
    b"101 S",
    b"304 N",
    b"100 C\r\n\r\nHTTP/1.1 400 B",
]
FIELDS = [
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Content-Length: 5",
    b"Content-Length: -5", b"Content-Length: 99999999999999999999", b"Content-Encoding: gzip",
    b"Content-Encoding: br", b"Connection: upgrade\r\nUpgrade: x", b"Set-Cookie: a=b; Expires=x",
    b"Content-Type: text/html; charset=klingon", b"Retry-After: Mon, 99 Foo", b"Date: \xff",
    b"Location: http://[::1", b"X : y", b": x", b" folded",
]  # fmt: skip
BODIES = [
    b"",
    b"zz\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhellox",
    b"-1\r\n",
    b"hello",
    b"\x1f\x8b\x08no",
]


async def test_no_answer_whatever_stands_in_it_ends_who_asked() -> None:
    drawn = random.Random(5)
    answers = []
    for _ in range(400):
        fields = b"".join(each + b"\r\n" for each in drawn.sample(FIELDS, drawn.randrange(4)))
        answer = bytearray(b"HTTP/1.1 " + drawn.choice(HEADS) + b"\r\n" + fields + b"\r\n")
        answer += drawn.choice(BODIES)
        for _ in range(drawn.choice((0, 0, 3))):
            answer[drawn.randrange(len(answer))] = drawn.randrange(256)
        answers.append(bytes(answer))
    waiting = iter(answers)

    async with answering(lambda writer: writer.write(next(waiting))) as port:
        found = [await tried(f"http://127.0.0.1:{port}/") for _ in answers]

    assert {each.outcome for each in found} == {*Outcome} - {Outcome.OTHER_PROTOCOL}
    assert all(each.wish_seconds == 0 for each in found)


async def test_a_refusal_that_comes_before_the_message_was_read_is_one() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 413 L\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        found = await tried(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")

    assert found == Answer(Outcome.REFUSED, 413, "big")


async def test_who_ends_each_connection_without_a_word_loses_no_release() -> None:
    good = b"HTTP/1.1 204 No Content\r\n\r\n"
    hours = [MIDNIGHT + number * HOUR for number in range(1, 19)]

    async with (
        answering(lambda writer: writer.write(good)) as port,
        pushing(destination(f"http://127.0.0.1:{port}/")) as pusher,
    ):
        for at in hours:
            pusher.keep(at, frame(at))
        await send_all(pusher)
        health = pusher.health(before=1 << 40)

    assert (health.sent, health.dropped) == (len(hours), 0)


async def test_a_silent_server_is_waited_for_no_longer_than_configured() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"

        found = await tried(url, timeout=Duration(1))

    assert found == Answer(Outcome.UNAVAILABLE)


async def test_nobody_there_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    assert await tried(f"http://127.0.0.1:{port}/") == Answer(Outcome.UNAVAILABLE)


async def test_a_name_that_nobody_knows_is_tried_again() -> None:
    found = await tried("http://no-such-host.invalid/", timeout=Duration(20))

    assert found == Answer(Outcome.UNAVAILABLE)


async def test_after_every_kind_of_failure_the_same_message_arrives() -> None:
    answers = [reset, ODD["half a head"][0], ODD["nothing"][0], ODD["no HTTP"][0]]
    good = b"HTTP/1.1 204 No Content\r\n\r\n"
    at = MIDNIGHT + HOUR

    async with (
        answering(lambda w: answers.pop(0)(w) if answers else w.write(good)) as port,
        pushing(destination(f"http://127.0.0.1:{port}/")) as pusher,
    ):
        pusher.keep(at, frame(at))
        await send_all(pusher)
        health = pusher.health(before=1 << 40)

    assert (health.sent, health.failed, health.dropped) == (1, 4, 0)


async def test_a_token_a_login_and_headers_are_sent_as_configured(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-token\n")
    (tmp_path / "password").write_text("pass word\n")
    headers = Headers({"X-Scope-OrgID": "vpn"})
    async with receiving() as receiver:
        token = AbsolutePath.parse(str(tmp_path / "token"))
        await tried(receiver.url, bearer_token_file=token, headers=headers)
        login = BasicAuth("node", AbsolutePath.parse(str(tmp_path / "password")))
        await tried(receiver.url, basic_auth=login)

    first, second = (each.headers for each in receiver.heard)
    assert first["Authorization"] == "Bearer s3cret-token"
    assert first["X-Scope-OrgID"] == "vpn"
    # printf 'node:pass word' | base64
    assert second["Authorization"] == "Basic bm9kZTpwYXNzIHdvcmQ="


async def test_no_cookie_is_kept_and_no_proxy_of_the_environment_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with (
        receiving(Says(204, {"Set-Cookie": "who=me"})) as receiver,
        # By name: from an address, hardly anybody keeps one.
        posting(destination(receiver.url.replace("127.0.0.1", "localhost"))) as post,
    ):
        for _ in range(2):
            await post.send(BLOCK, Protocol.V1, lambda: NOW)

    assert len(receiver.heard) == 2
    assert all("Cookie" not in each.headers for each in receiver.heard)


# ---- TLS ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold a server's certificate by `servers`, another authority, and a node's by `clients`."""
    Authority(tmp_path, "servers").issue("server", x509.DNSName("localhost"))
    Authority(tmp_path, "servers2").issue("elsewhere", x509.DNSName("elsewhere.example"))
    Authority(tmp_path, "clients").issue("node", x509.DNSName("fra-17"))
    return tmp_path


def server_context(folder: Path, name: str = "server") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


def file(folder: Path, name: str) -> AbsolutePath:
    return AbsolutePath.parse(str(folder / name))


async def test_https_with_the_authority_that_is_named(folder: Path) -> None:
    async with receiving(tls=server_context(folder)) as receiver:
        found = await tried(receiver.url, ca_file=file(folder, "servers.crt"))

    assert found == Answer(Outcome.TAKEN, 204)


@pytest.mark.parametrize(
    ("server", "authority"),
    [("server", "servers2.crt"), ("elsewhere", "servers2.crt"), ("server", None)],
    ids=["other authority", "other name", "authorities of the system"],
)
async def test_a_server_that_is_not_who_it_should_be_hears_nothing(
    folder: Path, server: str, authority: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    ca_file = None if authority is None else file(folder, authority)
    async with receiving(tls=server_context(folder, server)) as receiver:
        found = await tried(receiver.url, ca_file=ca_file)

    assert found == Answer(Outcome.UNAVAILABLE)
    assert receiver.heard == []
    assert capfd.readouterr().err == ""


async def test_http_spoken_to_https_and_the_other_way_round_is_tried_again(folder: Path) -> None:
    async with receiving(tls=server_context(folder)) as receiver:
        plain = await tried(receiver.url.replace("https", "http"))
    async with receiving() as receiver:
        url = receiver.url.replace("http", "https").replace("127.0.0.1", "localhost")
        tls = await tried(url, ca_file=file(folder, "servers.crt"))

    assert {plain.outcome, tls.outcome} <= {Outcome.UNAVAILABLE, Outcome.REFUSED}
    assert tls.outcome is Outcome.UNAVAILABLE


async def test_a_client_certificate_is_shown_to_who_asks_for_it(folder: Path) -> None:
    context = server_context(folder)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(folder / "clients.crt")
    shown = ClientCertificate(file(folder, "node.crt"), file(folder, "node.key"))
    ca_file = file(folder, "servers.crt")
    async with receiving(tls=context) as receiver:
        without = await tried(receiver.url, ca_file=ca_file)
        with_it = await tried(receiver.url, ca_file=ca_file, client_certificate=shown)

    assert without == Answer(Outcome.UNAVAILABLE)
    assert with_it == Answer(Outcome.TAKEN, 204)


# ---- what an answer means ----


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("says_written", [True, False])
def test_every_status_is_judged_as_the_specification_says(
    protocol: Protocol, *, says_written: bool
) -> None:
    is_second = protocol is Protocol.V2
    for status in range(100, 1000):
        expected = {2: Outcome.TAKEN, 4: Outcome.REFUSED}.get(status // 100, Outcome.UNAVAILABLE)
        if status == 429:
            expected = Outcome.UNAVAILABLE
        if is_second and (status == 415 or (status // 100 == 2 and not says_written)):
            expected = Outcome.OTHER_PROTOCOL

        assert judged(status, protocol, says_written=says_written) is expected, status


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"", ""),
        (b"\n\n  one\r\ntwo", "one"),
        (b"a\x00b\x7fc\x80d", "a?b?c?d"),
        ("zurück".encode(), "zur??ck"),
        (b"x" * 5000, "x" * 200),
    ],
)
def test_of_a_foreign_answer_one_short_line_can_be_logged(body: bytes, line: str) -> None:
    assert printable(body) == line
