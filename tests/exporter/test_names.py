"""Names of hosts: the two files, and nameservers that answer, lie, are slow or are not there."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from trafficd.exporter import names
from trafficd.exporter.names import Names, NameService

Answer = Callable[[str, int], "list[str] | int | None"]


class Nameserver(asyncio.DatagramProtocol):
    """Answers with addresses, with a code, or not at all."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []
        self.marks: list[tuple[bytes, int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        place, labels = 12, []
        while data[place]:
            labels.append(data[place + 1 : place + 1 + data[place]].decode())
            place += 1 + data[place]
        (kind,) = struct.unpack_from("!H", data, place + 1)
        name = ".".join(labels)
        self.asked.append((name, kind))
        self.marks.append((data[:2], addr[1]))
        said = self.answer(name, kind)
        if said is None:
            return
        found, code = (said, 0) if isinstance(said, list) else ([], said)
        family = socket.AF_INET if kind == 1 else socket.AF_INET6
        records = [
            b"\xc0\x0c" + struct.pack("!2HIH", kind, 1, 60, len(packed)) + packed
            for packed in (socket.inet_pton(family, each) for each in found)
        ]
        head = data[:2] + struct.pack("!5H", 0x8180 | code, 1, len(records), 0, 0)
        # A lie first: anybody may send a datagram there.
        self.transport.sendto(b"\xff" + data[1:], addr)  # type: ignore[attr-defined]
        message = head + data[12 : place + 5] + b"".join(records)
        self.transport.sendto(message, addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def nameserver(answer: Answer) -> AsyncIterator[tuple[Nameserver, int]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Nameserver(answer), local_addr=("127.0.0.1", 0)
    )
    try:
        yield protocol, transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


async def found(service: NameService, host: str) -> list[str]:
    async with asyncio.timeout(20):
        return [each["host"] for each in await Names(service).resolve(host, 443)]


def both(name: str, kind: int) -> list[str]:
    return ["2001:db8::1"] if kind == 28 else ["192.0.2.1", "192.0.2.2"]


async def test_a_name_has_its_addresses_of_both_kinds() -> None:
    async with nameserver(both) as (_, port):
        service = NameService(("127.0.0.1",), port=port)
        results = await Names(service).resolve("collector.example", 443)

    assert [(each["host"], each["port"], each["family"]) for each in results] == [
        ("2001:db8::1", 443, socket.AF_INET6),
        ("192.0.2.1", 443, socket.AF_INET),
        ("192.0.2.2", 443, socket.AF_INET),
    ]


async def test_nobody_can_guess_a_question_to_answer_it_first() -> None:
    async with nameserver(both) as (server, port):
        for _ in range(32):
            await found(NameService(("127.0.0.1",), port=port), "collector.example")

    identities, ports = zip(*server.marks, strict=True)
    # 64 of 65,536: more than four that were there before come once in billions of runs.
    assert len(set(identities)) >= 60
    # A port for each pair of questions, and hardly ever one after the other.
    assert len(set(ports)) >= 28


async def test_a_name_that_does_not_exist_is_an_error() -> None:
    async with nameserver(lambda *_: 3) as (server, port):
        with pytest.raises(OSError, match="no such host"):
            await found(NameService(("127.0.0.1",), port=port), "collector.example")

    assert len(server.asked) == 2


@pytest.mark.parametrize("code", [2, 5])
async def test_where_one_nameserver_cannot_say_the_next_is_asked(code: int) -> None:
    async with nameserver(lambda *_: code) as (first, port):
        # The same port on another address of loopback.
        loop = asyncio.get_running_loop()
        transport, second = await loop.create_datagram_endpoint(
            lambda: Nameserver(both), local_addr=("127.0.0.2", port)
        )
        service = NameService(("127.0.0.1", "127.0.0.2"), port=port)
        addresses = await found(service, "collector.example")
        transport.close()

    assert addresses == ["2001:db8::1", "192.0.2.1", "192.0.2.2"]
    assert first.asked
    assert second.asked


async def test_a_nameserver_that_is_not_there_is_an_error_and_not_for_long() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]

    with pytest.raises(OSError, match="no nameserver answers"):
        await found(NameService(("127.0.0.1", "::1"), port=port), "collector.example")


async def test_a_silent_nameserver_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_SECONDS", 0.05)
    async with nameserver(lambda *_: None) as (server, port):
        with pytest.raises(OSError, match="no nameserver answers"):
            await found(NameService(("127.0.0.1",), port=port), "collector.example")

    assert len(server.asked) == 4


async def test_where_one_kind_of_question_is_lost_the_other_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "_SECONDS", 0.05)
    async with nameserver(lambda _, kind: None if kind == 28 else ["192.0.2.1"]) as (_, port):
        addresses = await found(NameService(("127.0.0.1",), port=port), "collector.example")

    assert addresses == ["192.0.2.1"]


@pytest.mark.parametrize("code", [2, 4, 5])
@pytest.mark.parametrize("lame", [1, 28])
async def test_where_one_kind_of_question_is_refused_the_other_answers(
    code: int, lame: int
) -> None:
    def answer(name: str, kind: int) -> list[str] | int:
        return code if kind == lame else both(name, kind)

    async with nameserver(answer) as (server, port):
        addresses = await found(NameService(("127.0.0.1",), port=port), "collector.example")

    assert addresses == both("collector.example", 29 - lame)
    assert len(server.asked) == 2


async def test_localhost_is_here_and_hosts_are_who_the_file_says() -> None:
    service = NameService(("127.0.0.1",), hosts={"centre": ("192.0.2.7",)}, port=9)

    assert await found(service, "localhost") == ["::1", "127.0.0.1"]
    assert await found(service, "Centre") == ["192.0.2.7"]


async def test_a_short_name_is_looked_for_in_the_domains_first() -> None:
    def known(name: str, kind: int) -> list[str] | int:
        return both(name, kind) if name == "collector.b.example" else 3

    async with nameserver(known) as (server, port):
        service = NameService(("127.0.0.1",), ("a.example", "b.example"), port=port)
        await found(service, "collector")

    assert list(dict.fromkeys(name for name, _ in server.asked)) == [
        "collector.a.example",
        "collector.b.example",
    ]
    assert service.candidates("x.y") == ["x.y", "x.y.a.example", "x.y.b.example"]
    assert service.candidates("x.") == ["x."]


def test_the_files_are_read_as_their_manuals_say(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(
        "127.0.0.1 localhost # here\n192.0.2.7\tcentre.example centre\n::1 centre\nnonsense x\n\n"
    )
    (tmp_path / "resolv.conf").write_text(
        "; by hand\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver ::1\n"
        "domain old.example\nsearch a.example b.example. \noptions edns0\n"
        "nameserver 192.0.2.54\nnameserver 192.0.2.55\n"
    )

    service = NameService.of_this_host(tmp_path / "hosts", tmp_path / "resolv.conf")

    assert service.servers == ("192.0.2.53", "::1", "192.0.2.54")
    assert service.search == ("a.example", "b.example")
    assert service.hosts["centre"] == ("192.0.2.7", "::1")
    assert service.hosts["centre.example"] == ("192.0.2.7",)
    assert "x" not in service.hosts


def test_without_files_this_machine_is_asked(tmp_path: Path) -> None:
    service = NameService.of_this_host(tmp_path / "none", tmp_path / "none")

    assert service == NameService(("127.0.0.1",))
