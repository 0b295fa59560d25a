"""Descriptors that are handed over, as sd_listen_fds(3) describes it.

systemd and ``trafficd agent`` hand them over the same way: descriptors from 3 on, their number in
LISTEN_FDS, their names in LISTEN_FDNAMES, for the process in LISTEN_PID. systemd has one name for
all sockets of a unit, so a socket is told by what it is, and its name says of which namespace.
"""

import os
import socket
from collections.abc import Callable, Mapping

from trafficd.errors import SocketsMissingError

_FIRST_DESCRIPTOR = 3
# Names that the agent hands its halves their sockets under.
RELEASES = "releases"
AGENT = "agent"


class Handed:
    """The sockets that were handed to this process; each is taken once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Find them; none were if *environment* is meant for another process.

        Raises: SocketsMissingError if their names and their number differ.
        """
        self._sockets: list[tuple[str, socket.socket]] = []
        if environment.get("LISTEN_PID") != str(os.getpid()):
            return
        names = environment.get("LISTEN_FDNAMES", "").split(":")
        count = int(environment.get("LISTEN_FDS", "0"))
        if count != len(names):
            raise SocketsMissingError(
                f"{count} descriptors were handed over with {len(names)} names"
            )
        for number, name in enumerate(names):
            self._sockets.append((name, socket.socket(fileno=_FIRST_DESCRIPTOR + number)))

    def events(self, namespace: str) -> socket.socket:
        """Return the socket of link events of *namespace*.

        Raises: SocketsMissingError if it is not there; so do the next two.
        """
        return self._need(f"netlink socket with a group, named {namespace}", _is_events, namespace)

    def dumps(self, namespace: str) -> socket.socket:
        """Return the netlink socket without a group of *namespace*."""
        return self._need(
            f"netlink socket without a group, named {namespace}", _is_dumps, namespace
        )

    def releases(self) -> socket.socket:
        """Return the socket that an exporter connects to."""
        return self._need("listening unix socket", _is_releases)

    def connection(self) -> socket.socket | None:
        """Return the connection to the reader, if there is one."""
        return self._take(_is_connection, RELEASES)

    def lifeline(self) -> socket.socket | None:
        """Return the socket that texts come from, if there is one."""
        return self._take(_is_connection, AGENT) or self._take(_is_texts)

    def metrics(self) -> list[socket.socket]:
        """Return the internet sockets that clients connect to; none mean the configuration's."""
        found = []
        while (listener := self._take(_is_metrics)) is not None:
            found.append(listener)
        return found

    def close(self) -> None:
        """Close what nobody took."""
        for _, each in self._sockets:
            each.close()
        self._sockets.clear()

    def _need(self, what: str, is_it: "_Kind", name: str | None = None) -> socket.socket:
        found = self._take(is_it, name)
        if found is None:
            raise SocketsMissingError(
                f"no {what} was handed over: start this half by its unit or by `trafficd agent`"
            )
        return found

    def _take(self, is_it: "_Kind", name: str | None = None) -> socket.socket | None:
        for number, (known, each) in enumerate(self._sockets):
            if name in (None, known) and is_it(each):
                del self._sockets[number]
                return each
        return None


_Kind = Callable[[socket.socket], bool]


def _is_events(sock: socket.socket) -> bool:
    return sock.family == socket.AF_NETLINK and sock.getsockname()[1] != 0


def _is_dumps(sock: socket.socket) -> bool:
    return sock.family == socket.AF_NETLINK and sock.getsockname()[1] == 0


def _is_releases(sock: socket.socket) -> bool:
    return _is_sequenced(sock) and _listens(sock)


def _is_connection(sock: socket.socket) -> bool:
    return _is_sequenced(sock) and not _listens(sock)


def _is_texts(sock: socket.socket) -> bool:
    return sock.family == socket.AF_UNIX and sock.type == socket.SOCK_DGRAM


def _is_metrics(sock: socket.socket) -> bool:
    return sock.family in (socket.AF_INET, socket.AF_INET6) and _listens(sock)


def _is_sequenced(sock: socket.socket) -> bool:
    return sock.family == socket.AF_UNIX and sock.type == socket.SOCK_SEQPACKET


def _listens(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
