"""Facts of a machine on which all is as it should be; a test says what is not."""

import socket
from collections.abc import Mapping
from dataclasses import replace

from tests.audit.programs import NATIVE, locked_down
from trafficd.audit.facts import (
    Agent,
    Code,
    Configuration,
    Descriptor,
    Host,
    MappedFile,
    MemoryMapping,
    NetlinkSocket,
    Node,
    Process,
    Socket,
    SocketFile,
    Startup,
    Thread,
)
from trafficd.audit.finding import Finding, Unread, Verdict
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
    "sendto": 44, "getsockopt": 55, "clone": 56, "kill": 62, "ptrace": 101, "prctl": 157,
    "openat": 257, "accept4": 288, "bpf": 321,
}  # fmt: skip

CODE = Code("0.1.0", "0.1.0", False, "d1", 90, (), (), (), (), newest_at=1000.0)
STARTUP = Startup(15, (), (), PYTHON)
SETTINGS = Configuration("d2", 3600, 10, (), 0, False, 1000.0, ("wireguard",))
HOST = Host("core", "0", 0, 7, NATIVE, SYSTEM_CALLS)

AGENT, READER, EXPORTER, INIT = 10, 20, 30, 1
HERE, ELSEWHERE = 4026531840, 4026532300
MANAGER = "/run/systemd/notify"
RELEASES = "/run/trafficd/releases"
RELOAD = "/run/trafficd/reload"

STATE_FILE = MappedFile(
    is_regular=True,
    mode=0o600,
    owner=0,
    links=1,
    size=53481472,
    is_on_tmpfs=True,
    mount_options=frozenset(("rw", "mode=755")),
)
STATE = MemoryMapping(
    "rw-s", "/run/trafficd/state", is_file=True, is_locked=True, is_special=False, file=STATE_FILE
)
MAPPINGS = (
    MemoryMapping("r-xp", PYTHON, is_file=True, is_locked=True, is_special=False),
    MemoryMapping("rw-p", PYTHON, is_file=True, is_locked=True, is_special=False),
    MemoryMapping("rw-p", "[heap]", is_file=False, is_locked=True, is_special=False),
    MemoryMapping("r--p", "[vvar]", is_file=False, is_locked=False, is_special=True),
)


def unix(peer: int, kind: int = socket.SOCK_SEQPACKET, **more: object) -> Socket:
    """Return a unix socket that *peer* is at the other end of."""
    return Socket(socket.AF_UNIX, kind, 0, peer=peer, **more)  # type: ignore[arg-type]  # a few


def netlink(groups: tuple[int, ...] = (), network: int = HERE) -> Socket:
    """Return a netlink socket with the filter that it should carry."""
    carried = NetlinkSocket(groups, EVENTS if groups else ANSWERS, is_locked=True, network=network)
    return Socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE, netlink=carried)


def descriptor(number: int, sock: Socket | Unread) -> Descriptor:
    """Return a descriptor of *sock*."""
    return Descriptor(number, f"socket:[{number}]", True, sock)


RELEASES_LISTENER = unix(AGENT, address=RELEASES, is_listening=True)
TO_EXPORTER = unix(EXPORTER, address=RELEASES, is_deaf=True)
LISTENER = Socket(socket.AF_INET, socket.SOCK_STREAM, 6, "127.0.0.1", 9787, is_listening=True)
TO_MANAGER = unix(0, socket.SOCK_DGRAM, peer_address=MANAGER, is_deaf=True)
RELOADS = unix(0, socket.SOCK_DGRAM, address=RELOAD)


def _same(process: int, *opened: Socket) -> tuple[Descriptor, ...]:
    """Return what each half has open, with *opened* from descriptor 100 on."""
    pair = unix(process, socket.SOCK_STREAM)
    return (
        *(Descriptor(number, "/dev/null", True) for number in (0, 1)),
        Descriptor(2, "pipe:[7]", True),
        Descriptor(5, "anon_inode:[eventpoll]", True),
        descriptor(6, pair),
        descriptor(7, pair),
        *(descriptor(number, each) for number, each in enumerate(opened, start=100)),
    )


def reader(*more: Descriptor) -> Process:
    """Return an agent's reader that has *more* open than it should."""
    opened = (netlink((1,)), netlink(), RELEASES_LISTENER, TO_EXPORTER, unix(AGENT))
    return Process(
        half=Half.READER,
        number=READER,
        parent=AGENT,
        start_ticks=1,
        started_at=2000.0,
        executable=PYTHON,
        injected=(),
        notify_address="",
        network=HERE,
        beside=(),
        threads=(Thread(READER, STATUS, (locked_down(),)),),
        files_owner=0,
        core_limit=("0", "0"),
        coredump_mask=2,
        descriptors=(*_same(READER, *opened), *more),
        mappings=(*MAPPINGS, STATE),
        swapless_cgroup="",
        writable_mounts=3,
    )


def exporter(*more: Descriptor) -> Process:
    """Return an agent's exporter that has *more* open than it should."""
    connection = replace(LISTENER, address="", is_listening=False)
    opened = (LISTENER, connection, unix(AGENT), unix(AGENT))
    return replace(
        reader(),
        half=Half.EXPORTER,
        number=EXPORTER,
        threads=(Thread(EXPORTER, STATUS, (locked_down(),)),),
        mappings=MAPPINGS,
        descriptors=(*_same(EXPORTER, *opened), *more),
    )


def agent(*opened: Descriptor) -> Agent:
    """Return an agent that has *opened* besides what it keeps for the halves."""
    lifeline = unix(AGENT, is_deaf=True)
    kept = (netlink((1,)), netlink(), RELEASES_LISTENER)
    return Agent(
        AGENT,
        (
            Descriptor(0, "/dev/null", True),
            *(descriptor(number, each) for number, each in enumerate(kept, start=100)),
            descriptor(7, lifeline),
            descriptor(8, lifeline),
            *opened,
        ),
    )


def service(process: Process, *more: Descriptor) -> Process:
    """Return *process*, a half of an agent's, as systemd would have it; *more* is open besides."""
    opened = [LISTENER, unix(INIT)]
    if process.half is Half.READER:
        listener = replace(RELEASES_LISTENER, peer=INIT)
        opened = [netlink((1,)), netlink(), listener, TO_EXPORTER]
    return replace(
        process,
        parent=INIT,
        notify_address=MANAGER,
        network=ELSEWHERE,
        descriptors=(*_same(process.number, *opened, TO_MANAGER, RELOADS), *more),
    )


# Names that the next function's arguments have too.
_READER, _EXPORTER = reader(), exporter()


def node(
    reader: Process | None = None,
    exporter: Process | None = None,
    holders: Mapping[str, frozenset[int]] | None = None,
    files: Mapping[str, SocketFile | Unread] | None = None,
    networks: Mapping[str, int | Unread] | None = None,
) -> Node:
    """Return an agent's halves, or two services if *reader* is one, as they should be."""
    of_reader = reader or _READER
    is_service = of_reader.parent == INIT
    known = {RELEASES: SocketFile(0o660, 0, 997), RELOAD: SocketFile(0o600, 0, 0)}
    kept = frozenset((READER, of_reader.parent))
    return Node(
        reader=of_reader,
        exporter=exporter or _EXPORTER,
        agent=None if is_service else agent(),
        holders=holders or {f"socket:[{number}]": kept for number in (100, 101)},
        files={**known, **(files or {})},
        networks=networks or {"host": HERE},
    )


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
