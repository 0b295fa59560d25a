"""trafficd audit of two services: what it says of them, and of what others do to their sockets."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.audit.installation import (
    HAS_SWAP,
    Audit,
    Installation,
    lock_is_missing,
    temporary_installation,
)
from tests.audit.services import CREDENTIALS, RELEASES, RELOADS, STATE, Services, running_services
from tests.conftest import Namespace
from trafficd.audit.claims import CLAIMS
from trafficd.sandbox.inspect import duplicated_socket

pytestmark = pytest.mark.kernel

LEFT_ALONE = {"reader.state_swap"} if HAS_SWAP else set()
SWAP = {"configuration.swap", "reader.swap", "exporter.swap"} if lock_is_missing() else set()


@pytest.fixture(scope="module")
def installed() -> Iterator[Installation]:
    with temporary_installation() as found:
        yield found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "agent.yml"
    absent = "swap" if lock_is_missing() else ""
    file.write_text(f"window: 5m\nsandbox: {{absent: [{absent}]}}\n")
    return file


@pytest.fixture
def services(installed: Installation, namespace: Namespace, config: Path) -> Iterator[Services]:
    with running_services(installed.python, namespace.name, config) as running:
        yield running


@pytest.fixture
def audit(installed: Installation, config: Path, services: Services) -> Callable[..., Audit]:
    def run(*arguments: str) -> Audit:
        return installed.audit(config, *arguments, prefix=services.inside)

    return run


def failing(audit: Audit) -> set[str]:
    assert audit.of("UNKNOWN") == set(), audit.claims
    return audit.of("FAIL") - SWAP - LEFT_ALONE


def test_all_of_two_services_passes(audit: Callable[..., Audit]) -> None:
    found = audit()
    chosen = audit("--pid", "1")

    assert failing(found) == set(), found.claims
    assert failing(chosen) == set()
    told = [*dict.fromkeys(each["id"] for each in found.claims)]
    assert told == [each for each in CLAIMS if each != "agent.sockets"]
    assert found.evidence("reader.queues").startswith("kept by process 1, by the socket unit;")
    assert "lives in another namespace" in found.evidence("reader.groups")
    assert "root alone may send to it" in found.evidence("reader.reload")
    assert "1 to the service manager" in found.evidence("reader.descriptors")
    assert "1 to the service manager" in found.evidence("exporter.descriptors")


def test_a_stranger_that_reads_the_readers_queue_fails(
    audit: Callable[..., Audit], services: Services
) -> None:
    pidfd = os.pidfd_open(services.half("reader"))
    with duplicated_socket(pidfd, 3) as queue:
        assert queue.family == socket.AF_NETLINK
        with subprocess.Popen(
            [*services.inside, "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[queue.fileno()],
        ) as stranger:
            assert stranger.stdin is not None
            assert stranger.stdout is not None
            stranger.stdin.write(b"there\n")
            stranger.stdin.flush()
            assert stranger.stdout.readline() == b"there\n"
            found = audit()
    os.close(pidfd)

    assert failing(found) == {"reader.queues"}


def test_whoever_else_connects_for_releases_fails(
    audit: Callable[..., Audit], services: Services
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.settimeout(60)
        stranger.connect(str(services.root / RELEASES))
        # What the reader says to everybody says that it took the connection.
        assert stranger.recv(1 << 16)
        found = audit()

    assert failing(found) == {"reader.descriptors", "reader.connections"}


def test_sockets_that_everybody_may_use_fail(
    audit: Callable[..., Audit], services: Services
) -> None:
    for place in (RELEASES, *RELOADS.values()):
        (services.root / place).chmod(0o666)

    assert failing(audit()) == {"reader.connections", "reader.reload", "exporter.reload"}


def test_a_state_that_others_can_come_to_fails(
    audit: Callable[..., Audit], services: Services
) -> None:
    state = services.root / STATE
    state.chmod(0o644)
    of_mode = audit()
    state.chmod(0o600)
    state.with_name("more").hardlink_to(state)
    of_link = audit()
    state.with_name("more").unlink()

    assert failing(of_mode) == {"reader.state", "reader.memory"}
    assert failing(of_link) == {"reader.state", "reader.memory"}
    assert "mode 0644" in of_mode.evidence("reader.state")
    assert "2 links" in of_link.evidence("reader.state")
    assert failing(audit()) == set()


def test_a_copy_of_another_text_is_unknown(audit: Callable[..., Audit], services: Services) -> None:
    copy = services.root / CREDENTIALS["exporter"]
    copy.write_text("window: 10m\n")

    found = audit()

    assert found.of("UNKNOWN") == {"configuration.settings"}
    assert "hold another text" in found.evidence("configuration.settings")


def test_services_of_a_container_do_not_stand_in_the_way_of_an_agent_out_here(
    installed: Installation, services: Services, other_namespace: Namespace, config: Path
) -> None:
    other = config.with_name("other.yml")
    other.write_text(config.read_text())

    # Out here, all of them are seen.
    with installed.agent(other_namespace, other) as agent:
        found = installed.audit(other)

    assert failing(found) == set()
    assert f"process {agent.process}" in found.evidence("reader.queues")


def test_halves_that_were_started_again_pass_whatever_the_old_ones_left(
    audit: Callable[..., Audit], services: Services
) -> None:
    exporter = services.half("exporter")
    os.kill(exporter, signal.SIGKILL)
    services.wait_for("exporter")
    after_exporter = audit()
    os.kill(services.half("reader"), signal.SIGKILL)
    # The exporter ends with the reader's end of its connection.
    services.wait_for("reader", "exporter")
    after_reader = audit()

    assert services.half("exporter") != exporter
    assert failing(after_exporter) == set()
    assert failing(after_reader) == set()
