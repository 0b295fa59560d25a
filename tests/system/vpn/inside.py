"""The lab's command: a VPN server, its clients and their traffic, in the namespace that is counted.

`python -m tests.system.vpn.inside SERVER CLIENTS ROOT CONFIG REPORT`
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tests.system.vpn.host import wait_until
from tests.system.vpn.sessions import Opener, Sessions, end
from tests.system.vpn.stage import Stage, set_up
from tests.system.vpn.traffic import MIB, Way, exchange_all
from tests.system.vpn.witness import UPLINK, Witness

# Together more than the 1 MiB that a session's seat needs.
UP, DOWN = MIB // 2, MIB
# Of the last one, and what is no MiB yet.
_LITTLE = 4 << 10
_GONE_EARLY = 3
_PAGE = "http://127.0.0.1:9787/metrics"
_RELEASE = "trafficd_release_timestamp_seconds "


def main() -> None:
    """Play it, and write down who was there and what the kernel counted."""
    server, clients, root, config, report = sys.argv[1:]
    # What trafficd writes must stand apart from what all these programs say.
    said = os.open(f"{report}.said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, sys.stdout.fileno())
    os.dup2(said, sys.stderr.fileno())
    module, _, opener = server.partition(".")
    open_sessions: Opener = getattr(import_module(f"tests.system.vpn.{module}"), opener)
    witness = Witness()
    stage = set_up(Path(root), int(clients))
    links = play(stage, open_sessions, witness, config)
    stage.server.ip(f"link set {UPLINK} down")
    uplink, tunnels = witness.uplink(), list(witness.tunnels().values())
    for each in tunnels:
        stage.secret("text", "name of a link", each.name)
    told = {
        "links": links,
        "uplink": [uplink.rx_bytes, uplink.tx_bytes],
        "tunnels": [[each.name, each.rx_bytes, each.tx_bytes] for each in tunnels],
        "secrets": stage.secrets,
    }
    Path(report).write_text(json.dumps(told))


def play(stage: Stage, open_sessions: Opener, witness: Witness, config: str) -> str:
    """Open the sessions, let bytes flow, and end them; return what `trafficd links` shows.

    All links of the server together end a little above whole MiB, so that the loss of a packet
    rounds them to another.
    """
    sessions = open_sessions(stage)
    first, *_, last = ways = [
        Way(host, stage.server, address)
        for host, address in zip(stage.clients, sessions.addresses, strict=True)
    ]
    exchange_all(ways[:-1] if sessions.own else ways, up=UP, down=DOWN)
    if sessions.own:
        last.exchange(up=_LITTLE, down=_LITTLE)
    stage.note_addresses()
    links = _links(config)

    def received() -> int:
        return sum(each.rx_bytes for each in witness.tunnels().values())

    def sent() -> int:
        return sum(each.tx_bytes for each in witness.tunnels().values())

    if witness.tunnels():
        first.send_up(received, _whole(received()))
        first.send_down(sent, _whole(sent()))
    if sessions.own:
        for each in sessions.own[1 : 1 + _GONE_EARLY]:
            end(each)
        _complete_the_crowd(last, sent)
    _end_all(sessions, stage, witness)
    outside = Way(stage.clients[0], stage.server, stage.server.address)
    outside.send_up(lambda: witness.uplink().rx_bytes, _whole(witness.uplink().rx_bytes))
    outside.send_down(lambda: witness.uplink().tx_bytes, _whole(witness.uplink().tx_bytes))
    return links


def _complete_the_crowd(last: Way, sent: Callable[[], int]) -> None:
    """Let the last session, without which the total is held, move a MiB.

    What a session moves after the crowd's release is held until there is another. So the last bytes
    are sent when a window has just begun.
    """
    goal = _whole(sent()) + MIB
    last.send_down(sent, goal - 4 * _LITTLE)
    release = _release()
    wait_until(lambda: _release() != release, "no window ends")
    last.send_down(sent, goal)


def _whole(moved: int) -> int:
    return moved // MIB * MIB if moved % MIB < _LITTLE else (moved // MIB + 1) * MIB


def _end_all(sessions: Sessions, stage: Stage, witness: Witness) -> None:
    for each in reversed(sessions.programs):
        end(each)
    for link in sessions.links:
        stage.server.ip(f"link delete {link}")
    wait_until(witness.is_alone, "a link stays")


def _links(config: str) -> str:
    command = [sys.executable, "-m", "trafficd", "links", "--config", config]
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=240, check=True
    ).stdout


def _release() -> str:
    """Return the grid point that the page shows."""
    with urllib.request.urlopen(_PAGE, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    (instant,) = (each.removeprefix(_RELEASE) for each in lines if each.startswith(_RELEASE))
    return str(instant)


if __name__ == "__main__":
    main()
