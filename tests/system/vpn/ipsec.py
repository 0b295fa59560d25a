"""strongSwan: IPsec in the process, with the link ipsec0, or in the kernel, with none.

Or in the kernel with an xfrm link, which an administrator made for what is routed through IPsec.
"""

import secrets
import subprocess
from enum import Enum, auto
from functools import partial

from tests.system.vpn.host import Host, wait_until
from tests.system.vpn.sessions import Opener, Sessions
from tests.system.vpn.stage import FOLDER, Stage

_SERVER = "10.96.2.1"
_CLIENTS = "10.96.3.0/24"
_LINK = "ipsec7"
_PLUGINS = ("random", "nonce", "openssl", "kdf", "vici", "socket-default")
_DAEMON = """
charon {{
  install_routes = {routes}
  load = {plugins}
  plugins {{
    vici {{
      socket = {uri}
    }}
  }}
}}
swanctl {{
  load = openssl
}}
"""
_BOTH = """
connections {{
  vpn {{
    proposals = aes128-sha256-ecp256
    {addresses}
    local {{
      auth = psk
      id = {own}
    }}
    remote {{
      auth = psk
      id = {other}
    }}
    children {{
      vpn {{
        {selector}
        esp_proposals = aes128gcm16
        {link}
      }}
    }}
  }}
}}
secrets {{
  ike {{
    secret = 0x{key}
  }}
}}
"""
_POOL = f"""
pools {{
  clients {{
    addrs = {_CLIENTS}
  }}
}}
"""


class Kind(Enum):
    """Where ESP is done, and which link shows it."""

    PROCESS = auto()
    KERNEL = auto()
    KERNEL_WITH_LINK = auto()


def _open_sessions(stage: Stage, *, kind: Kind) -> Sessions:
    key = stage.secret("hex", "shared key", secrets.token_hex(32))
    name = stage.secret("text", "host name", "server-canary.example")
    # Where the clients' traffic goes: a server forwards, and here it is the destination itself.
    stage.server.ip(f"address add {_SERVER}/32 dev lo")
    has_link = kind is Kind.KERNEL_WITH_LINK
    if has_link:
        stage.server.ip(
            f"link add {_LINK} type xfrm dev eth0 if_id 7",
            f"link set {_LINK} up",
            f"route add {_CLIENTS} dev {_LINK}",
        )
    config = _BOTH.format(
        key=key,
        own=name,
        other="%any",
        addresses="pools = clients",
        selector=f"local_ts = {_SERVER}",
        link="if_id_in = 7\n        if_id_out = 7" if has_link else "",
    )
    programs = [_start(stage, stage.server, config + _POOL, kind)]
    for number, host in enumerate(stage.clients):
        user, _ = stage.user(number)
        config = _BOTH.format(
            key=key,
            own=user,
            other=name,
            addresses=f"remote_addrs = {stage.server.address}\n    vips = 0.0.0.0",
            selector=f"remote_ts = {_SERVER}",
            link="",
        )
        programs.append(_start(stage, host, config, kind))
        _control(host, "--initiate", "--child", "vpn")
    return Sessions([_SERVER] * len(stage.clients), programs, links=(_LINK,) if has_link else ())


def _start(stage: Stage, host: Host, config: str, kind: Kind) -> "subprocess.Popen[bytes]":
    # The first that can do IPsec does it; the other one's addresses and routes are needed as well.
    own = ("kernel-libipsec",) if kind is Kind.PROCESS else ()
    daemon = _DAEMON.format(
        plugins=" ".join((*_PLUGINS, *own, "kernel-netlink")),
        # Those to an xfrm link are the administrator's.
        routes="no" if kind is Kind.KERNEL_WITH_LINK and host is stage.server else "yes",
        uri=_uri(host),
    )
    program = host.start(
        *("env", f"STRONGSWAN_CONF={stage.write(f'{host.name}.conf', daemon)}"),
        "/usr/lib/ipsec/charon",
        own_run=True,
    )
    wait_until((stage.folder / f"{host.name}.vici").exists, "charon does not listen")
    _control(host, "--load-all", "--file", stage.write(f"{host.name}.swanctl", config))
    return program


def _control(host: Host, *command: str) -> None:
    host.run("swanctl", *command, "--uri", _uri(host))


def _uri(host: Host) -> str:
    return f"unix://{FOLDER}/{host.name}.vici"


in_process: Opener = partial(_open_sessions, kind=Kind.PROCESS)
in_kernel: Opener = partial(_open_sessions, kind=Kind.KERNEL)
in_kernel_with_link: Opener = partial(_open_sessions, kind=Kind.KERNEL_WITH_LINK)
