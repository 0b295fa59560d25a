"""OpenVPN: one link for all clients of a server.

Two servers: over UDP with a tun link, and over TCP with a tap link.
"""

import secrets
from collections.abc import Iterable

from tests.system.vpn.certificates import Identity, new_identity
from tests.system.vpn.sessions import Sessions
from tests.system.vpn.stage import FOLDER, Stage

_KINDS = {"udp": ("tun", "10.98.7"), "tcp": ("tap", "10.98.8")}
_CONFIG = """
dev {link}
cert {folder}/{name}.crt
key {folder}/{name}.key
tls-crypt {folder}/tls-crypt.key
<peer-fingerprint>
{peers}
</peer-fingerprint>
"""
_SERVER = """
local {address}
proto {protocol}
port 1194
server {network}.0 255.255.255.0
topology subnet
dh none
script-security 3
auth-user-pass-verify /bin/true via-env
keepalive 10 60
"""
_CLIENT = """
client
remote {address} 1194 {protocol}
nobind
auth-user-pass {folder}/{name}.login
"""


def open_sessions(stage: Stage) -> Sessions:
    """Start both servers, and every second client of the one or the other."""
    lines = [stage.secret("hex", "line of a shared key", secrets.token_hex(16)) for _ in range(16)]
    mark = "-----{} OpenVPN Static key V1-----"
    stage.write("tls-crypt.key", "\n".join([mark.format("BEGIN"), *lines, mark.format("END"), ""]))
    server = _identity(stage, "server")
    clients = [_identity(stage, host.name) for host in stage.clients]
    programs = []
    for protocol in _KINDS:
        config = _config(_SERVER, stage, "server", protocol, clients)
        file = stage.write(f"server-{protocol}.conf", config)
        programs.append(stage.server.start("openvpn", file))
    addresses = []
    for number, host in enumerate(stage.clients):
        protocol = list(_KINDS)[number % 2]
        _, network = _KINDS[protocol]
        stage.write(f"{host.name}.login", "\n".join(stage.user(number)))
        config = _config(_CLIENT, stage, host.name, protocol, [server])
        programs.append(host.start("openvpn", stage.write(f"{host.name}.conf", config)))
        addresses.append(f"{network}.1")
    return Sessions(addresses, programs)


def _identity(stage: Stage, name: str) -> Identity:
    made = new_identity(stage.secret("text", "host name", f"{name}-canary.example"))
    stage.secret("hex", "private key", made.key_hex)
    stage.write(f"{name}.crt", made.certificate)
    stage.write(f"{name}.key", made.key)
    return made


def _config(
    template: str, stage: Stage, name: str, protocol: str, peers: Iterable[Identity]
) -> str:
    link, network = _KINDS[protocol]
    return (_CONFIG + template).format(
        folder=FOLDER,
        name=name,
        protocol=protocol,
        link=link,
        network=network,
        address=stage.server.address,
        peers="\n".join(each.fingerprint() for each in peers),
    )
