"""trafficd lab, as a process: a real kernel's bytes, released and on the page."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

MIB = 1024 * 1024
CONFIG = """
links:
  - {name: "eth*", role: uplink}
  - {name: "tun*", class: openvpn, population: shared}
"""


def lab(tmp_path: Path, *arguments: str, config: str = CONFIG) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "agent.yml"
    file.write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "trafficd", "lab", "--config", str(file), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def releases(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.kernel
def test_links_of_the_command_are_released_to_the_byte_before_rounding(tmp_path: Path) -> None:
    script = (
        "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6;"
        " echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6;"
        " ip link add eth0 type veth peer name peer0; ip link set eth0 up; ip link set peer0 up;"
        " ip addr add 192.0.2.1/24 dev eth0;"
        " ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev eth0;"
        f" '{sys.executable}' -c \"import socket; s = socket.socket(2, 2);"
        " [s.sendto(bytes(1000), ('192.0.2.2', 9)) for _ in range(5000)]\";"
        " ip -s -j link show eth0"
    )

    done = lab(tmp_path, "--speed", "1200", "--metrics", "--", "sh", "-c", script)

    assert done.returncode == 0, done.stderr
    (shown,) = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("[{"))
    truth = shown[0]["stats64"]["tx"]["bytes"]
    assert truth >= 5000 * 1028
    last = releases(done)[-1]
    assert last["node"] == {
        "uplink": {"receive": 0, "transmit": truth // MIB * MIB},
        "tunnel": {"receive": 0, "transmit": 0},
    }
    assert last["at"] % 3600 == 0  # type: ignore[operator]
    page = done.stdout[done.stdout.index("# HELP") :].splitlines()
    (shown_total,) = (each for each in page if each.startswith("trafficd_uplink_transmit_bytes"))
    assert float(shown_total.split()[1]) == truth // MIB * MIB


@pytest.mark.kernel
def test_the_lab_serves_inside_while_the_command_runs(tmp_path: Path) -> None:
    done = lab(tmp_path, "--speed", "3600", "--", "curl", "-sf", "http://127.0.0.1:9787/healthz")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "OK"
    assert releases(done)


@pytest.mark.kernel
def test_nothing_of_the_machine_is_in_the_lab(tmp_path: Path) -> None:
    done = lab(tmp_path, "--speed", "3600", "--", "ip", "-j", "link")

    (links,) = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("[{"))
    assert [link["ifname"] for link in links] == ["lo"]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("command", "status"), [(["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -9 $$"], 137)]
)
def test_a_command_that_fails_gives_its_own_status(
    tmp_path: Path, command: list[str], status: int
) -> None:
    assert lab(tmp_path, "--speed", "3600", "--", *command).returncode == status


@pytest.mark.kernel
def test_a_command_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = lab(tmp_path, "--", "/none/such")

    assert done.returncode == 1
    assert done.stderr == "trafficd: /none/such: cannot be run: No such file or directory\n"


def test_further_namespaces_are_refused(tmp_path: Path) -> None:
    done = lab(tmp_path, "--", "true", config="namespaces: [blue]\n")

    assert done.returncode == 1
    assert done.stderr.startswith("trafficd: namespaces: the lab has one of its own only")


@pytest.mark.parametrize("speed", ["0", "-3", "fast", "inf", "nan"])
def test_a_speed_that_cannot_be_is_wrong_usage(tmp_path: Path, speed: str) -> None:
    assert lab(tmp_path, f"--speed={speed}", "--", "true").returncode == 2


def test_it_works_without_root_where_user_namespaces_do() -> None:
    if os.geteuid() != 0:
        pytest.skip("is about giving root up")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable]
    if subprocess.run([*nobody, "-c", "0"], check=False, capture_output=True).returncode:
        pytest.skip("this interpreter is not for everybody")

    # The folders of pytest are for root alone.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "agent.yml")
        file.write_text(CONFIG)
        done = subprocess.run(
            [*nobody, "-m", "trafficd", "lab", "--config", str(file), "--speed", "3600", "true"],
            capture_output=True, text=True, timeout=90, check=False, cwd="/",
        )  # fmt: skip

    assert done.returncode == 0 or "no private network namespace" in done.stderr, done.stderr
