"""Attempts on files: to read what the kernel and others tell, to learn what is there, to write."""

import ctypes
import os
import struct
from collections.abc import Callable
from errno import ENOENT, ENOSYS, ENXIO, EOPNOTSUPP
from functools import partial
from pathlib import Path

from tests.evil.world import World, attempt, call, in_child, raw

_SHORT = 1 << 16
_AT_FDCWD = -100
_O_TMPFILE = 0o20200000

# What a half must not read. Of files that are not the test's own, only that they can be read is
# told, never what stands there.
READ = {
    **{f"/proc/net/{each}": f"/proc/net/{each}" for each in (
        "dev", "arp", "tcp", "tcp6", "udp", "raw", "unix", "netlink", "packet", "route",
        "fib_trie", "fib_triestat", "ipv6_route", "if_inet6", "igmp", "igmp6", "dev_mcast",
        "sockstat", "snmp", "nf_conntrack", "xfrm_stat", "anycast6", "ptype",
    )},
    "/proc/self/net/dev": "/proc/self/net/dev",
    "/proc/thread-self/net/arp": "/proc/thread-self/net/arp",
    "/proc/PARENT/net/dev": "/proc/{parent}/net/dev",
    "/proc/PARENT/cmdline": "/proc/{parent}/cmdline",
    "/proc/PARENT/environ": "/proc/{parent}/environ",
    "/proc/PARENT/maps": "/proc/{parent}/maps",
    "/proc/PARENT/status": "/proc/{parent}/status",
    "/proc/OTHER/cmdline": "/proc/{other}/cmdline",
    "/proc/OTHER/environ": "/proc/{other}/environ",
    "/proc/OTHER/maps": "/proc/{other}/maps",
    "/proc/OTHER/stat": "/proc/{other}/stat",
    "/proc/SESSION/cmdline": "/proc/{session}/cmdline",
    "/proc/SESSION/environ": "/proc/{session}/environ",
    "/proc/SESSION/comm": "/proc/{session}/comm",
    "/proc/1/net/dev": "/proc/1/net/dev",
    "/proc/1/comm": "/proc/1/comm",
    "/proc/1/mountinfo": "/proc/1/mountinfo",
    "/proc/self/environ": "/proc/self/environ",
    "/proc/self/cmdline": "/proc/self/cmdline",
    "/proc/self/maps": "/proc/self/maps",
    "/proc/self/mountinfo": "/proc/self/mountinfo",
    "/proc/self/status": "/proc/self/status",
    "/proc/kallsyms": "/proc/kallsyms",
    "/proc/keys": "/proc/keys",
    "/proc/stat": "/proc/stat",
    "/proc/timer_list": "/proc/timer_list",
    "/proc/sysvipc/shm": "/proc/sysvipc/shm",
    "/proc/LINK/forwarding": "/proc/sys/net/ipv4/conf/{name}/forwarding",
    "/proc/net/dev_snmp6/LINK": "/proc/net/dev_snmp6/{name}",
    "/sys/class/net/LINK/address": "/sys/class/net/{name}/address",
    "/sys/class/net/LINK/ifalias": "/sys/class/net/{name}/ifalias",
    "/dev/kmsg": "/dev/kmsg",
    "/dev/mem": "/dev/mem",
    "/etc/passwd": "/etc/passwd",
    "/etc/hostname": "/etc/hostname",
    "the agent's own configuration": "{config}",
    "the reader's state": "{state}",
    "a file that everybody may read": "{file}",
    "the package's own code": "{code}",
    "standard error, to hear the other half": "/proc/self/fd/2",
    "its own memory": "/proc/self/mem",
    "the other half's memory": "/proc/{other}/mem",
    "the agent's memory": "/proc/{parent}/mem",
    "the other half's network namespace": "/proc/{other}/ns/net",
    "/dev/net/tun": "/dev/net/tun",
    "/dev/null": "/dev/null",
}  # fmt: skip
# Opening alone says it: reading would wait, or fail for want of an address.
_OPEN_ONLY = ("/ns/", "/mem", "/dev/net/tun", "/dev/null", "/dev/mem", "/fd/")


def _path(template: str, world: World) -> str:
    return template.format(**world.facts, socket=world.connection)


def _read(template: str, world: World) -> str:
    path = _path(template, world)
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK * path.startswith(("/proc/self/fd", "/dev")))
    try:
        if any(each in path for each in _OPEN_ONLY):
            return "it was opened"
        data = os.read(opened, _SHORT)
        return f"{len(data)} bytes; {world.found(data)}"
    finally:
        os.close(opened)


