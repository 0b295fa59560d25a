"""The system calls that a claim is about, with what is known of their arguments.

Arguments that are not named are unknown: the call must be refused whatever they are. Names that an
architecture does not have are left out.
"""

import mmap
import os
import termios
from collections.abc import Mapping
from dataclasses import dataclass, field

from trafficd.audit.facts import Configuration
from trafficd.sandbox.apply import Half, calls

# An address in memory, by its lower and by its upper half alone.
_POINTERS = (0x10000, 0x7FFF_0000_0000)
_AT_FDCWD = -100 & 0xFFFF_FFFF_FFFF_FFFF  # linux/fcntl.h
_MSG_FASTOPEN = 0x20000000  # linux/socket.h: connects
# linux/sched.h: without CLONE_THREAD, that is, a process.
_CLONE_THREAD, _CLONE_VM, _CLONE_NEWNET, _CLONE_NEWUSER = 0x10000, 0x100, 0x40000000, 0x10000000
_SIGCHLD = 17
# linux/sockios.h, linux/if_tun.h, asm-generic/ioctls.h
_IOCTLS = {
    "SIOCGIFNAME": 0x8910,
    "SIOCGIFCONF": 0x8912,
    "SIOCGIFADDR": 0x8915,
    "SIOCGIFHWADDR": 0x8927,
    "SIOCGIFINDEX": 0x8933,
    "SIOCGIFTXQLEN": 0x8942,
    "SIOCETHTOOL": 0x8946,
    "SIOCGSKNS": 0x894C,
    "SIOCGARP": 0x8954,
    "TUNSETIFF": 0x400454CA,
    "TUNGETIFF": 0x800454D2,
    "TIOCSTI": termios.TIOCSTI if hasattr(termios, "TIOCSTI") else 0x5412,
}
# open(2): each way to more than reading.
_WRITING = {
    "O_WRONLY": os.O_WRONLY,
    "O_RDWR": os.O_RDWR,
    "O_CREAT": os.O_CREAT,
    "O_TRUNC": os.O_TRUNC,
    "O_APPEND": os.O_APPEND,
    "O_TMPFILE": os.O_TMPFILE,
    "O_PATH": os.O_PATH,
}
# asm/seccomp.h: AUDIT_ARCH_ of linux/audit.h, its own and those it can also run.
ARCHITECTURES = {
    "x86_64": (0xC000003E, {"i386": 0x40000003}),
    "aarch64": (0xC00000B7, {"arm": 0x40000028}),
}
# asm/unistd.h: x86-64 with 32-bit pointers, under the architecture's own name.
X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True)
class Probe:
    """One call by name, and what of it is known; *shown* says it in words."""

    name: str
    arguments: Mapping[int, int] = field(default_factory=dict)
    shown: str = ""

    def __str__(self) -> str:
        return f"{self.name}({self.shown})" if self.shown else self.name


def _any(*names: str) -> tuple[Probe, ...]:
    return tuple(Probe(name) for name in names)


