"""What an operator is told about links and rules, as values; the kernel's part is test_links.py."""

from trafficd.config import parse_config
from trafficd.kernel.inventory import FoundLink
from trafficd.links import LinkIdentity
from trafficd.reader.advice import see, warnings
from trafficd.rules import LINK_TYPES

RULES = """
namespaces: [blue]
links:
  - {name: "eth*", role: uplink, capacity: 1Gbit}
  - {name: "br*", role: uplink, capacity: 1Gbit}
  - {name: "wg*", class: wireguard, population: shared}
  - {name: "ppp*", class: l2tp, population: per-session}
  - {name: "lo", role: ignored}
"""


def link(
    ifindex: int,
    name: str,
    kind: str = "",
    *,
    namespace: str = "host",
    link_type: str = "ether",
    master: int = 0,
    lower: int = 0,
    peer: int = 0,
    secret: str = "",
) -> FoundLink:
    identity = LinkIdentity(name.encode(), LINK_TYPES[link_type], is_slave=False)
    return FoundLink(namespace, ifindex, identity, kind, "up", master, lower, peer, 0, 0, secret)


def told(*links: FoundLink, rules: str = RULES) -> list[str]:
    return list(warnings(see(parse_config(rules), links)))


def test_a_sound_host_is_told_nothing() -> None:
    assert told(link(1, "lo"), link(2, "eth0"), link(3, "wg0", "wireguard"), link(4, "ppp0")) == []


def test_a_link_and_its_own_master_in_one_role_count_twice() -> None:
    (line,) = told(link(2, "eth0", master=3), link(3, "br0", "bridge"))

    assert line == (
        "eth0 (host): counted as uplink together with its master br0 (host):"
        " every packet counts twice; ignore one of them"
    )


def test_a_vlan_and_its_lower_device_in_one_role_count_twice() -> None:
    (line,) = told(link(2, "eth0"), link(3, "eth0.7", "vlan", lower=2))

    assert "eth0.7 (host): counted as uplink together with its lower device eth0 (host)" in line


def test_both_ends_of_a_veth_in_one_role_are_told_once() -> None:
    (line,) = told(link(2, "eth0", "veth", peer=3), link(3, "eth1", "veth", peer=2))

    assert "eth0 (host): counted as uplink together with its other end eth1 (host)" in line


def test_the_same_number_in_another_namespace_is_another_link() -> None:
    assert told(link(2, "eth0", lower=3), link(3, "eth1", namespace="blue")) == []


def test_a_tunnel_over_an_uplink_is_no_double_count() -> None:
    assert told(link(2, "eth0"), link(3, "wg0", "wireguard", lower=2)) == []


def test_a_class_that_looks_per_client_is_not_shared() -> None:
    rules = RULES.replace("per-session", "shared")

    by_type = told(link(2, "eth0"), link(3, "ppp0", link_type="ppp"), rules=rules)
    by_number = told(link(2, "eth0"), *(link(n, f"ppp{n}") for n in range(3, 12)), rules=rules)

    assert by_type[0].startswith("class l2tp: declared shared, but a ppp link is one client")
    assert by_number[0].startswith("class l2tp: declared shared, but it has 9 links")


def test_wireguard_is_shared_by_many_clients() -> None:
    rules = RULES.replace("shared", "per-session")

    (line,) = told(link(2, "eth0"), link(3, "wg0", "wireguard"), rules=rules)

    assert line.startswith("class wireguard: declared per-session, but wg0 (host) is a WireGuard")


def test_an_uplink_without_a_capacity_and_a_node_without_an_uplink_are_told() -> None:
    rules = RULES.replace(", capacity: 1Gbit", "")

    assert told(link(2, "eth0"), rules=rules) == [
        "eth0 (host): an uplink without a capacity: its utilisation stays unknown"
    ]
    assert told(link(4, "ppp0")) == [
        "no link counts as uplink: what the node pays for is not counted"
    ]


def test_a_link_that_no_rule_names_is_told_unless_it_is_the_loopback() -> None:
    assert told(link(1, "lo0", link_type="loopback"), link(2, "eth0"), link(3, "dummy0")) == [
        "dummy0 (host): no rule names it: it is ignored; say so, or count it"
    ]


def test_thousands_of_links_are_one_line() -> None:
    (line,) = told(link(2, "eth0"), *(link(n, f"x{n}") for n in range(3, 3003)))

    assert line.startswith("x3 (host), x4 (host), x5 (host) and 2,997 more: no rule names it")


def test_tunnel_links_whose_events_the_reader_does_not_get_are_told_with_the_reason() -> None:
    lines = told(
        link(2, "eth0", secret="has an alias"),
        link(3, "ppp0", secret="has an alias"),
        link(4, "ppp1", secret="has an alternative name"),
        link(5, "ppp2", secret="has an alias"),
    )

    consequence = (
        "counted from dumps only; what it moves between the last dump and its end, at most 10 s, is"
        " not counted"
    )
    assert lines == [
        f"ppp0 (host), ppp2 (host): has an alias: {consequence}",
        f"ppp1 (host): has an alternative name: {consequence}",
    ]


def test_a_link_is_seen_with_the_rule_that_decides() -> None:
    rules = """
    links:
      - {slave: true, role: ignored}
      - {name: "ppp*", type: ppp, namespace: host, class: l2tp}
    """

    (seen,) = see(parse_config(rules), [link(4, "ppp0", link_type="ppp")])

    assert seen.why == "rule 2: name ppp*, type ppp, namespace host"
    assert seen.group.class_name == "l2tp"