for _name, _template in READ.items():
    attempt(name=f"read {_name}", absent=(ENOENT, ENXIO))(partial(_read, _template))


@attempt(name="see which network namespace it is in")
def _own_namespace(_world: World) -> str:
    # Landlock lets files of the kernel's own be opened, such as this one (landlock(7)).
    opened = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        return f"number {os.fstat(opened).st_ino}"
    finally:
        os.close(opened)


def _read_plainly(world: World) -> str:
    """As the code of trafficd reads its web config: through Python's own open."""
    with open(world.facts["file"], "rb") as opened:  # noqa: PTH123  # pathlib opens the same way
        return world.found(opened.read())


attempt(name="read a file through Python's own open")(_read_plainly)


@attempt(name="read by openat2")
def _openat2(world: World) -> str:
    how = struct.pack("=QQQ", os.O_RDONLY, 0, 0)
    opened = raw("openat2", _AT_FDCWD, world.facts["file"].encode() + b"\0", how, len(how))
    try:
        return world.found(os.read(opened, _SHORT))
    finally:
        os.close(opened)


@attempt(name="read by a handle of a file", absent=(EOPNOTSUPP,))
def _by_handle(world: World) -> str:
    handle = ctypes.create_string_buffer(struct.pack("=II", 128, 0), 136)
    mount = ctypes.create_string_buffer(4)
    path = world.facts["file"].encode() + b"\0"
    call("name_to_handle_at", _AT_FDCWD, path, handle, mount, 0)
    directory = os.open(world.facts["directory"], os.O_RDONLY)
    opened = call("open_by_handle_at", directory, handle, os.O_RDONLY)
    os.close(directory)
    try:
        return world.found(os.read(opened, _SHORT))
    finally:
        os.close(opened)


def _tell(look: Callable[[str], object], template: str, world: World) -> str:
    found = look(_path(template, world))
    return f"it is there: {found}"[:80]


for _name, _look, _template in (
    ("list /proc", os.listdir, "/proc"),
    ("list /proc/net", os.listdir, "/proc/net/"),
    ("list /sys/class/net", os.listdir, "/sys/class/net"),
    ("list the settings of links", os.listdir, "/proc/sys/net/ipv4/conf"),
    ("list its own descriptors", os.listdir, "/proc/self/fd"),
    ("list its own threads", os.listdir, "/proc/self/task"),
    ("list the other half's descriptors", os.listdir, "/proc/{other}/fd"),
    ("list /run", os.listdir, "/run"),
    ("list /dev", os.listdir, "/dev"),
    ("list a directory of everybody's", os.listdir, "{directory}"),
    ("whether a link is there, by stat", os.stat, "/sys/class/net/{name}"),
    ("whether a link is there, by lstat", os.lstat, "/sys/class/net/{name}"),
    ("whether a link is there, by its settings", os.stat, "/proc/sys/net/ipv4/conf/{name}"),
    ("whether a process is there, by stat", os.stat, "/proc/{session}"),
    ("where a link leads", os.readlink, "/sys/class/net/{name}"),
    ("what a descriptor is, by readlink", os.readlink, "/proc/self/fd/{socket}"),
    ("what a file system is", os.statvfs, "/run"),
    ("the attributes of a file", os.listxattr, "{file}"),
):
    attempt(name=_name)(partial(_tell, _look, _template))


@attempt(name="whether a link is there, by access")
def _access(world: World) -> str:
    call("access", f"/sys/class/net/{world.facts['name']}".encode() + b"\0", os.F_OK)
    return "it is there"


@attempt(name="go to /sys/class/net")
def _go(world: World) -> str:
    def act() -> str:
        os.chdir(f"/sys/class/net/{world.facts['name']}")
        return "it is there"

    return in_child(act)


@attempt(name="where it is")
def _where(_world: World) -> str:
    return str(Path.cwd())


@attempt(name="watch a directory by inotify")
def _inotify(world: World) -> str:
    watching = call("inotify_init1", 0)
    call("inotify_add_watch", watching, world.facts["directory"].encode() + b"\0", 0xFFF)
    os.close(watching)
    return "it was let to"


