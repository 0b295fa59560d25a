"""RTM_GETSTATS dumps and single RTM_GETLINK requests over one netlink socket."""

import asyncio
import errno
import os
import socket
import struct
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket, NetlinkRequest
from pyroute2.netlink.rtnl.ifstatsmsg import ifstatsmsg

from trafficd.errors import KernelRefusedError
from trafficd.kernel.link_message import (
    HEADER_BYTES,
    NLM_F_DUMP,
    NLM_F_MULTI,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    RTM_GETLINK,
    decode_link_messages,
)
from trafficd.kernel.stats_message import (
    RTM_GETSTATS,
    STATS_FILTER_LINK_64,
    decode_stats,
)
from trafficd.links import LinkChanged, Sample
from trafficd.sandbox.libc import overwrite

# A dump of 10,000 links takes 10 ms, but the kernel can hold its lock for seconds while it takes
# thousands of links away; one that needs this long has lost the answer.
_ANSWER_SECONDS = 60.0
# The kernel drops an answer for which there is no room. So many stay inside the default receive
# buffer (net.core.rmem_default, 212,992 bytes) even at 26 KB each, where 2.3 KB are usual.
_NAMES_AT_ONCE = 8
_KERNEL_PORT = 0

_NLMSGHDR = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_GETLINK = struct.Struct("=IHHIIBxHiII")  # nlmsghdr, ifinfomsg


@dataclass(frozen=True, slots=True)
class Dump:
    """One answer to RTM_GETSTATS.

    *is_whole* is False if the set of links changed meanwhile (NLM_F_DUMP_INTR) or a part did not
    decode: what it holds is true, but a link may be missing.
    """

    sample: Sample
    malformed: int
    is_whole: bool


class LinkReader:
    """Reads links' counters and names on request, one request at a time."""

    def __init__(self, dump_socket: socket.socket) -> None:
        # asyncio wants a datagram socket, and systemd opens SOCK_RAW: netlink(7) makes no
        # difference between them, so the descriptor is only declared anew.
        declared = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE, fileno=dump_socket.detach()
        )
        declared.setblocking(False)
        self._socket = declared
        self._netlink = _AnswerSocket(family=socket.NETLINK_ROUTE, use_socket=declared)

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()
        self._socket.close()

    async def dump(self) -> Dump:
        """Return the counters of all links.

        Raises: KernelRefusedError if the kernel does not know the request, or does not answer.
        """
        message = ifstatsmsg()
        message["filter_mask"] = STATS_FILTER_LINK_64
        request = NetlinkRequest(
            self._netlink,
            message,
            msg_type=RTM_GETSTATS,
            msg_flags=NLM_F_REQUEST | NLM_F_DUMP,
            terminate=_always,
        )
        gathering = _Gathering()
        async with self._answered(request.msg_seq, gathering.take):
            await request.send()
            async for _ in request.response():
                pass
        if gathering.error:
            raise KernelRefusedError(_refusal(gathering.error))
        return Dump(gathering.sample(), gathering.malformed, gathering.is_whole)

    async def names(self, ifindexes: Sequence[int]) -> AsyncIterator[list[LinkChanged]]:
        """Yield what the kernel calls each link, some at a time; a link that is gone is left out.

        The names are views of the answers, and zeros once the next are asked for.

        Single requests, because a dump packs several answers into a datagram, and a socket filter
        cannot cut each of those behind its counters.
        """
        for start in range(0, len(ifindexes), _NAMES_AT_ONCE):
            answers = await self._ask(ifindexes[start : start + _NAMES_AT_ONCE])
            try:
                decoded = [decode_link_messages(each) for each in answers]
                events = chain.from_iterable(each.events for each in decoded)
                yield [event for event in events if isinstance(event, LinkChanged)]
            finally:
                for each in answers:
                    overwrite(each)

    async def _ask(self, ifindexes: Sequence[int]) -> list[bytes]:
        """Return what the kernel answers to a request for each link."""
        sequence = self._netlink.addr_pool.alloc()
        await self._netlink.setup_endpoint()
        self._netlink.msg_queue.ensure_tag(sequence)
        answers: list[bytes] = []

        def collect(datagram: bytes) -> bool:
            answers.append(datagram)
            return len(answers) == len(ifindexes)

        try:
            async with self._answered(sequence, collect):
                self._netlink.send(b"".join(_getlink(index, sequence) for index in ifindexes))
                async for _ in self._netlink.get(msg_seq=sequence, terminate=_always):
                    pass
        finally:
            self._netlink.msg_queue.free_tag(sequence)
            self._netlink.addr_pool.free(sequence)
        return answers

    @asynccontextmanager
    async def _answered(self, sequence: int, collect: "Collect") -> AsyncIterator[None]:
        self._netlink.await_answer(sequence, collect)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                yield
        except TimeoutError as error:
            raise KernelRefusedError(
                f"the kernel did not end its answer in {_ANSWER_SECONDS:.0f} s"
            ) from error
        if self._netlink.has_failed:
            raise KernelRefusedError("an answer of the kernel was lost: no room in the buffer")


