"""System calls: each attempt fails in a locked half, and would work without this one layer."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sandbox import machine
from tests.sandbox.machine import all_but, in_child
from trafficd.config import Layer, SandboxSettings
from trafficd.errors import SandboxError
from trafficd.sandbox.apply import Half, enter_sandbox
from trafficd.service.releases import connected_releases

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(Layer.SECCOMP in machine.lacking(), reason="no seccomp here"),
]

SECCOMP_ONLY = all_but(Layer.SECCOMP)
NOTHING = SandboxSettings(absent=tuple(Layer))

SIOCGIFCONF = 0x8912
PR_GET_NAME = 16
IO_URING_SETUP = 425
PIDFD_OPEN = 434
SO_MEMINFO = 55

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> None:
    """Call libc; raise what it refuses."""
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def fork_and_wait() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def in_thread() -> None:
    thread = threading.Thread(target=lambda: None)
    try:
        thread.start()
    except RuntimeError as error:  # what Python makes of EPERM
        raise PermissionError from error
    thread.join()


class Doors:
    """What a half holds when it is locked."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.client = socket.create_connection(self.listener.getsockname())
        self.datagrams, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM)
        self.inet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def executable_memory(self) -> None:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()

    def make_memory_executable(self) -> None:
        memory = mmap.mmap(-1, 4096)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        call("mprotect", ctypes.c_void_p(address), ctypes.c_size_t(4096), 5)

    def join_group(self) -> None:
        self.netlink.setsockopt(270, 1, 1)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP

    def list_interfaces(self) -> None:
        fcntl.ioctl(self.inet, SIOCGIFCONF, bytes(16))


ATTEMPTS: dict[str, Callable[[Doors], object]] = {
    "socket": lambda _: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "netlink socket": lambda _: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "socketpair": lambda _: socket.socketpair(),
    "connect": lambda doors: doors.inet.connect(("127.0.0.1", 9)),
    "bind": lambda doors: doors.inet.bind(("127.0.0.1", 0)),
    "sendto an address": lambda doors: doors.inet.sendto(b"x", ("127.0.0.1", 9)),
    "recvmsg": lambda doors: (doors.other.send(b"x"), doors.datagrams.recvmsg(1)),
    "join a netlink group": Doors.join_group,
    "list interfaces": Doors.list_interfaces,
    "open to read": lambda _: os.open("/dev/null", os.O_RDONLY),
    "open to write": lambda _: os.open("/dev/null", os.O_WRONLY),
    "stat": lambda _: Path("/dev/null").stat(),
    "readlink": lambda _: Path("/proc/self/exe").readlink(),
    "list": lambda _: list(Path("/").iterdir()),
    "fork": lambda _: fork_and_wait(),
    "exec": lambda _: os.execv("/bin/true", ["true"]),
    "kill": lambda _: os.kill(os.getpid(), 0),
    "prctl": lambda _: call("prctl", PR_GET_NAME, ctypes.create_string_buffer(16), 0, 0, 0),
    "ptrace": lambda _: call("ptrace", 0, 0, 0, 0),  # PTRACE_TRACEME
    "memfd": lambda _: os.memfd_create("x"),
    "executable memory": Doors.executable_memory,
    "making memory executable": Doors.make_memory_executable,
    "pidfd": lambda _: call("syscall", PIDFD_OPEN, os.getpid(), 0),
    "priority": lambda _: os.getpriority(os.PRIO_PROCESS, 0),
    "unlocking memory": lambda _: call("munlockall"),
}
# What a reader cannot, and an exporter needs most of it.
READER_ATTEMPTS: dict[str, Callable[[Doors], object]] = {
    "sendmsg": lambda doors: doors.datagrams.sendmsg([b"x"]),
    "thread": lambda _: in_thread(),
    "listen": lambda doors: doors.listener.listen(),
    "setsockopt": lambda doors: doors.client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "dup": lambda doors: os.dup(doors.client.fileno()),
    "peer": lambda doors: doors.client.getpeername(),
    "who is at the other end": lambda doors: doors.datagrams.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, 12
    ),
    "TCP connections": lambda doors: doors.client.getsockopt(socket.IPPROTO_TCP, 11, 104),
}
EXPORTER_ATTEMPTS: dict[str, Callable[[Doors], object]] = {
    "other options": lambda doors: doors.listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
    ),
    "bind to a device": lambda doors: doors.client.setsockopt(
        socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo"
    ),
    "fast open": lambda doors: doors.listener.setsockopt(socket.IPPROTO_TCP, 30, 1),
    "getsockopt": lambda doors: doors.client.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
    "TCP connections": lambda doors: doors.client.getsockopt(socket.IPPROTO_TCP, 11, 104),
    "flags": lambda doors: fcntl.fcntl(doors.client, fcntl.F_GETFL),
    "thread": lambda _: in_thread(),
}


def attempted(
    half: Half,
    settings: SandboxSettings,
    attempt: Callable[[Doors], object],
    readable: list[Path] | None = None,
) -> str:
    """Return what became of *attempt* in a process locked like this."""

    def try_it() -> str:
        doors = Doors()
        enter_sandbox(half, settings, readable=readable)
        try:
            attempt(doors)
        except PermissionError:
            return "refused"
        return "done"

    outcome = in_child(try_it)
    return outcome.said or f"ended with {outcome.status}"


@pytest.mark.parametrize("name", [*ATTEMPTS, *READER_ATTEMPTS])
def test_the_reader_can_not(name: str) -> None:
    attempt = (ATTEMPTS | READER_ATTEMPTS)[name]

    locked = attempted(Half.READER, SECCOMP_ONLY, attempt)
    control = attempted(Half.READER, NOTHING, attempt)

    assert (locked, control) == ("refused", "ended with 0" if name == "exec" else "done")


