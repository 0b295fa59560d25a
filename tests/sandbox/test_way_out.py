"""The way out of an exporter that pushes: what the kernel leaves it, and what it still does not."""

import contextlib
import ctypes
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sandbox import machine
from tests.sandbox.machine import all_but, in_child
from tests.sandbox.test_seccomp import ATTEMPTS, EXPORTER_ATTEMPTS, Doors
from trafficd.config import Layer, SandboxSettings
from trafficd.sandbox import landlock
from trafficd.sandbox.apply import Half, WayOut, calls, enter_sandbox

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(Layer.SECCOMP in machine.lacking(), reason="no seccomp here"),
]

SECCOMP_ONLY = all_but(Layer.SECCOMP)
LANDLOCK_ONLY = all_but(Layer.LANDLOCK)
NOTHING = SandboxSettings(absent=tuple(Layer))

MPTCP = 262
ELSEWHERE = "192.0.2.1"
# What push takes back of what an exporter cannot do.
TAKEN_BACK = {"socket", "connect"}
# Of a socket for datagrams; that takes a name to be asked for.
BY_NAME = {"socket"}


def abi() -> int:
    try:
        return landlock.best_abi()
    except OSError:
        return 0


def attempted(
    settings: SandboxSettings, attempt: Callable[[Doors], object], way_out: WayOut
) -> str:
    """Return what became of *attempt* in an exporter that pushes, locked like this."""

    def try_it() -> str:
        doors = Doors()
        enter_sandbox(Half.EXPORTER, settings, way_out=way_out)
        try:
            attempt(doors)
        except PermissionError:
            return "refused"
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
        return "done"

    outcome = in_child(try_it)
    return outcome.said or f"ended with {outcome.status}"


def opened(family: int, kind: int, protocol: int = 0) -> Callable[[Doors], object]:
    return lambda _: socket.socket(family, kind, protocol).close()


def connect_as_unix(doors: Doors) -> None:
    # A socket at a path, as the notices to systemd go; nothing listens at this one.
    doors.datagrams.connect("/run/trafficd-test-nowhere-that-is-there")


def by_length(length: int) -> Callable[[Doors], object]:
    def connect(doors: Doors) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        address = b"\x02\x00" + bytes(length)
        if libc.connect(doors.inet.fileno(), address, length) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return connect


OTHER_SOCKETS: dict[str, Callable[[Doors], object]] = {
    "unix": opened(socket.AF_UNIX, socket.SOCK_STREAM),
    "unix datagrams": opened(socket.AF_UNIX, socket.SOCK_DGRAM),
    "netlink": opened(socket.AF_NETLINK, socket.SOCK_RAW),
    "packets": opened(socket.AF_PACKET, socket.SOCK_RAW),
    "raw": opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "raw of IPv6": opened(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
    "pings": opened(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "sequenced": opened(socket.AF_INET, socket.SOCK_SEQPACKET),
    "multipath TCP": opened(socket.AF_INET, socket.SOCK_STREAM, MPTCP),
    "vsock": opened(40, socket.SOCK_STREAM),
    "crypto": opened(38, socket.SOCK_SEQPACKET),
    "connecting by a path": connect_as_unix,
    "connecting by an address of another length": by_length(24),
    "binding": lambda _: socket.socket(socket.AF_INET, socket.SOCK_STREAM).bind(("127.0.0.1", 0)),
    "an error of the kernel's": lambda doors: doors.client.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, 12
    ),
}


@pytest.mark.parametrize("asks_names", [False, True], ids=["address", "name"])
@pytest.mark.parametrize("name", sorted((ATTEMPTS | EXPORTER_ATTEMPTS).keys() - TAKEN_BACK))
def test_what_an_exporter_cannot_it_cannot_either_when_it_pushes(
    name: str, *, asks_names: bool
) -> None:
    attempt = (ATTEMPTS | EXPORTER_ATTEMPTS)[name]

    assert attempted(SECCOMP_ONLY, attempt, WayOut((443,), asks_names=asks_names)) == "refused"


@pytest.mark.parametrize("asks_names", [False, True], ids=["address", "name"])
@pytest.mark.parametrize("name", OTHER_SOCKETS)
def test_it_opens_no_other_socket_and_connects_to_no_path(name: str, *, asks_names: bool) -> None:
    way_out = WayOut((443,), asks_names=asks_names)

    locked = attempted(SECCOMP_ONLY, OTHER_SOCKETS[name], way_out)
    control = attempted(NOTHING, OTHER_SOCKETS[name], way_out)

    assert locked == "refused"
    # Nobody may open some of them here, and that is another reason.
    assert control != "refused" or name in ("packets", "raw", "raw of IPv6", "pings")


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_datagrams_take_a_name_to_be_asked_for(family: int) -> None:
    attempt = opened(family, socket.SOCK_DGRAM)

    assert attempted(SECCOMP_ONLY, attempt, WayOut((443,))) == "refused"
    assert attempted(SECCOMP_ONLY, attempt, WayOut((443,), asks_names=True)) == "done"


def test_files_take_credentials_to_be_read(public_folder: Path) -> None:
    (public_folder / "token").write_text("secret")

    def read(_: Doors) -> None:
        assert (public_folder / "token").read_text() == "secret"

    def write(_: Doors) -> None:
        (public_folder / "token").open("r+b").close()

    with_files = WayOut((443,), (public_folder,))

    assert attempted(SECCOMP_ONLY, read, WayOut((443,))) == "refused"
    assert attempted(SECCOMP_ONLY, read, with_files) == "done"
    assert attempted(SECCOMP_ONLY, write, with_files) == "refused"
    if Layer.LANDLOCK not in machine.lacking():
        assert attempted(LANDLOCK_ONLY, read, WayOut((443,))) == "refused"
        assert attempted(LANDLOCK_ONLY, read, with_files) == "done"
        assert attempted(LANDLOCK_ONLY, write, with_files) == "refused"
        passwd = attempted(LANDLOCK_ONLY, lambda _: Path("/etc/passwd").read_text(), with_files)
        assert passwd == "refused"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_connects_to_the_ports_of_its_destinations_and_to_no_other(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as ladder:
        try:
            right, wrong = (
                ladder.enter_context(socket.create_server((host, 0), family=family))
                for _ in range(2)
            )
        except OSError:
            pytest.skip(f"no {host} here")
        way_out = WayOut((right.getsockname()[1],))

        def to(listener: socket.socket) -> Callable[[Doors], object]:
            address = listener.getsockname()
            return lambda _: socket.socket(family, socket.SOCK_STREAM).connect(address)

        by_seccomp = attempted(SECCOMP_ONLY, to(right), way_out)
        locked = [attempted(LANDLOCK_ONLY, to(each), way_out) for each in (right, wrong)]

    assert by_seccomp == "done"
    if abi() >= 4:
        assert locked == ["done", "refused"]
    elif abi():
        assert locked == ["done", "done"]


@pytest.mark.parametrize("half", Half)
def test_without_a_destination_nothing_is_left_that_was_not_before(half: Half) -> None:
    names = {each.name for each in calls(half)}

    assert not names & {"socket", "connect", "openat"}
    assert calls(half) == calls(half, way_out=None)


def test_files_in_the_root_directory_are_refused() -> None:
    way_out = WayOut((443,), (Path("/"),))

    outcome = in_child(lambda: enter_sandbox(Half.EXPORTER, LANDLOCK_ONLY, way_out=way_out))

    assert "files that push names cannot stand in /" in outcome.said
