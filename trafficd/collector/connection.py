"""A sender's connection: one push after the other, at a fraction of what a web framework takes.

aiohttp's server takes 55 us for a request that does nothing, four times the storing of a message.
So a push as every usual sender writes it (``plain_request``) is read here; a connection whose next
request is anything else is handed to aiohttp at that request's first byte, and stays there.

A connection is in one of four states. It waits for a request (nothing held); has part of one (bytes
held, or a refused body being skipped); has a whole one in the store's hands (busy), and holds what
comes meanwhile; or is handed over, or lost, and hears nothing any more. A head is the same as the
one before on nearly every connection, so what it says is found out once, and again whenever nodes
were added or revoked.
"""

import asyncio
import ssl
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, cast

from trafficd.clock import Clock
from trafficd.collector import answers
from trafficd.collector.answers import Answer
from trafficd.collector.plain_request import END_OF_HEAD, PlainHead, read_head
from trafficd.collector.reception import MOST_BODY_BYTES, Admitted, Reception
from trafficd.service.web_config import WebConfig

# Chosen: what a head may take, and what may come while a message is being stored.
_MOST_HEAD_BYTES = 8 << 10
_MOST_AHEAD_BYTES = 64 << 10
# All parts of bodies that are held at a time, of all connections together.
_MOST_HELD_BYTES = 64 << 20
# A push is in one packet or a few; on the worst line it takes this long, or is sent again.
REQUEST_SECONDS = 30.0
# A sender that catches up comes back at once, and one that does not comes in an hour.
IDLE_SECONDS = 75.0


