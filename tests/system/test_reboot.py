"""A reboot ends a run of totals, and Prometheus counts on over it."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Namespace, make_namespace
from tests.continuity.supervised import WINDOW_SECONDS, Supervised, supervised
from tests.lab import open_and_close_sessions
from tests.system.container import debian_container
from trafficd.releases import Release

MIB = 1 << 20
NAME = "trafficd_tunnel_receive_bytes_total"
SPEED = 150.0


@pytest.fixture
def network() -> Iterator[Namespace]:
    with make_namespace() as made:
        yield made


def released(network: Namespace, mebibytes: int) -> list[Release]:
    """Return what a boot of the node releases, from its page of zeros to its sessions' bytes."""
    with supervised(network.name, speed=SPEED) as node:
        node.start()
        node.until(node.is_ready, "ready")
        open_and_close_sessions(network.name, [MIB] * mebibytes, prefix="ppp")
        node.until(lambda: rx_bytes_of(node) == mebibytes * MIB, "the release of its sessions")
        return [release for _, release in node.handed_out]


def rx_bytes_of(node: Supervised) -> int:
    assert node.is_ready()
    return node.handed_out[-1][1].tunnel.rx_bytes


def test_prometheus_finds_over_a_reboot_what_both_boots_moved(network: Namespace) -> None:
    first, second = released(network, 40), released(network, 25)
    values = [each.tunnel.rx_bytes for each in (*first, *second)]
    # A sample a window, at the first instant of the range and at its last.
    seconds = (len(values) - 1) * WINDOW_SECONDS
    rules = {
        "evaluation_interval": f"{WINDOW_SECONDS}s",
        "tests": [
            {
                "interval": f"{WINDOW_SECONDS}s",
                "input_series": [{"series": NAME, "values": " ".join(map(str, values))}],
                "promql_expr_test": [
                    {
                        "expr": f"{function}({NAME}[{seconds}s])",
                        "eval_time": f"{seconds}s",
                        "exp_samples": [{"labels": "{}", "value": value}],
                    }
                    for function, value in (("increase", 65 * MIB), ("resets", 1))
                ],
            }
        ],
    }
    file = Path("/tmp", f"{uuid.uuid4().hex}.yml")

    with debian_container(packages=("prometheus",)) as machine:
        machine.write(str(file), json.dumps(rules))
        said = machine.run("promtool", "test", "rules", file, check=False)

    assert said.returncode == 0, said.stdout + said.stderr
    assert values[0] == values[len(first)] == 0
    assert second[0].started_at >= first[0].started_at
