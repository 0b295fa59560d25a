"""The units leave the halves the system calls that they lock themselves by, and little else."""

import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import machine

if TYPE_CHECKING:
    from tests.conftest import Namespace

pytestmark = [
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"),
]

UNITS = Path(__file__).parents[2] / "systemd"
# Of 10; Debian's unit of node_exporter has 9.2.
MOST_EXPOSURE = {"reader": 0.3, "exporter": 1.2}

READY = {"reader: counting", "exporter: serving metrics"}
# A user without a capability, who is in his own namespace so that he may execute what root may.
SOMEONE = ("unshare", "--user", "--map-user=12345", "--map-group=12345")
# What is not listed ends the process here, so that no refusal stays unseen; in a unit it is EPERM.
# What this libseccomp does not know is left.
UNDER_THE_FILTER = """
    import os, sys, pyseccomp
    outer = pyseccomp.SyscallFilter(pyseccomp.KILL_PROCESS)
    for name in sys.argv[1].split(","):
        number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)
        if number != -1:
            outer.add_rule(pyseccomp.ALLOW, number)
    outer.load()
    os.execv(sys.executable, [sys.executable, "-m", "trafficd", *sys.argv[2:]])
"""


@pytest.mark.parametrize("half", MOST_EXPOSURE)
def test_a_half_is_as_closed_as_is_asked(half: str) -> None:
    unit = UNITS / f"trafficd-{half}.service"

    analysed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    found = re.search(r"exposure level for \S+: ([\d.]+)", analysed.stdout)
    assert found is not None, analysed.stderr
    assert float(found[1]) <= MOST_EXPOSURE[half]
    assert analysed.stderr == ""


@pytest.mark.kernel
@pytest.mark.parametrize("half", MOST_EXPOSURE)
def test_both_halves_start_serve_and_stop_under_the_filter_of_each_unit(
    half: str, namespace: "Namespace", public_folder: Path
) -> None:
    config = public_folder / "agent.yml"
    config.write_text(f"{machine.configuration()}window: 5m\n")
    calls = ",".join(sorted(allowed(UNITS / f"trafficd-{half}.service")))

    with tempfile.TemporaryDirectory(dir="/dev/shm") as state:
        agent = subprocess.Popen(
            ["ip", "netns", "exec", namespace.name,
             *SOMEONE, sys.executable, "-c", textwrap.dedent(UNDER_THE_FILTER), calls,
             "agent", "--config", str(config), "--state", state],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with agent:
            assert agent.stderr is not None
            said = [agent.stderr.readline()]
            while said[-1] and not beginnings(said) >= READY:
                said.append(agent.stderr.readline())
            # One that ended has said why.
            assert beginnings(said) >= READY, said
            page = namespace.run("curl", "-s", "http://127.0.0.1:9787/metrics")
            agent.terminate()
            said += list(agent.stderr)

    assert agent.returncode == 0, said
    assert {"exporter: stopped", "reader: stopped"} <= beginnings(said)
    assert "trafficd_build_info" in page


def test_a_unit_leaves_no_call_for_another_process_or_for_root() -> None:
    forbidden = {"bpf", "ptrace", "process_vm_readv", "mount", "setuid", "chown", "io_uring_setup"}

    for half in MOST_EXPOSURE:
        assert allowed(UNITS / f"trafficd-{half}.service") & forbidden == set()


def beginnings(lines: list[str]) -> set[str]:
    """Return what stands before what is filled in."""
    return {line.partition(";")[0].split(" on ")[0].strip() for line in lines}


def allowed(unit: Path) -> set[str]:
    """Return what the unit's SystemCallFilter lines leave (systemd.exec(5))."""
    found: set[str] = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", unit.read_text(), re.MULTILINE):
        is_taken_away = words.startswith("~")
        for word in words.lstrip("~").split():
            found = found - set(expanded(word)) if is_taken_away else found | set(expanded(word))
    # Always allowed there, so that anything can be executed at all.
    return found | set(expanded("@default"))


def expanded(word: str) -> Iterator[str]:
    """Yield the system calls of a group, and of the groups in it; or the one that *word* is."""
    if not word.startswith("@"):
        yield word
        return
    shown = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True
    ).stdout
    for line in shown.splitlines()[1:]:
        inner = line.strip()
        if inner and not inner.startswith("#"):
            yield from expanded(inner)