class Door:
    """What connections share: whom they ask, how many they are, and how answers are written."""

    def __init__(
        self,
        reception: Reception,
        web: WebConfig,
        others: Callable[[], asyncio.Protocol],
        clock: Clock,
        *,
        most_connections: int,
    ) -> None:
        """*others* makes what a connection is handed to that asks for anything but a push."""
        self.reception = reception
        self.web = web
        self.others = others
        self.is_closing = False
        self._clock = clock
        self._most_connections = most_connections
        self._connections: set[Connection] = set()
        self._held_bytes = 0
        self._has_made_room = False
        self.sweep()

    def __call__(self) -> "Connection":
        """Return the protocol of one more connection."""
        return Connection(self)

    def opened(self, connection: "Connection") -> bool:
        """Count *connection* in; return whether there is room for it, and the door still open."""
        if self.is_closing:
            # Its handshake began before; nobody would look after it any more.
            return False
        if len(self._connections) >= self._most_connections:
            # At most once a sweep: who knocks all the time shall not make us look all the time.
            if not self._has_made_room:
                self._has_made_room = True
                self._end_silent(idle_seconds=0.0)
            if len(self._connections) >= self._most_connections:
                return False
        self._connections.add(connection)
        return True

    def left(self, connection: "Connection") -> None:
        """Count *connection* out."""
        self._connections.discard(connection)

    def hold(self, count: int) -> bool:
        """Reserve room for *count* bytes of a body; return whether there is any."""
        if self._held_bytes + count > _MOST_HELD_BYTES:
            return False
        self._held_bytes += count
        return True

    def let_go(self, count: int) -> None:
        """Give room back."""
        self._held_bytes -= count

    def sweep(self) -> None:
        """End connections that are silent for too long.

        The time is looked at here and not for every request: both uses of it can be that coarse.
        """
        moment = self._clock.now()
        self.seconds = moment.elapsed_seconds
        lines = [
            "Server: trafficd",
            f"Date: {formatdate(moment.utc_seconds, usegmt=True)}",
            *(f"{name}: {value}" for name, value in self.web.headers.items()),
        ]
        self._common = "".join(f"{line}\r\n" for line in lines).encode()
        self._has_made_room = False
        self._end_silent(idle_seconds=IDLE_SECONDS)

    def _end_silent(self, *, idle_seconds: float) -> None:
        for connection in list(self._connections):
            connection.end_if_silent(self.seconds, idle_seconds)

    def close(self) -> None:
        """End connections that wait for nothing now, and the others with their answer."""
        self.is_closing = True
        for connection in list(self._connections):
            connection.end_when_done()

    @property
    def count(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def written(self, answer: Answer, *, is_last: bool) -> bytes:
        """Return *answer* as it is sent."""
        last = b"Connection: close\r\n" if is_last else b""
        return b"".join((answer.head, self._common, last, b"\r\n", answer.body))


class Connection(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_admitted",
        "_bytes_held",
        "_certificate",
        "_door",
        "_head",
        "_held",
        "_is_at_end",
        "_is_busy",
        "_is_paused",
        "_is_reading",
        "_plain",
        "_refusal",
        "_since",
        "_to_skip",
        "_transport",
    )

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.Transport | None = None
        self._certificate: tuple[str, ...] = ()
        self._held = bytearray()
        self._bytes_held = 0
        self._head = b""
        self._plain: PlainHead | None = None
        self._admitted: Admitted | None = None
        self._refusal: Answer | None = None
        self._to_skip = 0
        self._is_busy = False
        self._is_reading = False
        self._is_paused = False
        self._is_at_end = False
        self._since = 0.0

    # ---- what the loop says ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        self._transport = cast("asyncio.Transport", transport)
        self._since = self._door.seconds
        if not self._door.opened(self):
            self._transport.abort()
            return
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self._certificate = tuple(dns_names(connection))
            if not self._door.web.peer_is_allowed(connection):
                self._hand_over(b"")

    def data_received(self, data: bytes) -> None:
        """Read what came, as far as it can be answered now."""
        if not (self._held or self._to_skip or self._is_busy):
            self._since = self._door.seconds
        if self._held or self._is_busy:
            self._held += data
            if self._is_busy and len(self._held) > _MOST_AHEAD_BYTES and self._transport:
                self._is_paused = True
                self._transport.pause_reading()
        if not self._is_busy:
            self._read(self._held or data)

    def eof_received(self) -> bool:
        """Return whether the connection stays open for an answer."""
        self._is_at_end = True
        is_tls = bool(self._transport and self._transport.get_extra_info("ssl_object"))
        return self._is_busy and not is_tls

    def pause_writing(self) -> None:
        """Let go of a sender that does not read its answers."""
        if self._transport:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear nothing any more."""
        self._forget()

    # ---- what the door says ----

    def end_if_silent(self, now: float, idle_seconds: float) -> None:
        """End it if it has waited too long: a request for its rest, or we for a request."""
        if self._is_busy or self._transport is None:
            return
        is_within = bool(self._held or self._to_skip or not self._head)
        allowed = REQUEST_SECONDS if is_within else idle_seconds
        if now - self._since >= allowed:
            self._transport.abort()
            self._forget()

    def end_when_done(self) -> None:
        """End it, after the answer that it waits for if it does."""
        if not self._is_busy and self._transport is not None:
            self._transport.close()

    # ---- requests ----

    def _read(self, data: bytes | bytearray) -> None:
        """Read requests from *data* until one has to be waited for; hold the rest."""
        self._is_reading = True
        start = 0
        while not self._is_busy and self._transport is not None and start < len(data):
            used = self._read_one(data, start)
            if not used:
                break
            start += used
        self._is_reading = False
        if self._transport is None:
            return
        if data is self._held:
            del self._held[:start]
        elif start < len(data):
            self._held += data[start:]

    def _read_one(self, data: bytes | bytearray, start: int) -> int:
        """Read a request, or the rest of a refused one; return how many bytes were used up."""
        if self._to_skip:
            used = min(self._to_skip, len(data) - start)
            self._to_skip -= used
            self._answer_refused()
            return used
        end = data.find(END_OF_HEAD, start, start + _MOST_HEAD_BYTES)
        if end < 0:
            if len(data) - start >= _MOST_HEAD_BYTES:
                self._hand_over(data[start:])
            return 0
        end += len(END_OF_HEAD)
        if not self._understand(bytes(data[start:end])):
            self._hand_over(data[start:])
            return 0
        return self._read_body(data, start, end)

    def _understand(self, head: bytes) -> bool:
        """Find out what *head* says and who says it; return False if that is not for us."""
        if (
            head == self._head
            and self._admitted is not None
            and self._door.reception.still_holds(self._admitted)
        ):
            return True
        self._plain = read_head(head)
        if self._plain is None or self._plain.body_bytes > MOST_BODY_BYTES:
            return False
        self._head = head
        found = self._door.reception.admit(self._plain.headers, self._certificate)
        self._admitted = found if isinstance(found, Admitted) else None
        self._refusal = found if isinstance(found, Answer) else None
        return True

    def _read_body(self, data: bytes | bytearray, start: int, end: int) -> int:
        if self._plain is None:  # pragma: no cover  # for the type checker
            return 0
        stop = end + self._plain.body_bytes
        if self._admitted is None:
            return self._skip(data, start, stop)
        if len(data) < stop:
            if self._bytes_held or self._door.hold(self._plain.body_bytes):
                self._bytes_held = self._plain.body_bytes
                return 0
            self._refusal = answers.busy(self._admitted.protocol)
            self._admitted = None
            return self._skip(data, start, stop)
        self._let_go()
        self._is_busy = True
        self._door.reception.take(self._admitted, bytes(data[end:stop]), self._reply)
        return stop - start

    def _skip(self, data: bytes | bytearray, start: int, stop: int) -> int:
        """Take a refused body without keeping it; its sender hears the answer after it."""
        self._let_go()
        used = min(stop, len(data)) - start
        self._to_skip = stop - start - used
        self._answer_refused()
        return used

    def _answer_refused(self) -> None:
        if not self._to_skip and self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            self._is_busy = True
            self._door.reception.finish(refusal, self._reply)

    def _reply(self, answer: Answer) -> None:
        self._is_busy = False
        transport = self._transport
        if transport is None:
            return
        is_last = self._is_at_end or self._door.is_closing
        transport.write(self._door.written(answer, is_last=is_last))
        self._since = self._door.seconds
        if is_last:
            transport.close()
            return
        if self._is_paused:
            self._is_paused = False
            transport.resume_reading()
        if self._held and not self._is_reading:
            self._read(self._held)

    def _hand_over(self, data: bytes | bytearray) -> None:
        transport = self._transport
        self._forget()
        if transport is None or transport.is_closing():
            return
        other = self._door.others()
        transport.set_protocol(other)
        other.connection_made(transport)
        if data:
            other.data_received(bytes(data))

    def _forget(self) -> None:
        self._transport = None
        self._let_go()
        self._held = bytearray()
        self._door.left(self)

    def _let_go(self) -> None:
        self._door.let_go(self._bytes_held)
        self._bytes_held = 0


def dns_names(connection: ssl.SSLObject) -> list[str]:
    """Return the DNS names in the client's certificate, if it has shown one that was verified."""
    names: Any = (connection.getpeercert() or {}).get("subjectAltName", ())
    return [name.lower() for kind, name in names if kind == "DNS"]
