"""The socket between the halves: the reader listens, whoever starts it holds it, exporters connect.

Held by systemd or by the agent, it outlives both halves: an exporter that comes while there is no
reader waits in its queue.
"""

import socket
from pathlib import Path

from trafficd.errors import TrafficdError

_QUEUED = 16
_OWNER_ONLY = 0o600


def open_releases(path: Path) -> socket.socket:
    """Return a socket for the reader at *path*, where exporters of this user connect.

    Raises: TrafficdError if there can be none.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(_OWNER_ONLY)
        listener.listen(_QUEUED)
    except OSError as error:
        listener.close()
        raise TrafficdError(f"{path}: no socket can be had there: {error.strerror}") from error
    return listener


def connected_releases() -> tuple[socket.socket, socket.socket]:
    """Return a socket for a reader, and an exporter's connection to it, which is first in line."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # The kernel chooses an abstract name (unix(7)).
    listener.bind("")
    listener.listen()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(listener.getsockname())
    return listener, connection


def connect_to_reader(path: Path | None) -> socket.socket:
    """Return a connection to the socket at *path*.

    Raises: TrafficdError if nobody listens there.
    """
    if path is None:
        raise TrafficdError(
            "no connection to a reader was handed over; name its socket: --releases"
        )
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise TrafficdError(f"{path}: {error.strerror}; is the reader's socket there?") from error
    return connection
