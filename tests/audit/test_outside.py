"""Other programs of the host, as real processes that carry an offender's name and options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.audit.netfilter import add_rule
from tests.lab import entered
from trafficd.audit.checks.outside import outside_findings
from trafficd.audit.claims import OUTSIDE
from trafficd.audit.finding import Finding, Verdict
from trafficd.audit.outside import gather_outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Namespace

# Calls itself what the first word says, unless that is nothing, and waits.
PROGRAM = """
import sys, time
if sys.argv[1]:
    open("/proc/self/comm", "w").write(sys.argv[1])
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def offender() -> Iterator[Callable[..., int]]:
    """Start a process under another name, with words of its choice on its command line."""
    running: list[subprocess.Popen[str]] = []

    def start(name: str, *words: str, comm: str = "", cwd: Path | None = None) -> int:
        process = subprocess.Popen(
            [name, "-c", PROGRAM, comm, *words],
            executable=sys.executable, stdout=subprocess.PIPE, text=True, cwd=cwd,
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process.pid

    yield start
    for each in running:
        each.kill()
        with each:
            pass


def found(process: int) -> list[Finding]:
    """Return what is found about *process*."""
    findings = outside_findings(gather_outside(()))
    return [
        each for each in findings if f"process {process}:" in f"{each.evidence}:".replace(",", ":")
    ]


@pytest.mark.parametrize(
    ("name", "comm", "identity"),
    [
        ("/usr/bin/prometheus-node-exporter", "", "outside.interface_exporters"),
        ("anything", "prometheus-node-exporter"[:15], "outside.interface_exporters"),
        ("/opt/wireguard_exporter", "", "outside.interface_exporters"),
        ("collectd", "", "outside.interface_exporters"),
        ("vnstatd", "", "outside.interface_exporters"),
        ("freeradius", "", "outside.accounting"),
        ("anything", "softflowd", "outside.flows"),
        ("conntrackd", "", "outside.connections"),
        ("/usr/sbin/ulogd", "", "outside.connections"),
        ("tcpdump", "", "outside.capture"),
        ("suricata", "Suricata-Main", "outside.capture"),
    ],
)
def test_a_running_offender_is_found_by_its_name(
    offender: Callable[..., int], name: str, comm: str, identity: str
) -> None:
    process = offender(name, "--secret-of-theirs", comm=comm)

    (finding,) = found(process)

    assert (finding.identity, finding.verdict) == (identity, Verdict.FAIL)
    assert finding.mend
    assert "secret" not in finding.evidence


@pytest.mark.parametrize(
    "words",
    [
        ("--no-collector.netdev", "--no-collector.netclass", "--no-collector.arp"),
        ("-no-collector.netdev", "-no-collector.netclass", "-no-collector.arp"),
        ("--collector.disable-defaults", "--collector.cpu"),
    ],
)
def test_a_node_exporter_without_links_is_none(
    offender: Callable[..., int], words: tuple[str, ...]
) -> None:
    assert found(offender("node_exporter", *words)) == []


def test_a_node_exporter_with_links_turned_on_again_is_one(offender: Callable[..., int]) -> None:
    process = offender("node_exporter", "--collector.disable-defaults", "--collector.netdev")

    assert len(found(process)) == 1


def test_conntrack_is_one_while_it_follows_events(offender: Callable[..., int]) -> None:
    assert found(offender("conntrack", "-C")) == []
    assert len(found(offender("conntrack", "-E"))) == 1


def test_openvpn_is_judged_by_its_command_line_and_its_file(
    offender: Callable[..., int], tmp_path: Path
) -> None:
    (tmp_path / "server.conf").write_text(
        "port 1194\nverb 3\n# status old\nifconfig-pool-persist /var/lib/alice.txt\n"
    )

    process = offender(
        "/usr/sbin/openvpn", "--status", "/run/alice.log", "10", "--config", "server.conf",
        cwd=tmp_path,
    )  # fmt: skip
    findings = found(process)

    assert {each.identity for each in findings} == {"outside.vpn_status"}
    told = "\n".join(each.evidence for each in findings)
    assert f"OpenVPN, process {process}, command line: status:" in told
    assert f"{tmp_path}/server.conf: verb 3:" in told
    assert f"{tmp_path}/server.conf: ifconfig-pool-persist:" in told
    assert len(findings) == 3
    assert "alice" not in told


def test_a_quiet_openvpn_is_none(offender: Callable[..., int], tmp_path: Path) -> None:
    (tmp_path / "server.conf").write_text("port 1194\nverb 1\n;status old\n")

    assert found(offender("openvpn", "--config", str(tmp_path / "server.conf"))) == []


def test_a_configuration_that_cannot_be_read_is_unknown(
    offender: Callable[..., int], tmp_path: Path
) -> None:
    offender("openvpn", "--config", str(tmp_path / "none.conf"))

    findings = [*outside_findings(gather_outside(()))]

    unknown = {each.identity for each in findings if each.verdict is Verdict.UNKNOWN}
    assert {"outside.vpn_status", "outside.accounting"} <= unknown


def test_pppd_is_judged_by_its_words(offender: Callable[..., int]) -> None:
    process = offender("/usr/sbin/pppd", "file", "/none", "plugin", "radius.so", "debug")

    assert {each.identity for each in found(process)} == {
        "outside.accounting",
        "outside.vpn_status",
    }


@pytest.mark.kernel
@pytest.mark.parametrize("expression", ["log", "LOG"])
def test_a_firewall_rule_that_logs_is_found(namespace: Namespace, expression: str) -> None:
    with entered(namespace.name):
        before = gather_outside(())
        add_rule(expression)
        after = gather_outside(())

    assert before.logging_rules == ()
    (finding,) = (each for each in outside_findings(after) if "firewall" in each.evidence)
    assert (finding.identity, finding.verdict) == ("outside.connections", Verdict.FAIL)


@pytest.mark.kernel
def test_a_rule_that_counts_is_no_rule_that_logs(namespace: Namespace) -> None:
    with entered(namespace.name):
        add_rule("counter")

        assert gather_outside(()).logging_rules == ()


@pytest.mark.kernel
def test_connections_that_are_accounted_are_found(namespace: Namespace) -> None:
    switch = Path("/proc/sys/net/netfilter/nf_conntrack_acct")
    with entered(namespace.name):
        if not switch.exists():
            pytest.skip("no connection tracking in this kernel")
        before = gather_outside(())
        switch.write_text("1")
        after = gather_outside(())

    assert "nf_conntrack_acct" not in before.switches
    (finding,) = (each for each in outside_findings(after) if "nf_conntrack_acct" in each.evidence)
    assert finding.verdict is Verdict.FAIL
    assert "net.netfilter.nf_conntrack_acct" in finding.mend


def test_each_kind_has_a_line_even_if_there_is_none() -> None:
    findings = [*outside_findings(gather_outside(()))]

    assert [*dict.fromkeys(each.identity for each in findings)] == [*OUTSIDE]
