"""What a half remembers: no core dump, no debugger, no swap."""

import ctypes
import mmap
import os
import resource
import signal
from pathlib import Path

import pytest

from tests.sandbox import machine
from tests.sandbox.machine import all_but, in_child
from trafficd.config import Layer, SandboxSettings
from trafficd.errors import SandboxError
from trafficd.sandbox import memory
from trafficd.sandbox.apply import Half, enter_sandbox

pytestmark = pytest.mark.kernel

NOTHING = SandboxSettings(absent=tuple(Layer))
SWAP_ONLY = all_but(Layer.SWAP)
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
SWAPS_HEADING = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"

_libc = ctypes.CDLL(None, use_errno=True)


def test_there_is_no_core_and_the_limit_cannot_be_raised() -> None:
    def lock() -> str:
        enter_sandbox(Half.READER, NOTHING)
        with pytest.raises(ValueError, match="not allowed"):
            resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        return f"{resource.getrlimit(resource.RLIMIT_CORE)} {_libc.prctl(PR_GET_DUMPABLE)}"

    assert in_child(lock).said == "(0, 0) 0"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become two of the same user")
@pytest.mark.parametrize("is_hidden", [True, False])
def test_a_process_of_the_same_user_cannot_look_into_it(is_hidden: bool) -> None:
    told, tell = os.pipe()
    victim = os.fork()
    if not victim:
        enter_sandbox(Half.READER, NOTHING)
        if not is_hidden:
            _libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        os.write(tell, b"x")
        signal.pause()
    os.read(told, 1)

    def look() -> str:
        enter_sandbox(Half.READER, NOTHING)
        try:
            os.open(f"/proc/{victim}/mem", os.O_RDONLY)
        except PermissionError:
            return "refused"
        return "done"

    outcome = in_child(look).said
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    os.close(told)
    os.close(tell)

    assert outcome == ("refused" if is_hidden else "done")


@pytest.mark.skipif(Layer.SWAP in machine.lacking(), reason="memory cannot be locked here")
def test_memory_is_locked_now_and_later_and_none_of_it_is_filled_for_that() -> None:
    untouched = 64 << 20

    def lock() -> str:
        with Path("/proc/self/status").open() as opened:
            here = mmap.mmap(-1, untouched)
            before = opened.read()
            enter_sandbox(Half.READER, SWAP_ONLY)
            there = mmap.mmap(-1, untouched)
            opened.seek(0)
            after = opened.read()
        locked = kibibytes(after, "VmLck")
        filled = kibibytes(after, "VmRSS") - kibibytes(before, "VmRSS")
        is_locked = not locked or locked << 10 > len(here) + len(there)
        return f"{is_locked} {filled << 10 < untouched // 2}"

    # Where nothing is locked, it is the cgroup that has no swap.
    assert in_child(lock).said == "True True"


def test_a_limit_that_cannot_be_lifted_ends_the_half_unless_the_configuration_says_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_swap_to_the_host(tmp_path, monkeypatch)
    if any(memory.allows_no_swap(each) for each in memory.own_cgroups()):
        pytest.skip("the tests run without swap")

    def lock(settings: SandboxSettings) -> None:
        _give_up_lifting_limits()
        enter_sandbox(Half.READER, settings)

    refused = in_child(lambda: lock(SWAP_ONLY))
    absent = in_child(lambda: lock(NOTHING))

    assert refused.said == (
        "SandboxError: sandbox: memory may be swapped: locked memory has a limit that cannot be"
        " lifted; start trafficd as root with CAP_SYS_RESOURCE, set LimitMEMLOCK=infinity or"
        " MemorySwapMax=0 in its unit, turn swap off, or name swap in sandbox.absent"
    )
    assert absent.status == 0


@pytest.mark.parametrize(
    ("membership", "mount_root", "swap_max", "is_kept_out"),
    [
        ("0::/system.slice/trafficd.service", "/", {"system.slice/trafficd.service": "0"}, True),
        ("0::/system.slice/trafficd.service", "/", {"system.slice": "0"}, True),
        ("0::/system.slice/trafficd.service", "/", {"system.slice": "max"}, False),
        ("0::/system.slice/trafficd.service", "/", {"system.slice": "4096"}, False),
        ("0::/system.slice/trafficd.service", "/", {"other.slice": "0"}, False),
        ("0::/box/half", "/box", {"half": "0"}, True),
        ("0::/", "/", {}, False),
        ("0::/../outside", "/", {"outside": "0"}, False),
        ("4:memory:/box", "/", {"box": "0"}, False),
    ],
)
def test_a_cgroup_without_swap_does_as_well(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    membership: str,
    mount_root: str,
    swap_max: dict[str, str],
    is_kept_out: bool,
) -> None:
    tree = tmp_path / "cgroup"
    for place, value in swap_max.items():
        (tree / place).mkdir(parents=True)
        (tree / place / "memory.swap.max").write_text(f"{value}\n")
    (tmp_path / "own").write_text(f"{membership}\n")
    (tmp_path / "mounts").write_text(
        "22 1 8:1 / / rw,relatime - ext4 /dev/root rw\n"
        f"23 22 0:26 {mount_root} {tree} rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
    )
    give_swap_to_the_host(tmp_path, monkeypatch)
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(memory, "_MOUNTS", tmp_path / "mounts")

    def lock() -> None:
        _give_up_lifting_limits()
        memory.keep_out_of_swap()

    outcome = in_child(lock)

    assert (outcome.status == 0) == is_kept_out, outcome
    assert is_kept_out or outcome.said.startswith(SandboxError.__name__)


def test_a_host_without_swap_does_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "none")
    monkeypatch.setattr(memory, "_SWAPS", tmp_path / "swaps")
    (tmp_path / "swaps").write_text(SWAPS_HEADING)

    def lock() -> None:
        _give_up_lifting_limits()
        memory.keep_out_of_swap()

    assert in_child(lock).status == 0


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_kernel_without_swap_is_told_from_a_proc_that_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "none")
    monkeypatch.setattr(memory, "_SWAPS", tmp_path / "swaps")
    monkeypatch.setattr(memory, "_WHOLE_PROC", tmp_path / "stat")
    if is_whole:
        (tmp_path / "stat").write_text("")

    def lock() -> None:
        _give_up_lifting_limits()
        memory.keep_out_of_swap()

    assert (in_child(lock).status == 0) == is_whole


def give_swap_to_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let /proc/swaps tell of an area: a real one would be everybody's on this machine."""
    (tmp_path / "swaps").write_text(f"{SWAPS_HEADING}/dev/sda2 partition 1048572 0 -2\n")
    monkeypatch.setattr(memory, "_SWAPS", tmp_path / "swaps")


def _give_up_lifting_limits() -> None:
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))
    machine.forbid_raising_limits()


def kibibytes(status: str, key: str) -> int:
    (line,) = (line for line in status.splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1])
