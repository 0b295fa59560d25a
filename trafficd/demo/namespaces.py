"""A network namespace without a name, and processes that do not outlive the demo.

Python 3.11 has neither unshare(2) nor prctl(2), so libc is called through ctypes, here only. A
namespace without a name ends with the last process and socket in it: nothing is left to clean up,
not even after a kill -9.
"""

import ctypes
import os
import signal
from pathlib import Path

# linux/sched.h and linux/prctl.h
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1

_LIBC = ctypes.CDLL(None, use_errno=True)


def enter_network_namespace() -> None:
    """Move this process into a new network namespace that it may administer.

    Without the right to make one, it makes a user namespace in which it has that right
    (user_namespaces(7)); to the rest of the machine it stays who it is.
    Raises: OSError if the kernel allows neither.
    """
    try:
        _unshare(_CLONE_NEWNET)
    except PermissionError:
        user, group = os.geteuid(), os.getegid()
        _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        # Without privilege, a group map is accepted only once setgroups(2) is given up.
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")


def die_with(parent: int) -> None:
    """Have the kernel kill this process when *parent*, which forked it, ends in whatever way."""
    if _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise _os_error()
    # It may have ended before the kernel knew.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _unshare(flags: int) -> None:
    if _LIBC.unshare(flags):
        raise _os_error()


def _os_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
