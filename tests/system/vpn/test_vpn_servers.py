"""Real VPN servers with real clients and real traffic through them, counted by trafficd.

What has its links from a program runs on this kernel, in namespaces; what has them from the kernel
runs on Debian's, in an emulated machine.
"""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.blindness import search
from tests.sandbox import machine
from tests.system.debian_kernel import run_in_debian_kernel
from tests.system.vpn.counted import HOST_NAME, Counted, count
from tests.system.vpn.inside import DOWN, UP
from tests.system.vpn.servers import vpn_servers
from tests.system.vpn.traffic import MIB

# About three minutes on two cores of its own, more than twice that on busy ones.
MACHINE_SECONDS = 900
# What may be on the uplink when the bytes were filled up to a whole MiB: farewells.
FAREWELLS = 64 << 10


@dataclass(frozen=True, slots=True)
class Server:
    """A server to play, by module and function, and what it is to be counted as.

    Where each session has a link, there are just as many clients as a release asks for.
    Units: *window_seconds* are how long a window takes in the world.
    """

    played: str
    links: tuple[str, ...]
    class_name: str
    population: str
    clients: int = 2
    window_seconds: float = 4


def per_session(link: str, count: int) -> tuple[str, ...]:
    return tuple(f"{link}{number}" for number in range(count))


HERE = (
    Server("openvpn.open_sessions", ("tun0", "tap0"), "openvpn", "shared", clients=4),
    Server("wireguard.in_process", ("wg0",), "wireguard", "shared", clients=3),
    Server("ipsec.in_process", ("ipsec0",), "ipsec", "shared"),
    Server(
        *("ocserv.open_sessions", per_session("vpns", 10), "ocserv", "per-session"),
        clients=10,
    ),
)
IN_THE_MACHINE = (
    Server("wireguard.in_kernel", ("wg0",), "wireguard", "shared", clients=3),
    # No link: what it moves is the uplink's alone.
    Server("ipsec.in_kernel", (), "ipsec", "shared"),
    Server("ipsec.in_kernel_with_link", ("ipsec7",), "ipsec", "shared"),
    Server(
        *("ppp.open_sessions", per_session("ppp", 10), "ppp", "per-session"),
        clients=10,
        window_seconds=10,
    ),
)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The file system with the servers that run here."""
    with vpn_servers() as made:
        yield made


@pytest.fixture(scope="module")
def in_the_machine() -> dict[str, Counted]:
    """What came of the servers that need Debian's kernel, of one machine for all."""
    lines = [
        f"python3 -m tests.system.vpn.counted {each.played} {each.clients} {each.window_seconds}"
        for each in IN_THE_MACHINE
    ]
    outcome = run_in_debian_kernel(["sh", "-c", "; ".join(lines)], seconds=MACHINE_SECONDS)
    told = [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]
    assert len(told) == len(lines), outcome.output
    return {
        each.played: Counted(**counted) for each, counted in zip(IN_THE_MACHINE, told, strict=True)
    }


@pytest.fixture(scope="module", params=[*HERE, *IN_THE_MACHINE], ids=lambda each: each.played)
def server(request: pytest.FixtureRequest) -> Server:
    played: Server = request.param
    return played


@pytest.fixture(scope="module")
def counted(server: Server, request: pytest.FixtureRequest) -> Counted:
    """What came of the server."""
    if server in IN_THE_MACHINE:
        found: Counted = request.getfixturevalue("in_the_machine")[server.played]
    else:
        found = count(
            server.played,
            clients=server.clients,
            window_seconds=server.window_seconds,
            root=request.getfixturevalue("root"),
            further_config=machine.configuration(),
        )
    assert found.status == 0, found.log + found.said
    return found


