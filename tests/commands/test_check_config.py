"""trafficd check-config, and the exit codes of the command line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import trafficd
from trafficd.cli import COMMANDS


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trafficd", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_good_file_is_called_good(tmp_path: Path) -> None:
    file = tmp_path / "agent.yml"
    file.write_text("window: 15m\nlinks: [{name: 'eth*', role: uplink}]\n")

    done = command("check-config", file)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{file}: good: 1 link rules, window 15m\n"


def test_a_bad_file_is_told_every_mistake_and_exit_78(tmp_path: Path) -> None:
    file = tmp_path / "agent.yml"
    file.write_text("window: 5s\nlink: []\n")

    done = command("check-config", file)

    assert done.returncode == 78
    assert done.stderr.splitlines() == [
        f"{file}:1: window: 5s: at least 5m",
        f"{file}:2: link: unknown key; did you mean links?",
    ]


def test_a_web_config_with_a_mistake_is_told_as_well(tmp_path: Path) -> None:
    web, file = tmp_path / "web.yml", tmp_path / "agent.yml"
    web.write_text("basic_auth_users: {prometheus: plain}\n")
    file.write_text(f"metrics: {{web_config: {web}}}\n")

    done = command("check-config", file)

    assert done.returncode == 78
    assert done.stderr.startswith(f"{web}: basic_auth_users.prometheus: not a bcrypt hash")


def test_wrong_usage_is_exit_2() -> None:
    assert command().returncode == 2
    assert command("agent").returncode == 2
    assert command("no-such-command").returncode == 2


def test_the_version_is_told() -> None:
    assert command("--version").stdout == f"trafficd {trafficd.__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_an_example(name: str) -> None:
    done = command(name, "--help")

    assert done.returncode == 0
    assert f"example: trafficd {name}" in " ".join(done.stdout.split())


def test_a_reader_without_its_sockets_says_who_starts_it(tmp_path: Path) -> None:
    file = tmp_path / "agent.yml"
    file.write_text("")

    done = command("reader", "--config", file, "--state", "none")

    assert done.returncode == 1
    assert re.fullmatch(
        r"trafficd: no netlink socket .* was handed over: start this half by its unit or by .*\n",
        done.stderr,
    )


def test_an_exporter_without_a_reader_says_where_it_looked(tmp_path: Path) -> None:
    file = tmp_path / "agent.yml"
    file.write_text("")

    nowhere = command("exporter", "--config", file)
    nobody = command("exporter", "--config", file, "--releases", tmp_path / "releases")

    assert (nowhere.returncode, nobody.returncode) == (1, 1)
    assert "name its socket: --releases" in nowhere.stderr
    assert nobody.stderr.startswith(f"trafficd: {tmp_path}/releases: No such file or directory")