@pytest.mark.parametrize("name", [*ATTEMPTS, *EXPORTER_ATTEMPTS])
def test_the_exporter_can_not(name: str) -> None:
    attempt = (ATTEMPTS | EXPORTER_ATTEMPTS)[name]

    locked = attempted(Half.EXPORTER, SECCOMP_ONLY, attempt)
    control = attempted(Half.EXPORTER, NOTHING, attempt)

    # Some are refused for another reason; what counts is that this layer is not asked for it.
    assert locked == "refused"
    assert "refused" not in control


OPENINGS = {
    "to write": os.O_WRONLY,
    "to read and write": os.O_RDWR,
    "to make": os.O_RDONLY | os.O_CREAT,
    "to truncate": os.O_RDONLY | os.O_TRUNC,
    "as a path": os.O_PATH,
    "a directory": os.O_RDONLY | os.O_DIRECTORY,
    "without a name": os.O_TMPFILE | os.O_WRONLY,
}


@pytest.mark.parametrize("how", OPENINGS)
def test_an_exporter_with_a_web_config_opens_files_to_read_and_no_other_way(
    how: str, public_folder: Path
) -> None:
    file = public_folder / "web.yml"
    file.write_text("")
    place = public_folder if how in ("a directory", "without a name") else file

    def open_it(_: Doors) -> None:
        os.open(place, OPENINGS[how] | os.O_CLOEXEC, 0o600)

    locked = attempted(Half.EXPORTER, SECCOMP_ONLY, open_it, [public_folder])
    control = attempted(Half.EXPORTER, NOTHING, open_it, [public_folder])

    assert locked == "refused"
    # As nobody, who owns nothing here, some fail by the file's mode.
    assert control in ("done", "refused")


def test_an_exporter_with_a_web_config_reads_and_runs_threads_and_starts_no_process(
    public_folder: Path,
) -> None:
    def read_in_threads(_: Doors) -> None:
        assert Path("/dev/null").read_text() == ""
        in_thread()

    read = attempted(Half.EXPORTER, SECCOMP_ONLY, read_in_threads, [public_folder])
    stat = attempted(Half.EXPORTER, SECCOMP_ONLY, ATTEMPTS["stat"], [public_folder])
    forked = attempted(Half.EXPORTER, SECCOMP_ONLY, ATTEMPTS["fork"], [public_folder])

    assert (read, stat, forked) == ("done", "refused", "refused")


def test_what_a_half_is_there_for_goes_on() -> None:
    def work(doors: Doors) -> None:
        doors.client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            doors.client.recv(1)
        doors.datagrams.send(b"x")
        assert doors.other.recv(1) == b"x"
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        time.monotonic()
        # More memory than the interpreter keeps, and given back.
        for _ in range(3):
            bytearray(64 << 20)
        list(range(1_000_000))

    for half in Half:
        assert attempted(half, SECCOMP_ONLY, work) == "done"


def test_a_reader_answers_exporters_hears_none_of_them_and_asks_for_drops() -> None:
    def work(_: Doors) -> None:
        connection, _address = listener.accept()
        connection.shutdown(socket.SHUT_RD)
        connection.send(b"frame")
        assert exporter.recv(5) == b"frame"
        listener.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)

    listener, exporter = connected_releases()
    with listener, exporter:
        assert attempted(Half.READER, SECCOMP_ONLY, work) == "done"


def test_another_architecture_ends_the_process() -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("x32 is of x86-64")

    def ask_by_x32() -> None:
        enter_sandbox(Half.READER, SECCOMP_ONLY)
        _libc.syscall(ctypes.c_long(0x40000000 + 39))  # getpid

    assert in_child(ask_by_x32).status == -signal.SIGSYS


def test_the_filter_lasts_and_is_one() -> None:
    def status() -> str:
        with Path("/proc/self/status").open() as opened:
            enter_sandbox(Half.READER, SECCOMP_ONLY)
            return os.read(opened.fileno(), 1 << 14).decode()

    said = in_child(status).said

    assert re.search(r"^Seccomp:\s2$", said, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s1$", said, re.MULTILINE)


def test_a_kernel_that_refuses_ends_it_unless_the_configuration_says_absent() -> None:
    def lock(settings: SandboxSettings) -> None:
        machine.forbid({"seccomp": errno.EPERM})
        enter_sandbox(Half.READER, settings)

    refused = in_child(lambda: lock(SECCOMP_ONLY))
    absent = in_child(lambda: lock(NOTHING))

    assert refused.status == 1
    assert refused.said.startswith("SandboxError: sandbox: seccomp was refused: Operation not")
    assert refused.said.endswith("or name seccomp in sandbox.absent")
    assert absent.status == 0


def test_without_libseccomp_it_says_what_to_install() -> None:
    # The linker takes no empty file for a library; libc's own functions need no library by name.
    program = """
import ctypes.util, sys
found = ctypes.util.find_library
ctypes.util.find_library = lambda name: None if name == "seccomp" else found(name)
from trafficd.config import SandboxSettings
from trafficd.sandbox.apply import Half, enter_sandbox
from trafficd.service.releases import connected_releases
from trafficd.errors import SandboxError
try:
    enter_sandbox(Half.READER, SandboxSettings())
except SandboxError as error:
    sys.exit(str(error))
"""

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stderr == (
        "sandbox: libseccomp is missing; on Debian: apt install libseccomp2; or name seccomp in"
        " sandbox.absent\n"
    )


def test_a_process_with_threads_is_refused() -> None:
    def lock() -> None:
        threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
        with pytest.raises(SandboxError, match="2 threads are running"):
            enter_sandbox(Half.READER, SECCOMP_ONLY)

    assert in_child(lock).said == ""