def test_what_is_published_is_what_the_kernel_counted_in_whole_mib(
    server: Server, counted: Counted
) -> None:
    uplink = counted.report["uplink"]
    links = {name: moved for name, *moved in counted.report["tunnels"]}
    tunnels = [sum(moved) for moved in zip(*links.values(), strict=True)] or [0, 0]

    *_, release = (json.loads(line) for line in counted.output.splitlines() if line[0] == "{")

    whole_uplink, whole_tunnels = shown(uplink), shown(tunnels)
    assert release["node"] == {"uplink": whole_uplink, "tunnel": whole_tunnels}
    assert release["classes"].pop(server.class_name) == whole_tunnels
    assert set(map(str, release["classes"].values())) == {str(shown([0, 0]))}
    assert totals_of_page(counted.output) == {
        **series("uplink", whole_uplink),
        **series("tunnel", whole_tunnels),
        **series("class", whole_tunnels, of_class=server.class_name),
    }
    # It was real: every byte of the clients went this way, and the loss of a few would have shown.
    assert sorted(links) == sorted(server.links)
    for moved in (uplink, tunnels) if links else (uplink,):
        assert moved[0] >= (server.clients - 1) * UP
        assert moved[1] >= (server.clients - 1) * DOWN
        assert max(moved[0] % MIB, moved[1] % MIB) < FAREWELLS


def test_the_built_in_rules_know_its_links(server: Server, counted: Counted) -> None:
    rows = [line.split() for line in counted.report["links"].splitlines()]

    # Two of the headings before the role are of two words, which no cell is.
    seen = {row[1]: tuple(row[8:11]) for row in rows if row[0] == "host"}

    of_class = ("tunnel", server.class_name, server.population)
    assert seen == {
        "lo": ("ignored", "-", "-"),
        "eth0": ("uplink", "-", "-"),
        **dict.fromkeys(server.links, of_class),
    }


def test_nothing_of_its_clients_is_in_anything_that_trafficd_wrote(
    server: Server, counted: Counted
) -> None:
    canaries = [canary(*each) for each in counted.report["secrets"]]
    if server.population == "per-session":
        canaries += [
            search.integer(f"bytes of {name}", each)
            for name, *moved in counted.report["tunnels"]
            for each in moved
            # Enough digits, however it is written, that no other number has them by chance.
            if each >= 100_000 and each % 10
        ]
    wrote = {"releases and page": counted.output.encode(), "log": counted.log.encode()}

    told = search.found(wrote, [search.text("host name", HOST_NAME), *canaries])

    assert told == []
    # What is looked for is there: this is for the administrator's terminal.
    table = {"table": counted.report["links"].encode()}
    assert bool(search.found(table, canaries)) == bool(server.links)


def shown(moved: Sequence[int]) -> dict[str, int]:
    """Return what is published of bytes received and sent."""
    received, sent = (each // MIB * MIB for each in moved)
    return {"receive": received, "transmit": sent}


def series(what: str, whole: Mapping[str, int], *, of_class: str = "") -> dict[str, int]:
    """Return the series of the page that are not 0."""
    labels = f'{{class="{of_class}"}}' if of_class else ""
    return {
        f"trafficd_{what}_{direction}_bytes_total{labels}": total
        for direction, total in whole.items()
        if total
    }


def totals_of_page(output: str) -> dict[str, int]:
    """Return every total on the page that is not 0."""
    found = re.findall(r"(?m)^(trafficd_\w+_bytes_total\S*) (\S+)$", output)
    return {name: int(float(value)) for name, value in found if float(value)}


def canary(kind: str, what: str, value: str) -> search.Canary:
    """Return what to look for, of a kind as in stage.py."""
    if kind == "ipv4":
        return search.ipv4(what, value)
    if kind == "mac":
        return search.mac(what, value)
    if kind == "text":
        return search.text(what, value)
    raw = bytes.fromhex(value) if kind == "hex" else base64.b64decode(value)
    as_base64 = search.text(what, base64.b64encode(raw).decode().rstrip("="))
    as_hex = search.text(what, raw.hex())
    return search.Canary(
        what,
        {"bytes": raw, "bytes backwards": raw[::-1], **as_base64.exact, **as_hex.exact},
        {"base64": as_base64.words["text"], "hex": as_hex.words["text"]},
        {},
    )
