"""trafficd links, as a process, on the links of a real kernel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import TunSession, add_link, kernel_links

if TYPE_CHECKING:
    from tests.conftest import Namespace

pytestmark = pytest.mark.kernel


def links(namespace: Namespace, config: Path) -> list[str]:
    command = (sys.executable, "-m", "trafficd", "links", "--config", str(config))
    return namespace.run(*command).splitlines()


def test_it_shows_every_link_as_the_rules_see_it(namespace: Namespace, tmp_path: Path) -> None:
    config = tmp_path / "agent.yml"
    config.write_text("links: [{name: 'eth*', role: uplink}, {name: 'tun*', class: openvpn}]\n")
    namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    namespace.ip("link", "add", "br0", "type", "bridge")
    namespace.ip("link", "set", "eth1", "master", "br0")

    with TunSession(namespace.name, "tun0", rx_bytes=1234):
        lines = links(namespace, config)
        truth = kernel_links(namespace.name)

    table = [line for line in lines if not line.startswith("warning: ")]
    rows = {row.split()[1]: row.split() for row in table[1:]}
    assert {row[1]: int(row[2]) for row in rows.values()} == {
        found.name: ifindex for ifindex, found in truth.items()
    }
    assert rows["eth0"][4] == "veth"
    assert rows["eth0"][8:11] == ["uplink", "-", "-"]
    assert rows["br0"][8:] == ["ignored", "-", "-", "no", "rule"]
    assert rows["tun0"][6] == "1234"
    assert rows["tun0"][8:11] == ["tunnel", "openvpn", "per-session"]
    assert [line for line in lines if "together with its other end" in line]


def test_links_of_a_further_namespace_are_shown(
    namespace: Namespace, other_namespace: Namespace, tmp_path: Path
) -> None:
    config = tmp_path / "agent.yml"
    config.write_text(f"namespaces: [{other_namespace.name}]\n")
    other_namespace.ip("link", "add", "wg7", "type", "bridge")

    lines = links(namespace, config)

    (row,) = (line.split() for line in lines if " wg7 " in line)
    assert row[0] == other_namespace.name
    assert row[8:11] == ["tunnel", "wireguard", "shared"]


def test_links_whose_events_the_reader_does_not_get_are_told(
    namespace: Namespace, tmp_path: Path
) -> None:
    config = tmp_path / "agent.yml"
    config.write_text("links: [{name: '*', class: openvpn}]\n")
    namespace.ip("link", "add", "br0", "type", "bridge")
    add_link(namespace.name, "vx0", "type", "vxlan", "id", "7", "dstport", "4789")

    with TunSession(namespace.name, "tun0"), TunSession(namespace.name, "tun1"):
        namespace.ip("link", "set", "tun0", "alias", "whose this is")
        lines = links(namespace, config)

    told = [line for line in lines if "counted from dumps only" in line]
    host = "warning: {} (host): {}: counted from dumps only"
    assert [line.partition(";")[0] for line in told] == [
        host.format("vx0", "is a vxlan link, whose settings can name a peer"),
        host.format("tun0", "has an alias"),
    ]