# Takes one datagram of an answer and says whether it was the last.
Collect = Callable[[bytes], bool]


class _Gathering:
    """The answer to RTM_GETSTATS so far."""

    def __init__(self) -> None:
        # Packed, because 30,000 numbers as objects of their own are slower to come back to.
        self._parts: list[tuple[array[int], array[int], array[int]]] = []
        self.malformed = 0
        self.is_whole = True
        self.error = 0

    def take(self, datagram: bytes) -> bool:
        """Add one datagram; return whether it is the last."""
        part = decode_stats(datagram)
        # pyroute2 looks at the header of the last one still.
        overwrite(datagram, behind=HEADER_BYTES)
        self._parts.append(
            (
                array("I", part.sample.ifindexes),
                array("Q", part.sample.rx_bytes),
                array("Q", part.sample.tx_bytes),
            )
        )
        self.malformed += part.malformed
        self.is_whole = self.is_whole and not (part.malformed or part.is_interrupted)
        self.error = part.error
        return part.is_last

    def sample(self) -> Sample:
        """Return the whole answer; its parts are gone then."""
        ifindexes, rx_bytes, tx_bytes = (
            _joined(list(parts)) for parts in zip(*self._parts, strict=True)
        )
        return Sample(ifindexes, rx_bytes, tx_bytes)


def _joined(parts: "list[array[int]]") -> "array[int]":
    """Return *parts* as one, and put zeros in their place.

    One that grew would leave copies behind, wherever the allocator had it before.
    """
    kind, width = parts[0].typecode, parts[0].itemsize
    whole = array(kind, bytes(width * sum(map(len, parts))))
    place = 0
    for part in parts:
        whole[place : place + len(part)] = part
        place += len(part)
        memoryview(part).cast("B")[:] = bytes(width * len(part))
    return whole


class _AnswerSocket(AsyncNetlinkSocket):  # type: ignore[misc]  # pyroute2 has no types
    """Hands each datagram of an answer on as it comes, and wakes the request at the last.

    pyroute2's own decoder costs 90 times the kernel's work, and to wake the request for every
    datagram a third of it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.set_marshal(_EndOfAnswer())
        self.has_failed = False
        self._sequence = 0
        self._collect: Collect = lambda _datagram: False

    def await_answer(self, sequence: int, collect: Collect) -> None:
        """Give *collect* the datagrams numbered *sequence* from now on, and drop all others."""
        self._sequence = sequence
        self._collect = collect

    def enqueue(self, data: bytes, addr: tuple[int, int] | None) -> None:
        """Take one datagram from *addr*: root's programs can send to a netlink socket as well."""
        if addr is None:
            # pyroute2's own note that receiving failed: there will be no other end.
            self.has_failed = True
            super().enqueue(_NLMSGHDR.pack(HEADER_BYTES, NLMSG_ERROR, 0, self._sequence, 0), None)
        elif (
            addr[0] == _KERNEL_PORT
            and len(data) >= HEADER_BYTES
            and _NLMSGHDR.unpack_from(data)[3] == self._sequence
            and self._collect(data)
        ):
            super().enqueue(data, addr)


class _EndOfAnswer(Marshal):  # type: ignore[misc]  # pyroute2 has no types
    """What pyroute2 is told of the last datagram: that it is there."""

    def parse(
        self, data: bytes, seq: Any = None, callback: Any = None, skip_alien_seq: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield *data* as one message; its header has what pyroute2 looks at."""
        yield {"header": {"type": 0, "flags": NLM_F_MULTI, "error": None}}

    def is_enough(self, msg: dict[str, Any]) -> bool:
        """Leave the end to the request's ``terminate``."""
        return False


def _always(_message: object) -> bool:
    return True


def _getlink(ifindex: int, sequence: int) -> bytes:
    length = _GETLINK.size
    return _GETLINK.pack(length, RTM_GETLINK, NLM_F_REQUEST, sequence, 0, 0, 0, ifindex, 0, 0)


def _refusal(error: int) -> str:
    if error in (errno.EOPNOTSUPP, errno.EINVAL):
        return f"Linux {os.uname().release} does not know RTM_GETSTATS: trafficd needs 4.7 or newer"
    return f"the kernel refused RTM_GETSTATS: {os.strerror(error)}"
