"""What a VPN server has to show when its clients connect."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.system.vpn.stage import Stage


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions of all clients of a stage, open or about to be.

    *addresses* are the server's in the tunnel, one for each client. *programs* run until they are
    ended, the last first. *own* has, for a server with a link for each session, what ends that of
    each client. *links* are the server's own to take away.
    """

    addresses: "list[str]"
    programs: "list[subprocess.Popen[bytes]]"
    own: "tuple[subprocess.Popen[bytes], ...]" = ()
    links: tuple[str, ...] = ()


Opener = Callable[[Stage], Sessions]


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask a program to end, and wait until it has."""
    process.terminate()
    process.wait(240)
