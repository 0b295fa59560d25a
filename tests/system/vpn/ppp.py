"""pppd: a ppp link for each session, over a connection that carries the line, as SSTP does."""

import subprocess
from pathlib import Path

from tests.system.vpn.host import wait_until
from tests.system.vpn.sessions import Sessions
from tests.system.vpn.stage import Stage

_NETWORK = "10.94.4"
# pppd(8): at the end of a connection, and without what a kernel or a host need not have.
_LINE = (
    *("notty", "nodetach", "logfd", "2", "nodefaultroute"),
    *("noipv6", "noccp", "nomp", "noaccomp", "noproxyarp"),
)
_SECRETS = Path("etc/ppp/chap-secrets")


def open_sessions(stage: Stage) -> Sessions:
    """Start a pppd at each end of a connection for each client."""
    # As udev does; pppd looks for the device file before it asks for anything.
    subprocess.run(["modprobe", "-a", "ppp_async", "ppp_generic"], timeout=60, check=True)
    wait_until(Path("/dev/ppp").exists, "no /dev/ppp")
    Path("/dev/pts").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "devpts", "devpts", "/dev/pts"], timeout=60, check=True)
    users = [stage.user(number) for number, _ in enumerate(stage.clients)]
    server = stage.secret("text", "host name", "server-canary")
    lines = [f'"{user}" {server} "{password}" *\n' for user, password in users]
    (stage.root / _SECRETS).write_text("".join(lines))
    own, others = [], []
    with stage.server.listen() as listener:
        port = listener.getsockname()[1]
        for number, (host, (user, _)) in enumerate(zip(stage.clients, users, strict=True)):
            client = host.connect(stage.server.address, port)
            assert client is not None
            accepted, _ = listener.accept()
            with client, accepted:
                for each in (client, accepted):
                    each.setblocking(True)
                addresses = f"{_NETWORK}.1:{_NETWORK}.{10 + number}"
                own.append(
                    stage.server.start(
                        *("pppd", *_LINE, "auth", "require-chap", "name", server, addresses),
                        over=accepted,
                    )
                )
                others.append(host.start("pppd", *_LINE, "noauth", "user", user, over=client))
    return Sessions([f"{_NETWORK}.1"] * len(stage.clients), [*others, *own], tuple(own))
