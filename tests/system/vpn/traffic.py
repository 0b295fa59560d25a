"""Real traffic between hosts: connections that carry bytes both ways, and single datagrams."""

import os
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from tests.system.vpn.host import Host, wait_until

MIB = 1 << 20
_CONTENT = os.urandom(MIB)
_DATAGRAM = 1200
# Of IPv4 and UDP.
_HEADER_BYTES = 28
# Few enough for the queues on their way.
_AT_ONCE = 32
_MOST_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Way:
    """From *client* to *server* and back, by the addresses that they have on this way."""

    client: Host
    server: Host
    server_address: str

    def exchange(self, *, up: int, down: int) -> None:
        """Carry bytes to the server and back over one connection, and close it in peace."""
        with self.server.listen() as listener:
            wait_until(lambda: self._carry(listener, up, down), f"no way to {self.server_address}")

    def _carry(self, listener: socket.socket, up: int, down: int) -> bool:
        connection = self.client.connect(self.server_address, listener.getsockname()[1])
        if connection is None:
            return False
        accepted, _ = listener.accept()
        accepted.settimeout(listener.gettimeout())
        with connection, accepted:
            _send(connection, accepted, up)
            _send(accepted, connection, down)
            # Nothing of it is on its way when each has heard that the other is done.
            for one, other in ((connection, accepted), (accepted, connection)):
                one.shutdown(socket.SHUT_WR)
                assert other.recv(1) == b""
        return True

    def send_up(self, received: Callable[[], int], goal: int) -> None:
        """Send datagrams until the server's links have *received* as many bytes as *goal*."""
        with self.server.datagrams() as server, self.client.datagrams() as client:
            address = (self.server_address, server.getsockname()[1])
            _send_until(received, goal, client, server, address)

    def send_down(self, sent: Callable[[], int], goal: int) -> None:
        """Send datagrams until the server's links have *sent* as many bytes as *goal*."""
        with self.server.datagrams() as server, self.client.datagrams() as client:
            client.sendto(b"here", (self.server_address, server.getsockname()[1]))
            _, address = server.recvfrom(_DATAGRAM)
            _send_until(sent, goal, server, client, address)


def exchange_all(ways: Iterable[Way], *, up: int, down: int) -> None:
    """Let every way carry so much, at the same time."""
    with ThreadPoolExecutor(8) as carriers:
        for _ in carriers.map(lambda way: way.exchange(up=up, down=down), ways):
            pass


def _send(sender: socket.socket, receiver: socket.socket, count: int) -> None:
    # In one go: a link with a short queue loses the last packet of many, and waiting for it takes
    # longer than all the rest.
    with ThreadPoolExecutor(1) as other_end:
        sending = other_end.submit(sender.sendall, _CONTENT[:count])
        while count:
            received = len(receiver.recv(min(count, 1 << 16)))
            assert received, "the other end is gone"
            count -= received
        sending.result()


def _send_until(
    moved: Callable[[], int],
    goal: int,
    sender: socket.socket,
    receiver: socket.socket,
    to: tuple[str, int],
) -> None:
    """Exceed *goal* by no more than a datagram's headers, or what a tunnel rounds it up by."""
    for _ in range(_MOST_ROUNDS):
        missing = goal - moved()
        if missing <= 0:
            return
        whole, rest = divmod(missing, _DATAGRAM + _HEADER_BYTES)
        sizes = [_DATAGRAM] * whole or [max(1, rest - _HEADER_BYTES)]
        for at in range(0, len(sizes), _AT_ONCE):
            together = sizes[at : at + _AT_ONCE]
            for size in together:
                sender.sendto(bytes(size), to)
            # What has arrived was counted; what was lost is sent again as something else.
            with suppress(TimeoutError):
                for _ in together:
                    receiver.recv(_DATAGRAM)
    raise AssertionError("the links never come to the goal")
