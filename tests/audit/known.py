"""Facts of a machine on which all is as it should be; a test says what is not."""

import socket
from dataclasses import replace

from tests.audit.programs import NATIVE, locked_down
from trafficd.audit.facts import (
    Agent,
    Code,
    Configuration,
    Descriptor,
    Host,
    MemoryMapping,
    NetlinkSocket,
    Process,
    Socket,
    Startup,
    Thread,
)
from trafficd.audit.finding import Finding, Verdict
from trafficd.sandbox.apply import Half
from trafficd.sandbox.socket_filter import ANSWERS, EVENTS

STATUS = {
    "Uid": "65534\t65534\t65534\t65534",
    "Gid": "65534\t65534\t65534\t65534",
    "Groups": "65534",
    **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0000000000000000"),
    "NoNewPrivs": "1",
    "Seccomp": "2",
    "Seccomp_filters": "1",
    "TracerPid": "0",
    "VmSwap": "0 kB",
    "VmLck": "9000 kB",
}
PYTHON = "/usr/bin/python3.11"
SYSTEM_CALLS = {
    "read": 0, "write": 1, "open": 2, "mmap": 9, "mprotect": 10, "ioctl": 16, "socket": 41,
    "sendto": 44, "clone": 56, "kill": 62, "ptrace": 101, "prctl": 157, "openat": 257,
    "bpf": 321,
}  # fmt: skip

CODE = Code("0.1.0", "0.1.0", False, "d1", 90, (), (), (), (), newest_at=1000.0)
STARTUP = Startup(15, (), (), PYTHON)
SETTINGS = Configuration("d2", 3600, 10, (), 0, False, 1000.0, ("wireguard",))
HOST = Host("core", "0", 0, 7, NATIVE, SYSTEM_CALLS)

_UNIX = Socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, peer=10)
_PAIR = Socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, peer=20)
_NULL = [Descriptor(number, "/dev/null", True) for number in (0, 1)]
_SAME = [
    *_NULL,
    Descriptor(2, "pipe:[7]", True),
    Descriptor(5, "anon_inode:[eventpoll]", True),
    Descriptor(6, "socket:[6]", True, _PAIR),
    Descriptor(7, "socket:[7]", True, _PAIR),
    Descriptor(8, "socket:[8]", True, _UNIX),
]


def netlink(groups: tuple[int, ...] = ()) -> Socket:
    """Return a netlink socket with the filter that it should carry."""
    carried = NetlinkSocket(groups, EVENTS if groups else ANSWERS, is_locked=True)
    return Socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE, netlink=carried)


def descriptor(number: int, sock: Socket) -> Descriptor:
    """Return a descriptor of *sock*."""
    return Descriptor(number, f"socket:[{number}]", True, sock)


def reader(*more: Descriptor) -> Process:
    """Return a reader that has *more* open than it should."""
    return Process(
        half=Half.READER,
        number=20,
        parent=10,
        start_ticks=1,
        started_at=2000.0,
        executable=PYTHON,
        injected=(),
        beside=(),
        threads=(Thread(20, STATUS, (locked_down(),)),),
        files_owner=0,
        core_limit=("0", "0"),
        coredump_mask=2,
        descriptors=(
            *_SAME,
            descriptor(3, replace(_UNIX, is_deaf=True)),
            descriptor(9, netlink((1,))),
            descriptor(11, netlink()),
            *more,
        ),
        mappings=(
            MemoryMapping("r-xp", PYTHON, is_file=True, is_locked=True, is_special=False),
            MemoryMapping("rw-p", PYTHON, is_file=True, is_locked=True, is_special=False),
            MemoryMapping("rw-p", "[heap]", is_file=False, is_locked=True, is_special=False),
            MemoryMapping("r--p", "[vvar]", is_file=False, is_locked=False, is_special=True),
        ),
        swapless_cgroup="",
        writable_mounts=3,
    )


def exporter(*more: Descriptor) -> Process:
    """Return an exporter that has *more* open than it should."""
    listener = Socket(socket.AF_INET, socket.SOCK_STREAM, 6, "127.0.0.1", 9787, is_listening=True)
    connection = replace(listener, address="", is_listening=False)
    opened = (*_SAME, descriptor(3, _UNIX), descriptor(9, listener), descriptor(10, connection))
    return replace(reader(), half=Half.EXPORTER, descriptors=(*opened, *more))


def agent(*opened: Descriptor) -> Agent:
    """Return an agent that has *opened*."""
    return Agent(10, (*_NULL, descriptor(7, _UNIX), *opened))


def with_status(process: Process, **fields: str) -> Process:
    """Return *process* with a second thread, whose status differs in *fields*."""
    other = Thread(21, {**STATUS, **fields}, process.threads[0].programs)
    return replace(process, threads=(*process.threads, other))


def verdict(findings: "list[Finding]", identity: str) -> Verdict:
    """Return the verdict of the one finding of *identity*."""
    (found,) = (each for each in findings if each.identity == identity)
    return found.verdict


def but_pass(findings: "list[Finding]") -> set[str]:
    """Return the identities of the findings that are not PASS."""
    return {each.identity for each in findings if each.verdict is not Verdict.PASS}