_SENDING = (
    *(Probe("sendto", {4: pointer}, "with an address") for pointer in _POINTERS),
    Probe("sendmsg", {2: _MSG_FASTOPEN}, "MSG_FASTOPEN"),
)
_NETWORK = (*_any("socket", "socketpair", "connect", "bind", "socketcall"), *_SENDING)
_LINKS = tuple(Probe("ioctl", {1: value}, name) for name, value in _IOCTLS.items())
_OPENING_TO_WRITE = tuple(
    Probe(call, {place: value}, name)
    for call, place in (("openat", 2), ("open", 1))
    for name, value in _WRITING.items()
)
_WRITE = (
    *_OPENING_TO_WRITE,
    *_any(
        "openat2", "creat", "mkdir", "mkdirat", "mknod", "mknodat", "link", "linkat", "symlink",
        "symlinkat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "truncate",
        "ftruncate", "fallocate", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown",
        "fchownat", "setxattr", "lsetxattr", "fsetxattr", "utimensat", "open_by_handle_at",
        "name_to_handle_at", "pwrite64", "pwritev", "copy_file_range", "sendfile", "splice", "tee",
    ),
)  # fmt: skip
_READ = (
    Probe("openat", {0: _AT_FDCWD, 2: os.O_RDONLY}, "O_RDONLY"),
    Probe("openat", {2: os.O_RDONLY | os.O_CLOEXEC}, "O_RDONLY|O_CLOEXEC"),
    Probe("openat", {2: os.O_RDONLY | os.O_DIRECTORY}, "O_DIRECTORY"),
    Probe("open", {1: os.O_RDONLY}, "O_RDONLY"),
    *_any("openat2", "stat", "newfstatat", "statx", "readlink", "readlinkat", "getdents",
          "getdents64", "access", "faccessat", "faccessat2", "chdir", "fchdir", "getxattr",
          "listxattr", "inotify_add_watch", "fanotify_init"),
)  # fmt: skip
_PROCESSES = (
    *_any("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd",
          "pidfd_send_signal", "kill", "tkill", "tgkill", "rt_sigqueueinfo", "kcmp", "execve",
          "execveat", "fork", "vfork", "clone3", "prlimit64", "process_madvise", "move_pages",
          "migrate_pages", "sched_setaffinity"),
    Probe("clone", {0: _SIGCHLD}, "a process"),
    Probe("clone", {0: _CLONE_VM | _SIGCHLD}, "a process in the same memory"),
    Probe("clone", {0: _CLONE_NEWNET | _SIGCHLD}, "CLONE_NEWNET"),
    Probe("clone", {0: _CLONE_NEWUSER | _CLONE_THREAD}, "CLONE_NEWUSER"),
)  # fmt: skip
_KERNEL = _any(
    "bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "userfaultfd", "keyctl", "add_key", "request_key", "syslog", "unshare", "setns", "mount",
    "umount2", "move_mount", "open_tree", "fsopen", "fspick", "fsmount", "fsconfig",
    "mount_setattr", "pivot_root", "chroot", "init_module", "finit_module", "delete_module",
    "kexec_load", "kexec_file_load", "reboot", "iopl", "ioperm", "acct", "swapon", "swapoff",
    "quotactl", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname",
    "setdomainname", "lookup_dcookie", "mq_open", "shmget", "shmat", "msgget", "semget", "vhangup",
)  # fmt: skip
_CODE = (
    Probe("mmap", {2: mmap.PROT_EXEC}, "PROT_EXEC"),
    Probe("mmap", {2: mmap.PROT_EXEC | mmap.PROT_READ | mmap.PROT_WRITE}, "all"),
    Probe("mprotect", {2: mmap.PROT_EXEC}, "PROT_EXEC"),
    Probe("mprotect", {2: mmap.PROT_EXEC | mmap.PROT_READ}, "PROT_READ|PROT_EXEC"),
    *_any("pkey_mprotect", "memfd_create", "memfd_secret", "remap_file_pages", "uselib"),
)
_IDENTITY = _any(
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
    "setgroups", "capset", "prctl", "arch_prctl", "personality", "setrlimit", "munlock",
    "munlockall", "munlock2",
)  # fmt: skip
# Of other levels, all; of SOL_SOCKET, each but the one by which the reader sees an overrun.
_LEVELS = {"IP": 0, "TCP": 6, "UDP": 17, "IPV6": 41, "RAW": 255, "PACKET": 263, "NETLINK": 270}
_SOL_SOCKET, _SO_MEMINFO, _MOST_OPTIONS = 1, 55, 128
_READER_OPTIONS = (
    *(Probe("getsockopt", {1: level}, f"SOL_{name}") for name, level in _LEVELS.items()),
    *(
        Probe("getsockopt", {1: _SOL_SOCKET, 2: option}, f"SOL_SOCKET, {option}")
        for option in range(_MOST_OPTIONS)
        if option != _SO_MEMINFO
    ),
)
_SETTING = (
    Probe("setsockopt", {1: 1, 2: 26}, "SO_ATTACH_FILTER"),
    Probe("setsockopt", {1: 270, 2: 1}, "NETLINK_ADD_MEMBERSHIP"),
    Probe("setsockopt", {1: 1, 2: 27}, "SO_DETACH_FILTER"),
    Probe("setsockopt", {1: 1, 2: 44}, "SO_LOCK_FILTER"),
)
_BOTH = {
    "calls.network": (*_NETWORK, *_SETTING),
    "calls.links": _LINKS,
    "calls.write": _WRITE,
    "calls.processes": _PROCESSES,
    "calls.kernel": _KERNEL,
    "calls.code": _CODE,
    "calls.identity": _IDENTITY,
}
# Not accept4, by which it takes the exporter's connections: on its one socket that listens.
_READER_ONLY = (
    *_any("listen", "accept", "sendmmsg", "setsockopt", "getpeername", "clone"),
    *_READER_OPTIONS,
)
_EXPORTER_ONLY = _any("getsockopt")
# An exporter that pushes makes internet sockets of one kind, or of two where it asks for names, of
# their usual protocols; it connects them to addresses as long as those of the internet, and asks
# whether they are connected.
_SO_ERROR, _MOST_FAMILIES, _MOST_KINDS, _LONGEST_ADDRESS = 4, 46, 11, 128
_INTERNET = (2, 10)
_STREAM, _DATAGRAM = 1, 2
_ADDRESS_BYTES = (16, 28)
_PROTOCOLS = {"ICMP": 1, "UDP": 17, "DCCP": 33, "ICMPV6": 58, "SCTP": 132, "RAW": 255, "MPTCP": 262}
_PUSH_ONLY = (
    *(
        Probe("socket", {0: family}, f"family {family}")
        for family in range(_MOST_FAMILIES)
        if family not in _INTERNET
    ),
    *(
        Probe("socket", {0: family, 1: kind}, f"family {family}, kind {kind}")
        for family in _INTERNET
        for kind in range(_MOST_KINDS)
        if kind not in (_STREAM, _DATAGRAM)
    ),
    *(
        Probe("socket", {0: family, 1: _STREAM, 2: number}, f"family {family}, stream, {name}")
        for family in _INTERNET
        for name, number in _PROTOCOLS.items()
    ),
    *(
        Probe("connect", {2: length}, f"an address of {length} bytes")
        for length in range(_LONGEST_ADDRESS + 1)
        if length not in _ADDRESS_BYTES
    ),
    *(Probe("getsockopt", {1: level}, f"SOL_{name}") for name, level in _LEVELS.items()),
    *(
        Probe("getsockopt", {1: _SOL_SOCKET, 2: option}, f"SOL_SOCKET, {option}")
        for option in range(_MOST_OPTIONS)
        if option != _SO_ERROR
    ),
)
_WITHOUT_NAMES = tuple(
    Probe("socket", {0: family, 1: _DATAGRAM}, f"family {family}, datagrams")
    for family in _INTERNET
)
_WITH_NAMES = tuple(
    Probe("socket", {0: family, 1: _DATAGRAM, 2: number}, f"family {family}, datagrams, {name}")
    for family in _INTERNET
    for name, number in _PROTOCOLS.items()
    if name != "UDP"
)
_PUSHING = frozenset(("socket", "connect"))


def refused(half: Half, settings: Configuration) -> dict[str, tuple[Probe, ...]]:
    """Return, for each claim, the calls that *half* must not be able to make."""
    if half is Half.READER:
        network = (*_BOTH["calls.network"], *_READER_ONLY)
        return {**_BOTH, "calls.network": network, "calls.read": _READ}
    network = (*_BOTH["calls.network"], *_EXPORTER_ONLY)
    if settings.way_out is not None:
        usual = (each for each in _BOTH["calls.network"] if str(each) not in _PUSHING)
        names = _WITH_NAMES if settings.way_out.asks_names else _WITHOUT_NAMES
        network = (*usual, *_PUSH_ONLY, *names)
    if not settings.reads_files:
        return {**_BOTH, "calls.network": network, "calls.read": _READ}
    still = tuple(each for each in _READ if not each.name.startswith("open") or not each.arguments)
    return {**_BOTH, "calls.network": network, "calls.read": (Probe("open"), *still)}


def written_down(half: Half, settings: Configuration) -> frozenset[str]:
    """Return the names of the calls that *half* is allowed, with whatever arguments."""
    allowed = calls(half, has_web_config=settings.has_web_config, way_out=settings.way_out)
    return frozenset(each.name for each in allowed)
