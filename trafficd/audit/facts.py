"""What the kernel and the file system say, as values: gathered at the edges, judged by checks."""

from collections.abc import Mapping
from dataclasses import dataclass

from trafficd.audit.finding import Unread
from trafficd.config import Layer
from trafficd.sandbox.apply import Half
from trafficd.sandbox.socket_filter import Program


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread: its /proc status and its seccomp programs."""

    number: int
    status: Mapping[str, str]
    programs: tuple[Program, ...] | Unread


@dataclass(frozen=True, slots=True)
class NetlinkSocket:
    """What a netlink socket lets in: its groups, and its classic BPF program."""

    groups: tuple[int, ...] | Unread
    program: Program | Unread
    is_locked: bool


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket, asked through a duplicate of its descriptor.

    *peer* is the process that a unix socket was connected by, *port* the own one of an inet socket;
    whom it talks to over the network is not asked. *is_deaf* tells that nothing more can come in.
    """

    family: int
    kind: int
    protocol: int
    address: str = ""
    port: int = 0
    peer: int = 0
    is_listening: bool = False
    is_deaf: bool = False
    netlink: NetlinkSocket | None = None


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One open descriptor: what /proc calls it, and whether it may be written to."""

    number: int
    target: str
    is_writable: bool
    socket: Socket | Unread | None = None


@dataclass(frozen=True, slots=True)
class MemoryMapping:
    """One mapping of memory, as proc_pid_smaps(5) shows it."""

    permissions: str
    path: str
    is_file: bool
    is_locked: bool
    is_special: bool


@dataclass(frozen=True, slots=True)
class Process:
    """One running half, from outside.

    Units: *start_ticks* since boot are the same moment as *started_at* in UTC seconds.
    Shape: *coredump_mask* is None before Linux 6.16; *injected* are names of environment variables
    by which other code would be loaded; *beside* are modules in the directory it was started in
    that would be imported before the installed ones.
    """

    half: Half
    number: int
    parent: int
    start_ticks: int
    started_at: float
    executable: str
    injected: tuple[str, ...] | Unread
    beside: tuple[str, ...]
    threads: tuple[Thread, ...]
    files_owner: int
    core_limit: tuple[str, str] | Unread
    coredump_mask: int | None
    descriptors: tuple[Descriptor, ...] | Unread
    mappings: tuple[MemoryMapping, ...] | Unread
    swapless_cgroup: str
    writable_mounts: int | Unread

    @property
    def status(self) -> Mapping[str, str]:
        """The status of the first thread, which stands for the process."""
        return self.threads[0].status


@dataclass(frozen=True, slots=True)
class Agent:
    """The process that started the halves: the kinds of descriptors it has open."""

    number: int
    descriptors: tuple[Descriptor, ...] | Unread


@dataclass(frozen=True, slots=True)
class Host:
    """What the kernel says of the host, and which system calls its architecture has."""

    core_pattern: str | Unread
    suid_dumpable: str | Unread
    swaps: int | Unread
    landlock: int | Unread
    machine: str
    system_calls: Mapping[str, int] | Unread


@dataclass(frozen=True, slots=True)
class Code:
    """The installed package against its own record.

    Shape: paths relative to the place of installation. *newest_at* is the last change of any file,
    in UTC seconds. *version* is that of the code that runs this audit.
    """

    version: str
    recorded_version: str
    is_editable: bool
    digest: str
    files: int
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    unwritten_by_root: tuple[str, ...]
    newest_at: float


@dataclass(frozen=True, slots=True)
class Startup:
    """What Python loads before or beside the package: dependencies, path files, customisations."""

    distributions: int
    changed: tuple[str, ...]
    unrecorded: tuple[str, ...]
    interpreter: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The effective settings, and when their file last changed, in UTC seconds."""

    digest: str
    window: int
    min_sessions: int
    absent: tuple[Layer, ...]
    namespaces: int
    has_web_config: bool
    changed_at: float
    shared_classes: tuple[str, ...]
