"""ocserv with openconnect: a tun link, vpns0 and so on, for each session."""

from tests.system.vpn.certificates import new_identity
from tests.system.vpn.host import wait_until
from tests.system.vpn.sessions import Sessions
from tests.system.vpn.stage import FOLDER, Stage

_NETWORK = "10.97.5"
# Debian's own configuration of the package, as far as it matters here: the link's name is its.
_CONFIG = """
auth = "plain[passwd={folder}/users]"
listen-host = {address}
tcp-port = 443
udp-port = 443
run-as-user = nobody
run-as-group = nogroup
socket-file = /run/ocserv-socket
server-cert = {folder}/server.crt
server-key = {folder}/server.key
isolate-workers = true
max-clients = 0
max-same-clients = 0
max-ban-score = 0
rate-limit-ms = 0
keepalive = 300
dpd = 90
auth-timeout = 240
cookie-timeout = 300
device = vpns
predictable-ips = true
ipv4-network = {network}.0/24
ping-leases = false
cisco-client-compat = true
dtls-legacy = true
"""
# What vpnc-script does of it (openconnect(8), --script).
_SCRIPT = f"""#!/bin/sh
set -e
test "$reason" = connect || exit 0
ip link set "$TUNDEV" up mtu "$INTERNAL_IP4_MTU"
ip address add "$INTERNAL_IP4_ADDRESS" peer {_NETWORK}.1 dev "$TUNDEV"
"""


def open_sessions(stage: Stage) -> Sessions:
    """Start the server, and a client each."""
    name = stage.secret("text", "host name", "server-canary.example")
    identity = new_identity(name)
    stage.secret("hex", "private key", identity.key_hex)
    stage.write("server.crt", identity.certificate)
    stage.write("server.key", identity.key)
    users = [stage.user(number) for number, _ in enumerate(stage.clients)]
    for user, password in users:
        stage.server.run("ocpasswd", "-c", f"{FOLDER}/users", user, given=f"{password}\n" * 2)
    settings = _CONFIG.format(folder=FOLDER, address=stage.server.address, network=_NETWORK)
    config = stage.write("ocserv.conf", settings)
    script = stage.write("script", _SCRIPT)
    server = stage.server.start("ocserv", "--foreground", "--log-stderr", f"--config={config}")
    wait_until(lambda: _answers(stage), "ocserv does not listen")
    sessions = []
    for (user, password), host in zip(users, stage.clients, strict=True):
        sessions.append(
            host.start(
                *("openconnect", "--protocol=anyconnect", f"--user={user}", "--passwd-on-stdin"),
                *(f"--servercert=pin-sha256:{identity.pin()}", f"--interface={host.name}"),
                *(f"--script={script}", "--non-inter", f"https://{stage.server.address}"),
                given=f"{password}\n".encode(),
            )
        )
    return Sessions([f"{_NETWORK}.1"] * len(stage.clients), [server, *sessions], tuple(sessions))


def _answers(stage: Stage) -> bool:
    connection = stage.clients[0].connect(stage.server.address, 443)
    if connection is not None:
        connection.close()
    return connection is not None