@attempt(name="watch every file by fanotify", absent=(ENOSYS,))
def _fanotify(_world: World) -> str:
    os.close(call("fanotify_init", 0, os.O_RDONLY))
    return "it was let to"


# What leaves something behind. Each takes it away again, where it was let to.
def _create(template: str, world: World) -> str:
    path = f"{_path(template, world)}/evil-{os.getpid()}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    Path(path).unlink()
    return "it was made"


for _name, _template in (
    ("in a directory of everybody's", "{directory}"),
    ("in /tmp", "/tmp"),
    ("in /var/tmp", "/var/tmp"),
    ("in /dev/shm", "/dev/shm"),
    ("in /run", "/run"),
    ("where it is", "."),
    ("beside the package's own code", "{package}"),
):
    attempt(name=f"make a file {_name}", absent=(ENOENT,))(partial(_create, _template))


@attempt(name="make a file without a name", absent=(EOPNOTSUPP,))
def _nameless(world: World) -> str:
    os.close(os.open(world.facts["directory"], os.O_WRONLY | _O_TMPFILE, 0o600))
    return "it was made"


@attempt(name="make a file by creat")
def _creat(world: World) -> str:
    path = f"{world.facts['directory']}/created"
    os.close(call("creat", path.encode() + b"\0", 0o600))
    Path(path).unlink()
    return "it was made"


def _write(template: str, flags: int, world: World) -> str:
    os.close(os.open(_path(template, world), flags))
    return "it was opened for writing"


for _name, _template in (
    ("a file that everybody may write", "{file}"),
    ("the agent's own configuration", "{config}"),
    ("the reader's state", "{state}"),
    ("its own memory", "/proc/self/mem"),
    ("the other half's memory", "/proc/{other}/mem"),
    ("its name in ps", "/proc/self/comm"),
    ("its score for the OOM killer", "/proc/self/oom_score_adj"),
    ("/dev/kmsg", "/dev/kmsg"),
    ("/dev/null", "/dev/null"),
    ("standard error again", "/proc/self/fd/2"),
):
    attempt(name=f"write {_name}")(partial(_write, _template, os.O_WRONLY))
attempt(name="write and read a file")(partial(_write, "{file}", os.O_RDWR))
attempt(name="append to a file")(partial(_write, "{file}", os.O_WRONLY | os.O_APPEND))
attempt(name="empty a file while opening it")(
    partial(_write, "{spare_file}", os.O_RDONLY | os.O_TRUNC)
)


@attempt(name="empty a file by truncate")
def _truncate(world: World) -> str:
    os.truncate(world.facts["spare_file"], 0)
    return "it was emptied"


def _changed(act: Callable[[Path, Path], object], world: World) -> str:
    act(Path(world.facts["file"]), Path(world.facts["directory"], "changed"))
    return "it was done"


def _directory(_file: Path, new: Path) -> None:
    new.mkdir()
    new.rmdir()


def _symbolic_link(file: Path, new: Path) -> None:
    new.symlink_to(file)
    new.unlink()


def _hard_link(file: Path, new: Path) -> None:
    new.hardlink_to(file)
    new.unlink()


def _rename(file: Path, new: Path) -> None:
    file.rename(new)
    new.rename(file)


def _unlink(_file: Path, new: Path) -> None:
    new.with_name("to-be-unlinked").unlink()


def _fifo(_file: Path, new: Path) -> None:
    os.mkfifo(new)
    new.unlink()


def _attribute(file: Path, _new: Path) -> None:
    os.setxattr(file, "user.evil", b"1")


for _name, _act in (
    ("make a directory", _directory),
    ("make a symbolic link", _symbolic_link),
    ("make a hard link", _hard_link),
    ("rename a file", _rename),
    ("unlink a file", _unlink),
    ("make a FIFO", _fifo),
    ("set an attribute of a file", _attribute),
    ("change a file's mode", lambda file, _new: file.chmod(0o666)),
    ("change a file's owner", lambda file, _new: os.chown(file, -1, -1)),
    ("change a file's times", lambda file, _new: os.utime(file)),
):
    attempt(name=_name, absent=(EOPNOTSUPP,))(partial(_changed, _act))


@attempt(name="lock a file that is open")
def _lock(_world: World) -> str:
    call("flock", 2, 1 | 4)
    call("flock", 2, 8)
    return "it was locked"


@attempt(name="change the mode of an open descriptor")
def _fchmod(_world: World) -> str:
    os.fchmod(2, 0o600)
    return "it was changed"
