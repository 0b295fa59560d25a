"""What the kernel and the file system say, as values: gathered at the edges, judged by checks."""

from collections.abc import Mapping
from dataclasses import dataclass

from trafficd.audit.finding import Unread
from trafficd.config import Layer
from trafficd.sandbox.apply import Half, WayOut
from trafficd.sandbox.socket_filter import Program


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread: its /proc status and its seccomp programs."""

    number: int
    status: Mapping[str, str]
    programs: tuple[Program, ...] | Unread


@dataclass(frozen=True, slots=True)
class NetlinkSocket:
    """What a netlink socket lets in: its groups, and its classic BPF program.

    *network* is the number of the network namespace whose links it sees, as /proc/PID/ns/net shows.
    """

    groups: tuple[int, ...] | Unread
    program: Program | Unread
    is_locked: bool
    network: int | Unread


@dataclass(frozen=True, slots=True)
class Socket:
    """One socket, asked through a duplicate of its descriptor.

    *peer* is the process that a unix socket is connected to, or that made what it is connected to,
    and *peer_address* the name there; *port* is the own one of an inet socket: whom it talks to
    over the network is not asked. *is_deaf* tells that nothing more can come in, *is_dead* that the
    other end is gone, *waiting_bytes* how much came that nobody took.
    """

    family: int
    kind: int
    protocol: int
    address: str = ""
    port: int = 0
    peer: int = 0
    peer_address: str = ""
    is_listening: bool = False
    is_deaf: bool = False
    is_dead: bool = False
    waiting_bytes: int = 0
    netlink: NetlinkSocket | None = None


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One open descriptor: what /proc calls it, and whether it may be written to."""

    number: int
    target: str
    is_writable: bool
    socket: Socket | Unread | None = None


@dataclass(frozen=True, slots=True)
class MappedFile:
    """The file behind memory that is shared: how it lies there, and on what.

    *mount_options* are those of its file system, as proc_pid_mountinfo(5) shows them.
    """

    is_regular: bool
    mode: int
    owner: int
    links: int
    size: int
    is_on_tmpfs: bool
    mount_options: frozenset[str] | Unread


@dataclass(frozen=True, slots=True)
class MemoryMapping:
    """One mapping of memory, as proc_pid_smaps(5) shows it; *file* is asked where it is shared."""

    permissions: str
    path: str
    is_file: bool
    is_locked: bool
    is_special: bool
    swapped: str = "0 kB"
    file: MappedFile | Unread | None = None

    @property
    def is_shared(self) -> bool:
        """Whether what is written there is seen by whoever else has it."""
        return "w" in self.permissions and "s" in self.permissions


@dataclass(frozen=True, slots=True)
class Process:
    """One running half, from outside.

    Units: *start_ticks* since boot are the same moment as *started_at* in UTC seconds.
    Shape: *coredump_mask* is None before Linux 6.16; *injected* are names of environment variables
    by which other code would be loaded; *beside* are modules in the directory it was started in
    that would be imported before the installed ones. *notify_address* is where it was told that its
    service manager listens, nothing if none does; *network* the number of its network namespace.
    """

    half: Half
    number: int
    parent: int
    start_ticks: int
    started_at: float
    executable: str
    injected: tuple[str, ...] | Unread
    notify_address: str
    network: int | Unread
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
    """The process that started the halves, where it is a `trafficd agent`: what it has open."""

    number: int
    descriptors: tuple[Descriptor, ...] | Unread


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a unix socket, which decides who may connect or send to it."""

    mode: int
    owner: int
    group: int


@dataclass(frozen=True, slots=True)
class Node:
    """Both halves, and what is true of them together.

    Shape: *agent* is None where a service manager started the halves. *holders* are the processes
    that have a socket of the halves open, by what /proc calls it; *files* are those that sockets
    are bound to, by address. *networks* are the numbers of the network namespaces that are to be
    counted, by name.
    """

    reader: Process
    exporter: Process
    agent: Agent | None
    holders: Mapping[str, frozenset[int]]
    files: Mapping[str, SocketFile | Unread]
    networks: Mapping[str, int | Unread]

    @property
    def starter(self) -> int:
        """The process that started the halves: the agent, or the service manager."""
        return self.reader.parent


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
    """The effective settings, and when their file last changed, in UTC seconds.

    *is_as_given* tells that each half was given that very file, or a copy of the same text.
    *way_out* is what pushing takes, to as many *destinations*.
    """

    digest: str
    window: int
    min_sessions: int
    absent: tuple[Layer, ...]
    namespaces: int
    has_web_config: bool
    changed_at: float
    shared_classes: tuple[str, ...]
    is_as_given: bool = True
    way_out: WayOut | None = None
    destinations: int = 0

    @property
    def reads_files(self) -> bool:
        """Whether its exporter has files to read anew."""
        return self.has_web_config or (self.way_out is not None and bool(self.way_out.readable))
