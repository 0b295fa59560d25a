"""The container is a machine with systemd, alone in it, and nothing of it stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system.cgroups import own_cgroup
from tests.system.container import debian_container
from tests.system.debian_packages import ROOT, MachineError

UNIT = """
[Service]
Type=oneshot
RemainAfterExit=yes
DynamicUser=yes
PrivateNetwork=yes
RuntimeDirectory=tried
SystemCallFilter=@system-service
SystemCallFilter=~sethostname
SystemCallErrorNumber=EPERM
ExecStart=/bin/sh -c 'grep -E "^(Uid|Seccomp|NoNewPrivs):" /proc/self/status >/run/tried/status; \
ls /sys/class/net >/run/tried/links; touch /etc/forbidden || :; echo planted words'
"""
# Boots one, says who is its process 1, and is killed.
KILLED = """
import os, signal
from tests.system.container import debian_container
with debian_container() as container:
    print(container.leader, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_service_of_a_dynamic_user_is_in_its_sandbox_and_its_words_in_the_journal() -> None:
    with debian_container() as container:
        container.write("/etc/systemd/system/tried.service", UNIT)
        container.run("systemctl", "start", "tried.service")
        lines = (container.root / "run/tried/status").read_text().splitlines()
        status = dict(line.split(":") for line in lines)
        links = (container.root / "run/tried/links").read_text().split()
        journal = container.journal("--unit=tried")
        failed = container.run("systemctl", "--failed", "--no-legend").stdout

    assert 61184 <= int(status["Uid"].split()[0]) <= 65519
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "1"
    assert links == ["lo"]
    assert "planted words" in journal
    assert "touch: cannot touch '/etc/forbidden'" in journal
    assert failed == ""


def test_a_container_has_links_and_namespaces_of_its_own_and_no_link_of_this_host() -> None:
    with debian_container() as container:
        container.run("ip", "tuntap", "add", "tun0", "mode", "tun")
        container.run("ip", "netns", "add", "inner")
        container.run("ip", "link", "add", "v0", "type", "veth", "peer", "v1", "netns", "inner")
        links = container.run("ip", "-brief", "link").stdout.splitlines()

    assert sorted(each.split()[0].partition("@")[0] for each in links) == ["lo", "tun0", "v0"]


def test_trafficd_is_installed_and_stays_when_systemd_starts_anew() -> None:
    with debian_container() as container:
        boot = boot_id(container.leader)
        container.install_trafficd()
        container.write("/run/in-memory", "")
        container.reboot()
        version = container.run("/opt/trafficd/bin/trafficd", "--version").stdout
        units = container.run("systemctl", "list-unit-files", "--no-legend", "trafficd*").stdout
        left = container.run("test", "-e", "/run/in-memory", check=False).returncode
        written = {each.name for each in (container.written / "etc").iterdir()}
        booted = boot_id(container.leader)

    assert version.startswith("trafficd ")
    assert {line.split()[0] for line in units.splitlines()} == {
        each.name for each in (ROOT / "systemd").iterdir()
    }
    assert left == 1
    assert "trafficd" in written
    assert booted != boot


def test_a_command_that_fails_or_does_not_end_says_so_and_its_container_goes() -> None:
    with debian_container() as container:
        leader = container.leader
        told = container.run("sh", "-c", "cat; echo bad >&2; exit 3", check=False, stdin=b"in")
        with pytest.raises(MachineError, match="status 3: bad"):
            container.run("sh", "-c", "echo bad >&2; exit 3")
        with pytest.raises(MachineError, match=r"not done after 0\.5 s"):
            container.run("sleep", "infinity", seconds=0.5)
        with pytest.raises(MachineError, match="the moon: not after 0 s"):
            container.until(lambda: None, 0, "the moon")

    assert (told.returncode, told.stdout, told.stderr) == (3, "in", "bad\n")
    assert_is_gone(os.getpid(), leader)


def test_a_container_ends_with_who_started_it_and_the_next_one_removes_what_is_left() -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    leader = int(started.stdout.readline())
    started.stdout.close()

    assert started.wait(60) == -signal.SIGKILL
    with debian_container(), debian_container():
        pass
    assert_is_gone(started.pid, leader)


def test_a_process_that_left_its_parent_ends_with_the_cgroup_it_was_started_in() -> None:
    with own_cgroup() as cgroup:
        inner = cgroup / "inner"
        inner.mkdir()
        script = 'echo 0 >"$1/cgroup.procs"; setsid sleep infinity >&2 & echo $!'
        sleeper = subprocess.check_output(["sh", "-c", script, "sh", inner], text=True).strip()
        assert is_alive(int(sleeper))

    assert not cgroup.exists()


def boot_id(leader: int) -> str:
    return Path("/proc", str(leader), "root", "proc/sys/kernel/random/boot_id").read_text()


def assert_is_gone(process: int, leader: int) -> None:
    """Assert that neither process 1 is there, nor a cgroup or mount of the test run *process*."""
    # It leaves its cgroup a moment before it is gone.
    deadline = time.monotonic() + 10
    while is_alive(leader):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert list(Path("/sys/fs/cgroup").glob(f"**/trafficd-test-{process}-*")) == []
    assert "debian-container" not in Path("/proc/self/mountinfo").read_text()


def is_alive(process: int) -> bool:
    """Return whether it is there and runs, or only waits for its parent to ask how it ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "\nState:\tZ" not in status
