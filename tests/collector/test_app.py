"""The collector's unit: what it leaves the service, and what the service does without."""

import re
import resource
import shutil
import socket
import subprocess
import sys
import textwrap
import urllib.request
from pathlib import Path

import pytest

from tests.sandbox.test_unit import SOMEONE, UNDER_THE_FILTER, allowed
from trafficd.collector import app

UNIT = Path(__file__).parents[2] / "systemd" / "trafficd-collector.service"
# Of 10; Debian's unit of Prometheus has more than 8.
MOST_EXPOSURE = 1.5


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_as_closed_as_is_asked() -> None:
    analysed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    found = re.search(r"exposure level for \S+: ([\d.]+)", analysed.stdout)
    assert found is not None, analysed.stderr
    assert float(found[1]) <= MOST_EXPOSURE
    assert analysed.stderr == ""


@pytest.mark.kernel
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_collector_works_under_the_filter_of_its_unit(tmp_path: Path) -> None:
    config = tmp_path / "collector.yml"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config.write_text(f'listen: ["127.0.0.1:{port}"]\ndatabase: {tmp_path}/collector.db\n')
    limited = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (16384, 16384))\n"
        f"{textwrap.dedent(UNDER_THE_FILTER)}"
    )
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 16384:
        pytest.skip("needs 16,384 descriptors")

    with subprocess.Popen(
        [*SOMEONE, sys.executable, "-c", limited, ",".join(sorted(allowed(UNIT))),
         "collector", "--config", str(config)],
        stderr=subprocess.PIPE, text=True,
    ) as collector:  # fmt: skip
        assert collector.stderr is not None
        said = [collector.stderr.readline()]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
            status = page.status
        collector.terminate()
        said += list(collector.stderr)

    assert (status, collector.returncode) == (200, 0)
    assert said == [
        f"collector: taking releases on 127.0.0.1:{port}\n", "collector: stopped\n",
    ]  # fmt: skip


def test_the_unit_does_not_start_a_wrong_configuration_again() -> None:
    settings = dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))

    assert settings["Restart"] == "always"
    assert settings["RestartPreventExitStatus"] == "78"
    assert settings["StateDirectory"] == "trafficd"


def test_the_unit_allows_as_many_connections_as_are_taken() -> None:
    (limit,) = re.findall(r"^LimitNOFILE=(\d+)$", UNIT.read_text(), re.MULTILINE)

    # Then it is not raised, which the unit's filter of system calls would refuse.
    assert int(limit) >= app._MOST_CONNECTIONS + app._OTHER_DESCRIPTORS


@pytest.mark.parametrize(
    ("limits", "room", "raised"),
    [
        ((1024, 1_048_576), 8192, (8704, 1_048_576)),
        ((1024, 4096), 3584, (4096, 4096)),
        ((1024, resource.RLIM_INFINITY), 8192, (8704, resource.RLIM_INFINITY)),
        ((16384, 16384), 8192, None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 8192, None),
        ((256, 256), 128, None),
    ],
)
def test_descriptors_are_raised_as_far_as_is_needed_and_allowed(
    limits: tuple[int, int],
    room: int,
    raised: tuple[int, int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: asked.append(wanted))

    assert app._room_for_connections() == room

    assert [each for each in asked if each != limits] == ([raised] if raised else [])
