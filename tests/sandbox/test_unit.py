"""The halves lock themselves under the system calls that the systemd unit leaves them."""

import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox import machine

if TYPE_CHECKING:
    from tests.conftest import Namespace

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"),
]

UNIT = Path(__file__).parents[2] / "systemd" / "trafficd.service"

# A user without a capability, who is in his own namespace so that he may execute what root may.
SOMEONE = ("unshare", "--user", "--map-user=12345", "--map-group=12345")
# As systemd does: what is not listed ends the process, what this libseccomp does not know is left.
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


def test_an_unprivileged_agent_starts_serves_and_stops_under_the_filter_of_the_unit(
    namespace: "Namespace", public_folder: Path
) -> None:
    config = public_folder / "agent.yml"
    config.write_text(f"{machine.configuration()}window: 5m\n")
    calls = ",".join(sorted(allowed()))

    agent = subprocess.Popen(
        ["ip", "netns", "exec", namespace.name,
         *SOMEONE, sys.executable, "-c", textwrap.dedent(UNDER_THE_FILTER), calls,
         "agent", "--config", str(config)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert agent.stderr is not None
    said = sorted(agent.stderr.readline() for _ in range(2))
    page = namespace.run("curl", "-s", "http://127.0.0.1:9787/metrics")
    agent.terminate()
    said += sorted(agent.stderr)
    agent.stderr.close()

    assert agent.wait(20) == 0, said
    assert [line.partition(";")[0].split(" on ")[0].strip() for line in said] == [
        "exporter: serving metrics",
        "reader: counting",
        "exporter: stopped",
        "reader: stopped",
    ]
    assert "trafficd_build_info" in page


def allowed() -> set[str]:
    """Return what the unit's SystemCallFilter lines leave (systemd.exec(5))."""
    found: set[str] = set()
    for words in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
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
