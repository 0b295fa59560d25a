"""Link rules: what the built-in and an operator's own make of links."""

import pytest

from trafficd.accounting.classify import IGNORED, Classifier, Group
from trafficd.config import parse_config
from trafficd.links import LinkIdentity
from trafficd.rules import BUILT_IN_RULES, Population, Role

ETHER, PPP, NONE = 1, 512, 65534
UPLINK = Group(Role.UPLINK)


def link(name: str, link_type: int = ETHER, *, is_slave: bool = False) -> LinkIdentity:
    return LinkIdentity(name.encode(), link_type, is_slave)


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("eth0", UPLINK),
        ("enp3s0", UPLINK),
        ("bond0", UPLINK),
        ("eth0.100", IGNORED),
        ("enp3s0f1.7", IGNORED),
        ("bond0.12", IGNORED),
        ("lo", IGNORED),
        ("docker0", IGNORED),
        ("wg0", Group(Role.TUNNEL, "wireguard", Population.SHARED)),
        ("tun0", Group(Role.TUNNEL, "openvpn", Population.SHARED)),
        ("tap0", Group(Role.TUNNEL, "openvpn", Population.SHARED)),
        ("ppp17", Group(Role.TUNNEL, "ppp", Population.PER_SESSION)),
        ("l2tpeth3", Group(Role.TUNNEL, "l2tp", Population.PER_SESSION)),
        ("ipsec0", Group(Role.TUNNEL, "ipsec", Population.SHARED)),
        ("vpns5", Group(Role.TUNNEL, "ocserv", Population.PER_SESSION)),
    ],
)
def test_built_in_rules_know_a_usual_vpn_host(name: str, group: Group) -> None:
    assert Classifier(BUILT_IN_RULES).group("host", link(name)) == group


def test_built_in_rules_leave_a_bonds_slave_to_its_bond() -> None:
    assert Classifier(BUILT_IN_RULES).group("host", link("eth0", is_slave=True)) == IGNORED


def test_the_first_rule_that_matches_all_it_states_wins() -> None:
    config = parse_config(
        """
        namespaces: [blue]
        links:
          - {name: "ppp*", type: ppp, namespace: blue, class: blue-l2tp}
          - {name: "ppp*", type: ppp, class: l2tp, population: per-session}
          - {name: "ppp1", type: none, class: pptp}
          - {type: 519, role: uplink}
        """
    )
    classifier = Classifier(config.links)

    assert classifier.group("blue", link("ppp1", PPP)).class_name == "blue-l2tp"
    assert classifier.group("host", link("ppp1", PPP)).class_name == "l2tp"
    assert classifier.group("host", link("ppp1", NONE)).class_name == "pptp"
    assert classifier.group("host", link("ppp2", NONE)) == IGNORED
    assert classifier.group("host", link("rmnet0", 519)) == UPLINK


def test_a_link_that_no_rule_names_is_ignored() -> None:
    assert Classifier(()).group("host", link("eth0")) == IGNORED
