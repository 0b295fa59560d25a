"""What of the sandbox the kernel or the container under the tests lacks, and children to lock."""

import ctypes
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from trafficd.config import Layer, SandboxSettings

_PR_CAPBSET_DROP = 24
_CAP_SYS_RESOURCE = 24
_CAPABILITY_VERSION_3 = 0x20080522
LANDLOCK_CALLS = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")

_ENTER = """
import sys
from trafficd.config import Layer, SandboxSettings
from trafficd.sandbox.apply import Half, enter_sandbox
enter_sandbox(Half.READER, SandboxSettings(absent=tuple(map(Layer, sys.argv[1:]))))
"""


@functools.cache
def lacking() -> tuple[Layer, ...]:
    """Return the layers that cannot be installed here, for ``sandbox.absent``."""
    return tuple(each for each in Layer if not _can_install(each))


def configuration() -> str:
    """Return the line of a configuration that names them, or nothing."""
    return f"sandbox: {{absent: [{', '.join(lacking())}]}}\n" if lacking() else ""


def all_but(*layers: Layer) -> SandboxSettings:
    """Return settings in which *layers* are not absent."""
    return SandboxSettings(absent=tuple(each for each in Layer if each not in layers))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a child ended: its exit status, negative for a signal, and what it wrote."""

    status: int
    said: str


def in_child(work: Callable[[], object]) -> Outcome:
    """Run *work* in a child of ours; what it returns is what it says, unless nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reading)
            said = work()
            os.write(writing, b"" if said is None else str(said).encode())
            status = 0
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    return Outcome(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told)


def forbid(answers: dict[str, int]) -> None:
    """Have this process's kernel answer calls by errors, as one without them does."""
    import pyseccomp

    outer = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name, error in answers.items():
        outer.add_rule(pyseccomp.ERRNO(error), name)
    outer.load()


def forbid_raising_limits() -> None:
    """Take CAP_SYS_RESOURCE away, if it is there."""
    ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_SYS_RESOURCE, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capget(header, sets)
    for each in range(3):
        sets[each] &= ~(1 << _CAP_SYS_RESOURCE)
    ctypes.CDLL(None).capset(header, sets)


def _can_install(layer: Layer) -> bool:
    others = [each for each in Layer if each is not layer]
    done = subprocess.run(
        [sys.executable, "-c", _ENTER, *others], capture_output=True, timeout=60, check=False
    )
    return done.returncode == 0
