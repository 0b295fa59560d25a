"""Landlock: files, ports, sockets and processes that are out of reach by this layer alone."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sandbox import machine
from tests.sandbox.machine import all_but, in_child
from trafficd.config import Layer, SandboxSettings
from trafficd.sandbox import landlock
from trafficd.sandbox.apply import Half, enter_sandbox

_IS_THERE = pytest.mark.skipif(Layer.LANDLOCK in machine.lacking(), reason="no Landlock here")

LANDLOCK_ONLY = all_but(Layer.LANDLOCK)
NOTHING = SandboxSettings(absent=tuple(Layer))


def attempted(
    settings: SandboxSettings, attempt: Callable[[], object], *, readable: Path | None = None
) -> str:
    """Return what became of *attempt* in an exporter locked like this."""

    def try_it() -> str:
        enter_sandbox(Half.EXPORTER, settings, readable=None if readable is None else [readable])
        try:
            attempt()
        except PermissionError as error:
            return errno.errorcode[error.errno or 0]
        return "done"

    outcome = in_child(try_it)
    return outcome.said


@pytest.fixture
def folder(public_folder: Path) -> Path:
    """A directory with a file, of which anybody may do anything as far as modes go."""
    (public_folder / "file").write_text("content")
    (public_folder / "file").chmod(0o666)
    return public_folder


ON_FILES: dict[str, Callable[[Path], object]] = {
    "read": lambda folder: (folder / "file").read_text(),
    "write": lambda folder: (folder / "file").open("r+b").close(),
    "make": lambda folder: (folder / "made").write_text(""),
    "make a directory": lambda folder: (folder / "made").mkdir(),
    "make a link": lambda folder: (folder / "made").symlink_to("file"),
    "remove": lambda folder: (folder / "file").unlink(),
    "rename": lambda folder: (folder / "file").rename(folder / "moved"),
    "list": lambda folder: list(folder.iterdir()),
    "device": lambda _: Path("/dev/null").open("rb").close(),
    "proc": lambda _: Path("/proc/self/status").read_text(),
    "sys": lambda _: list(Path("/sys/class/net").iterdir()),
}


@pytest.mark.kernel
@_IS_THERE
@pytest.mark.parametrize("name", ON_FILES)
def test_no_file_can_be_reached(name: str, folder: Path) -> None:
    locked = attempted(LANDLOCK_ONLY, lambda: ON_FILES[name](folder))
    control = attempted(NOTHING, lambda: ON_FILES[name](folder))

    assert (locked, control) == ("EACCES", "done")


@pytest.mark.kernel
@_IS_THERE
@pytest.mark.parametrize("name", sorted(ON_FILES.keys() - {"read"}))
def test_in_a_readable_directory_files_can_be_read_and_nothing_else(
    name: str, folder: Path
) -> None:
    read = attempted(LANDLOCK_ONLY, lambda: ON_FILES["read"](folder), readable=folder)
    other = attempted(LANDLOCK_ONLY, lambda: ON_FILES[name](folder), readable=folder)

    assert (read, other) == ("done", "EACCES")


@pytest.mark.kernel
@_IS_THERE
def test_a_readable_directory_opens_no_other(folder: Path) -> None:
    (folder / "one").mkdir(mode=0o755)
    (folder / "one" / "link").symlink_to(folder / "file")

    directly = attempted(
        LANDLOCK_ONLY, lambda: (folder / "file").read_text(), readable=folder / "one"
    )
    by_link = attempted(
        LANDLOCK_ONLY, lambda: (folder / "one" / "link").read_text(), readable=folder / "one"
    )

    assert (directly, by_link) == ("EACCES", "EACCES")


@pytest.mark.kernel
@_IS_THERE
def test_what_was_open_stays_open(folder: Path) -> None:
    def read_on() -> str:
        with (folder / "file").open() as opened:
            enter_sandbox(Half.READER, LANDLOCK_ONLY)
            return opened.read()

    assert in_child(read_on).said == "content"


def abi() -> int:
    try:
        return landlock.best_abi()
    except OSError:
        return 0


@pytest.mark.skipif(abi() < 3, reason="needs Linux 6.2")
def test_no_file_can_be_truncated(folder: Path) -> None:
    locked = attempted(LANDLOCK_ONLY, lambda: os.truncate(folder / "file", 0), readable=folder)
    control = attempted(NOTHING, lambda: os.truncate(folder / "file", 0), readable=folder)

    assert (locked, control) == ("EACCES", "done")


@pytest.mark.skipif(abi() < 4, reason="needs Linux 6.7")
@pytest.mark.parametrize("is_listener", [True, False], ids=["bind", "connect"])
def test_tcp_can_be_neither_bound_nor_connected(is_listener: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as opened:

        def reach_out() -> None:
            if is_listener:
                opened.bind(("127.0.0.1", 0))
            else:
                opened.connect(listener.getsockname())

        locked = attempted(LANDLOCK_ONLY, reach_out)
        control = attempted(NOTHING, reach_out)

    assert (locked, control) == ("EACCES", "done")


@pytest.mark.skipif(abi() < 6, reason="needs Linux 6.12")
def test_abstract_sockets_and_processes_outside_cannot_be_reached() -> None:
    name = f"\0trafficd-test-{os.getpid()}"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as outside,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened,
    ):
        outside.bind(name)

        locked = attempted(LANDLOCK_ONLY, lambda: opened.connect(name))
        control = attempted(NOTHING, lambda: opened.connect(name))

    assert (locked, control) == ("EPERM", "done")


@pytest.mark.kernel
@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EOPNOTSUPP], ids=["old", "not started"])
def test_a_kernel_without_it_ends_the_half_unless_the_configuration_says_absent(
    answer: int,
) -> None:
    def lock(settings: SandboxSettings) -> None:
        machine.forbid(dict.fromkeys(machine.LANDLOCK_CALLS, answer))
        enter_sandbox(Half.READER, settings)

    refused = in_child(lambda: lock(LANDLOCK_ONLY))
    absent = in_child(lambda: lock(NOTHING))

    assert refused.status == 1
    assert refused.said == (
        "SandboxError: sandbox: this kernel has no Landlock: it takes Linux 5.13 or newer, with"
        " landlock among the security modules that start with it (boot option lsm=); or name"
        " landlock in sandbox.absent"
    )
    assert absent.status == 0


@pytest.mark.kernel
@_IS_THERE
def test_a_kernel_that_stops_half_way_ends_the_half() -> None:
    def lock() -> None:
        machine.forbid({"landlock_restrict_self": errno.E2BIG})
        enter_sandbox(Half.READER, LANDLOCK_ONLY)

    outcome = in_child(lock)

    assert outcome.said.startswith("SandboxError: sandbox: Landlock was refused: Argument list")


@pytest.mark.parametrize(
    ("version", "files", "network", "scopes"),
    [
        (1, 13, 0, 0),
        (2, 14, 0, 0),
        (3, 15, 0, 0),
        (4, 15, 2, 0),
        (5, 16, 2, 0),
        (6, 16, 2, 2),
        (7, 16, 2, 2),
        (99, 16, 2, 2),
    ],
)
def test_all_that_a_version_can_forbid_is_forbidden(
    version: int, files: int, network: int, scopes: int
) -> None:
    # Counted in Documentation/userspace-api/landlock.rst, "Previous limitations".
    assert [each.bit_count() for each in landlock.rights(version)] == [files, network, scopes]


@pytest.mark.kernel
@_IS_THERE
def test_the_root_directory_is_never_readable() -> None:
    outcome = in_child(lambda: enter_sandbox(Half.EXPORTER, LANDLOCK_ONLY, readable=[Path("/")]))

    assert "cannot stand in /" in outcome.said
