"""Descriptors that are handed over, as sd_listen_fds(3) describes it.

systemd and ``trafficd agent`` hand them over the same way: descriptors from 3 on, their number in
LISTEN_FDS, their names in LISTEN_FDNAMES, for the process in LISTEN_PID.
"""

import os
import socket
from collections.abc import Mapping

from trafficd.errors import SocketsMissingError

_FIRST_DESCRIPTOR = 3


def inherited_sockets(environment: Mapping[str, str]) -> dict[str, socket.socket]:
    """Return the sockets handed to this process, by name; none were if it is not meant.

    Raises: SocketsMissingError if their names and their number differ.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    count = int(environment.get("LISTEN_FDS", "0"))
    if count != len(names):
        raise SocketsMissingError(f"{count} descriptors were handed over with {len(names)} names")
    return {
        name: socket.socket(fileno=_FIRST_DESCRIPTOR + number) for number, name in enumerate(names)
    }


def take(sockets: dict[str, socket.socket], name: str) -> socket.socket:
    """Return the socket called *name* and leave the others.

    Raises: SocketsMissingError if it is not there.
    """
    try:
        return sockets.pop(name)
    except KeyError:
        raise SocketsMissingError(
            f"no socket named {name} was handed over: start this half through `trafficd agent`"
        ) from None


def close_all(sockets: dict[str, socket.socket]) -> None:
    """Close what was handed over and nobody took."""
    for each in sockets.values():
        each.close()
