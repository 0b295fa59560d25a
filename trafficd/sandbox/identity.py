"""Who a half is once it is locked: an unprivileged user without a capability, and for good.

The order is the kernel's: the bounding set can be dropped only while CAP_SETPCAP is there, groups
and user changed only while CAP_SETGID and CAP_SETUID are, and what is left goes last.
"""

import contextlib
import ctypes
import itertools
import os
from functools import partial
from pathlib import Path

from trafficd.errors import SandboxError
from trafficd.sandbox.child import ask_child
from trafficd.sandbox.libc import libc_call, prctl

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
# linux/capability.h
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_WORDS = 6  # effective, permitted, inheritable: of the first 32 capabilities, and on

_ROOT = 0
_MAPS = {"uid": Path("/proc/self/uid_map"), "gid": Path("/proc/self/gid_map")}


def become_unprivileged(user: str) -> None:
    """Go on as *user* where this process is root, without a capability or a way to one.

    Who is not root stays who he is. So does root of a user namespace that has no id for *user*:
    outside of it, that root is nobody special (user_namespaces(7)).
    Raises: SandboxError if there is no such user, or anything of root is left.
    """
    try:
        death_signal, parent = _death_signal(), os.getppid()
        if _ROOT in os.getresuid():
            _stop_being_root(user)
        elif any(_capabilities()):
            # Without CAP_SETPCAP the bounding set stays, and gives nothing to who has
            # no_new_privs (capabilities(7)).
            with contextlib.suppress(PermissionError):
                _drop_bounding_set()
            _drop_capabilities()
        _keep_death_signal(death_signal, parent)
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        is_closed = prctl(_PR_GET_NO_NEW_PRIVS) == 1
    except OSError as error:
        raise SandboxError(
            f"sandbox.user: {user}: cannot be become: {error.strerror}; start trafficd as root with"
            " all capabilities, or as a user that has none"
        ) from error
    if any(_capabilities()) or not is_closed:
        raise SandboxError("sandbox: capabilities are left that could not be given up")


def _stop_being_root(user: str) -> None:
    uid, gid, *groups = map(int, ask_child(partial(_ids, user)).split())
    _drop_bounding_set()
    if _is_mapped("uid", uid) and all(_is_mapped("gid", each) for each in (gid, *groups)):
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        if (
            set(os.getresuid()) != {uid}
            or set(os.getresgid()) != {gid}
            or set(os.getgroups()) != set(groups)
        ):
            raise SandboxError(f"sandbox.user: {user}: the kernel kept another identity")
    _drop_capabilities()
    if _bounding_set():
        raise SandboxError("sandbox: the capability bounding set could not be emptied")


def _ids(user: str) -> bytes:
    """Return the numbers of *user*: its own, its group's, and those of all groups it is in."""
    import pwd

    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise SandboxError(
            f"sandbox.user: {user}: no such user here; create it or name another"
        ) from None
    if entry.pw_uid == _ROOT:
        raise SandboxError(f"sandbox.user: {user}: is root by another name; name another user")
    groups = os.getgrouplist(user, entry.pw_gid)
    return " ".join(map(str, (entry.pw_uid, entry.pw_gid, *groups))).encode()


def _is_mapped(kind: str, number: int) -> bool:
    """Return whether this user namespace has the id: a line is first, first outside, count."""
    lines = _MAPS[kind].read_text(encoding="ascii").splitlines()
    ranges = [tuple(map(int, line.split())) for line in lines]
    return any(first <= number < first + count for first, _, count in ranges)


def _drop_bounding_set() -> None:
    for number in _bounding_set():
        prctl(_PR_CAPBSET_DROP, number)


def _bounding_set() -> list[int]:
    """Return what is in the bounding set, of all capabilities that this kernel knows."""
    found = []
    for number in itertools.count():
        try:
            if prctl(_PR_CAPBSET_READ, number):
                found.append(number)
        except OSError:
            # EINVAL: no such capability, and none behind it.
            return found
    raise AssertionError("there is an end of it")


def _drop_capabilities() -> None:
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    libc_call("capset", _header(), (ctypes.c_uint32 * _CAPABILITY_WORDS)())


def _capabilities() -> list[int]:
    """Return the words of the effective, permitted and inheritable sets."""
    data = (ctypes.c_uint32 * _CAPABILITY_WORDS)()
    libc_call("capget", _header(), data)
    return list(data)


def _header() -> "ctypes.Array[ctypes.c_uint32]":
    return (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)


def _death_signal() -> int:
    found = (ctypes.c_uint32 * 1)()
    libc_call("prctl", _PR_GET_PDEATHSIG, found)
    return found[0]


def _keep_death_signal(number: int, parent: int) -> None:
    """Ask again for what the kernel forgets with the old identity (kernel/cred.c, commit_creds).

    The lab and the demo rely on it: none of their processes outlives them.
    """
    if number:
        prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            raise SandboxError("sandbox: who started this process has ended")
