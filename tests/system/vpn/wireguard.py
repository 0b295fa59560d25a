"""WireGuard: one link for all peers, the kernel's own or wireguard-go's."""

import subprocess
from functools import partial

from tests.system.vpn.host import Host, wait_until
from tests.system.vpn.sessions import Opener, Sessions
from tests.system.vpn.stage import Stage

_NETWORK = "10.95.6"
_PORT = 51820


def _open_sessions(stage: Stage, *, in_kernel: bool) -> Sessions:
    hosts = (stage.server, *stage.clients)
    private = [host.run("wg", "genkey").strip() for host in hosts]
    public = [
        host.run("wg", "pubkey", given=key).strip()
        for host, key in zip(hosts, private, strict=True)
    ]
    preshared = stage.secret("base64", "preshared key", stage.server.run("wg", "genpsk").strip())
    for key, shown in zip(private, public, strict=True):
        stage.secret("base64", "private key", key)
        stage.secret("base64", "public key", shown)
    shared = stage.write("preshared.key", preshared)
    programs = []
    for number, host in enumerate(hosts):
        link = "wg0" if host is stage.server else f"wg-{host.name}"
        programs += _add_link(stage, host, link, in_kernel=in_kernel)
        key = stage.write(f"{host.name}.key", private[number])
        host.run("wg", "set", link, "private-key", key, "listen-port", str(_PORT))
        # A server has a route to all of its peers, a client to the server.
        host.ip(f"address add {_NETWORK}.{number + 1}/24 dev {link}", f"link set {link} up")
        peers = range(1, len(hosts)) if host is stage.server else [0]
        for peer in peers:
            host.run(
                *("wg", "set", link, "peer", public[peer], "preshared-key", shared),
                *("allowed-ips", f"{_NETWORK}.{peer + 1}/32"),
                *("endpoint", f"{hosts[peer].address}:{_PORT}"),
            )
    return Sessions(
        [f"{_NETWORK}.1"] * len(stage.clients), programs, links=("wg0",) if in_kernel else ()
    )


def _add_link(
    stage: Stage, host: Host, link: str, *, in_kernel: bool
) -> "list[subprocess.Popen[bytes]]":
    if in_kernel:
        host.ip(f"link add {link} type wireguard")
        return []
    program = host.start("wireguard-go", "--foreground", link)
    wait_until((stage.root / f"run/wireguard/{link}.sock").exists, f"no {link}")
    return [program]


in_kernel: Opener = partial(_open_sessions, in_kernel=True)
in_process: Opener = partial(_open_sessions, in_kernel=False)
