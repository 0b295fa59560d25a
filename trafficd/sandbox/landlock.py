"""Landlock: the files, ports, sockets and processes that a half can still reach (landlock(7))."""

import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from trafficd.errors import SandboxError
from trafficd.sandbox.libc import libc_call

# asm-generic/unistd.h: the same numbers on every architecture that Python runs on.
_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
# linux/landlock.h
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_RULE_NET_PORT = 2
_READ_FILE = 1 << 2
_CONNECT_TCP = 1 << 1
_RULESET = struct.Struct("=QQQ")  # struct landlock_ruleset_attr: fs, net, scoped
_NET_PORT = struct.Struct("=QQ")  # struct landlock_net_port_attr: rights, port in host order
_PATH_BENEATH = struct.Struct("=Qi")  # struct landlock_path_beneath_attr, which is packed

# What each ABI added: rights on files, rights on the network, scopes. All that are handled are
# forbidden where no rule grants them.
_FILE_RIGHTS = {
    1: (1 << 13) - 1,  # to execute, write, read, list, remove, and make seven kinds of file
    2: 1 << 13,  # to move a file to another directory
    3: 1 << 14,  # to truncate
    5: 1 << 15,  # ioctl on devices
}
_NETWORK_RIGHTS = {4: 0b11}  # to bind and to connect TCP
_SCOPES = {6: 0b11}  # abstract unix sockets and signals of processes outside


def restrict_paths(readable: Sequence[Path], ports: Sequence[int] = ()) -> None:
    """Forbid every file but those beneath *readable*, which may be read; and what else there is.

    Of TCP, *ports* of any host can be connected to: all of them where the kernel's Landlock does
    not know ports yet.
    Whatever is open stays open: Landlock decides when a file is opened (landlock(7)).
    Raises: SandboxError if the kernel has no Landlock, or refuses.
    """
    try:
        abi = best_abi()
        ruleset = _open_ruleset(abi)
        try:
            for directory in readable:
                _allow_reading_beneath(directory, ruleset)
            for port in ports if rights(abi)[1] else ():
                rule = _NET_PORT.pack(_CONNECT_TCP, port)
                _system_call(_ADD_RULE, ruleset, _RULE_NET_PORT, rule, 0)
            _system_call(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise SandboxError(_refusal(error)) from error


def best_abi() -> int:
    """Return the version of Landlock that this kernel has.

    Raises: OSError if it has none.
    """
    return _system_call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)


def rights(abi: int) -> tuple[int, ...]:
    """Return all that can be forbidden in that version: on files, on the network, and scopes."""
    return tuple(
        sum(bits for since, bits in kind.items() if since <= abi)
        for kind in (_FILE_RIGHTS, _NETWORK_RIGHTS, _SCOPES)
    )


def _open_ruleset(abi: int) -> int:
    # A kernel that knows a shorter structure takes a longer one whose rest is 0.
    attributes = _RULESET.pack(*rights(abi))
    return _system_call(_CREATE_RULESET, attributes, len(attributes), 0)


def _allow_reading_beneath(directory: Path, ruleset: int) -> None:
    try:
        descriptor = os.open(directory, os.O_PATH | os.O_CLOEXEC)
    except PermissionError:
        return  # to root's own directory: this user reads nothing there, whatever Landlock is told
    try:
        rule = _PATH_BENEATH.pack(_READ_FILE, descriptor)
        _system_call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    return libc_call("syscall", number, *arguments)


def _refusal(error: OSError) -> str:
    if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
        return (
            "sandbox: this kernel has no Landlock: it takes Linux 5.13 or newer, with landlock"
            " among the security modules that start with it (boot option lsm=); or name landlock in"
            " sandbox.absent"
        )
    return f"sandbox: Landlock was refused: {error.strerror}; or name landlock in sandbox.absent"
