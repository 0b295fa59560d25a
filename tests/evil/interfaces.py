"""Attempts on what else a kernel offers: namespaces, mounts, BPF, io_uring, modules and the like.

Where a control run, which is root, would do harm, the arguments are wrong: that the kernel gets as
far as to look at them is what the attempt is about.
"""

import ctypes
import os
import struct
from collections.abc import Callable
from errno import (
    EBADF,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOENT,
    ENOEXEC,
    ENOSYS,
    EOPNOTSUPP,
)
from functools import partial

from tests.evil.world import World, attempt, call, in_child, raw, reached

# linux/sched.h
NAMESPACES = {
    "network": 0x40000000,
    "mount": 0x00020000,
    "user": 0x10000000,
    "process": 0x20000000,
    "host name": 0x04000000,
    "IPC": 0x08000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}
_AT_FDCWD = -100
_MS_BIND, _MS_REMOUNT = 4096, 32
_SECCOMP_SET_MODE_FILTER = 1
_NETWORK_NAMESPACE = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _unshare(flag: int, _world: World) -> str:
    return in_child(lambda: f"it was let to: {call('unshare', flag)}")


def _clone_into(flag: int, _world: World) -> str:
    def act() -> str:
        child = raw("clone", flag | 17, 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return "a child was made in it"

    return in_child(act)


for _name, _flag in NAMESPACES.items():
    attempt(name=f"a new {_name} namespace", absent=(EINVAL,))(partial(_unshare, _flag))
    if _name != "time":
        attempt(name=f"a child in a new {_name} namespace", absent=(EINVAL,))(
            partial(_clone_into, _flag)
        )


@attempt(name="go to another namespace")
def _setns(_world: World) -> str:
    return in_child(lambda: f"it was let to: {call('setns', _NETWORK_NAMESPACE, 0)}")


@attempt(name="go to the namespace of the agent")
def _setns_process(world: World) -> str:
    def act() -> str:
        process = raw("pidfd_open", world.facts["parent"], 0)
        return f"it was let to: {call('setns', process, NAMESPACES['network'])}"

    return in_child(act)


def _mount(world: World) -> str:
    where = world.facts["directory"].encode() + b"\0"
    call("mount", b"none\0", where, b"tmpfs\0", 0, None)
    call("umount2", where, 0)
    return "it was mounted"


def _considered(act: Callable[[], object], errors: tuple[int, ...], _world: World) -> str:
    return reached(act, *errors)


attempt(name="mount a file system")(_mount)


def _bpf_map() -> None:
    # union bpf_attr: BPF_MAP_CREATE of an array
    wanted = struct.pack("=IIIII", 2, 4, 8, 1, 0).ljust(128, b"\0")
    os.close(raw("bpf", 0, wanted, len(wanted)))


def _bpf_program() -> None:
    code = ctypes.create_string_buffer(struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0))
    licence = ctypes.create_string_buffer(b"GPL\0")
    wanted = struct.pack("=IIQQ", 1, 2, ctypes.addressof(code), ctypes.addressof(licence))
    wanted = wanted.ljust(144, b"\0")
    os.close(raw("bpf", 5, wanted, len(wanted)))


def _bpf_next() -> None:
    raw("bpf", 12, ctypes.create_string_buffer(144), 144)


def _perf() -> None:
    # struct perf_event_attr: a software clock
    wanted = struct.pack("=IIQ", 1, 128, 0).ljust(128, b"\0")
    os.close(raw("perf_event_open", wanted, 0, -1, -1, 0))


def _io_uring() -> None:
    os.close(raw("io_uring_setup", 4, ctypes.create_string_buffer(120)))


def _userfaultfd() -> None:
    os.close(raw("userfaultfd", 0o2000000))


def _seccomp() -> None:
    call("prctl", 22, 2, None, 0, 0)


for _name, _act, _errors in (
    ("BPF: a map", _bpf_map, ()),
    ("BPF: a program", _bpf_program, ()),
    ("BPF: what programs there are", _bpf_next, (ENOENT,)),
    ("performance events", _perf, ()),
    ("io_uring", _io_uring, ()),
    ("userfaultfd", _userfaultfd, ()),
    ("another filter of system calls", _seccomp, (EFAULT, EINVAL)),
    ("unmount", lambda: call("umount2", b"/none/such\0", 0), (ENOENT,)),
    ("mount again", lambda: call("mount", None, b"/none/such\0", None, _MS_REMOUNT, None),
     (ENOENT,)),
    ("mount elsewhere",
     lambda: call("mount", b"/none/such\0", b"/\0", None, _MS_BIND, None), (ENOENT,)),
    ("open a tree of mounts", lambda: os.close(raw("open_tree", _AT_FDCWD, b"/\0", 1)),
     (EINVAL,)),
    ("open a file system", lambda: os.close(raw("fsopen", b"tmpfs\0", 0)), ()),
    ("pick a file system", lambda: os.close(raw("fspick", _AT_FDCWD, b"/\0", 0)), (EINVAL,)),
    ("attributes of a mount",
     lambda: raw("mount_setattr", _AT_FDCWD, b"/none/such\0", 0, bytes(32), 32), (ENOENT,)),
    ("what mounts there are",
     lambda: raw("listmount", struct.pack("=IIQQ", 24, 0, 0xFFFFFFFFFFFFFFFF, 0),
                 ctypes.create_string_buffer(80), 10, 0), ()),
    ("another root directory, by chroot", lambda: call("chroot", b"/none/such\0"), (ENOENT,)),
    ("another root directory, by pivot_root",
     lambda: raw("pivot_root", b"/none/such\0", b"/none/such\0"), (ENOENT,)),
    ("a module of the kernel", lambda: raw("init_module", None, 0, b"\0"),
     (EFAULT, ENOEXEC, EINVAL)),
    ("a module of the kernel, from a file", lambda: raw("finit_module", 2, b"\0", 0),
     (EBADF, ENOEXEC, EINVAL, ENODEV)),
    ("another kernel", lambda: raw("kexec_load", 0, 99, None, 0), (EINVAL,)),
    ("swap on", lambda: call("swapon", b"/none/such\0", 0), (ENOENT,)),
    ("swap off", lambda: call("swapoff", b"/none/such\0"), (ENOENT,)),
    ("accounting of processes", lambda: call("acct", b"/none/such\0"), (ENOENT,)),
    ("restart the machine, with the wrong word", lambda: raw("reboot", 1, 2, 3, None),
     (EINVAL,)),
    ("set the clock", lambda: call("clock_settime", 99, struct.pack("=qq", 0, 0)), (EINVAL,)),
    ("read what the clock is held by", lambda: call("adjtimex", ctypes.create_string_buffer(208)),
     ()),
    ("the quota of a disk", lambda: call("quotactl", 0x80000700, b"/none/such\0", 0, None),
     (ENOENT, ENODEV)),
    ("how the machine is", lambda: call("sysinfo", ctypes.create_string_buffer(128)), ()),
    ("what it used", lambda: call("getrusage", 0, ctypes.create_string_buffer(256)), ()),
    ("ports of the machine", lambda: call("ioperm", 0x80, 1, 0), ()),
):  # fmt: skip
    attempt(name=_name, absent=(ENOSYS, EOPNOTSUPP))(partial(_considered, _act, _errors))
