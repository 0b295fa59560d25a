"""RTM_GETSTATS dumps and single RTM_GETLINK requests over one netlink socket."""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.marshal import Marshal
from pyroute2.netlink.nlsocket import AsyncNetlinkSocket
from pyroute2.netlink.rtnl.ifstatsmsg import ifstatsmsg

from trafficd.errors import KernelRefusedError
from trafficd.kernel.link_message import (
    NLM_F_DUMP,
    NLM_F_MULTI,
    NLM_F_REQUEST,
    RTM_GETLINK,
    RTM_NEWLINK,
    Decoded,
    decode_link_messages,
)
from trafficd.kernel.stats_message import RTM_GETSTATS, STATS_FILTER_LINK_64, decode_stats
from trafficd.links import LinkChanged, Sample

# A dump of 10,000 links takes 10 ms, but the kernel can hold its lock for seconds while it takes
# thousands of links away; one that needs this long has lost the answer.
_ANSWER_SECONDS = 60.0
# The kernel drops an answer for which there is no room. So many stay inside the default receive
# buffer (net.core.rmem_default, 212,992 bytes) even at 26 KB each, where 2.3 KB are usual.
_NAMES_AT_ONCE = 8
_KERNEL_PORT = 0

_GETLINK = struct.Struct("=IHHIIBxHiII")  # nlmsghdr, ifinfomsg
_NEWLINK_TYPE = struct.pack("=H", RTM_NEWLINK)


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
    """Reads links' counters and names on request."""

    def __init__(self, dump_socket: socket.socket) -> None:
        # asyncio wants a datagram socket, and systemd opens SOCK_RAW: netlink(7) makes no
        # difference between them, so the descriptor is only declared anew.
        declared = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM, socket.NETLINK_ROUTE, fileno=dump_socket.detach()
        )
        declared.setblocking(False)
        self._socket = declared
        self._netlink = _KernelSocket(family=socket.NETLINK_ROUTE, use_socket=declared)
        self._netlink.set_marshal(_WholeDatagrams())

    def close(self) -> None:
        """Close the socket."""
        self._netlink.close()
        self._socket.close()

    async def dump(self) -> Dump:
        """Return the counters of all links.

        Raises: KernelRefusedError if the kernel does not know the request, or does not answer.
        """
        request = ifstatsmsg()
        request["filter_mask"] = STATS_FILTER_LINK_64
        sample = Sample([], [], [])
        malformed, is_whole = 0, True
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await self._netlink.nlm_request(
                    request, RTM_GETSTATS, NLM_F_REQUEST | NLM_F_DUMP, terminate=_is_last
                )
                async for message in answer:
                    part = message["value"]
                    if part.error:
                        raise KernelRefusedError(_refusal(part.error))
                    sample.ifindexes.extend(part.sample.ifindexes)
                    sample.rx_bytes.extend(part.sample.rx_bytes)
                    sample.tx_bytes.extend(part.sample.tx_bytes)
                    malformed += part.malformed
                    is_whole = is_whole and not (part.is_interrupted or part.malformed)
        except TimeoutError as error:
            raise KernelRefusedError(
                f"the kernel did not end its answer to RTM_GETSTATS in {_ANSWER_SECONDS:.0f} s"
            ) from error
        return Dump(sample, malformed, is_whole)

    async def names(self, ifindexes: Sequence[int]) -> AsyncIterator[list[LinkChanged]]:
        """Yield what the kernel calls each link, some at a time; a link that is gone is left out.

        Single requests, because a dump packs several answers into a datagram, and a socket filter
        cannot cut each of those behind its counters.
        """
        for start in range(0, len(ifindexes), _NAMES_AT_ONCE):
            yield await self._names(ifindexes[start : start + _NAMES_AT_ONCE])

    async def _names(self, ifindexes: Sequence[int]) -> list[LinkChanged]:
        found: list[LinkChanged] = []
        sequence = self._netlink.addr_pool.alloc()
        await self._netlink.setup_endpoint()
        self._netlink.msg_queue.ensure_tag(sequence)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                self._netlink.send(b"".join(_getlink(index, sequence) for index in ifindexes))
                answers = self._netlink.get(
                    msg_seq=sequence, terminate=_after(len(ifindexes)), noraise=True
                )
                async for message in answers:
                    if isinstance(message["value"], Decoded):
                        found.extend(
                            event
                            for event in message["value"].events
                            if isinstance(event, LinkChanged)
                        )
        except TimeoutError as error:
            raise KernelRefusedError(
                f"the kernel did not answer RTM_GETLINK in {_ANSWER_SECONDS:.0f} s"
            ) from error
        finally:
            self._netlink.msg_queue.free_tag(sequence)
            self._netlink.addr_pool.free(sequence)
        return found


class _KernelSocket(AsyncNetlinkSocket):  # type: ignore[misc]  # pyroute2 has no types
    """Takes answers from the kernel only: root's programs can send to a netlink socket as well."""

    def enqueue(self, data: bytes, addr: tuple[int, int] | None) -> None:
        """Pass *data* on; *addr* is None for pyroute2's own note of a lost connection."""
        if addr is None or addr[0] == _KERNEL_PORT:
            super().enqueue(data, addr)


class _WholeDatagrams(Marshal):  # type: ignore[misc]  # pyroute2 has no types
    """Decodes a datagram at a time: pyroute2's own decoder costs 90 times the kernel's work."""

    def parse(
        self, data: bytes, seq: Any = None, callback: Any = None, skip_alien_seq: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Yield *data* as one message; its header has what pyroute2 looks at."""
        is_link = data[4:6] == _NEWLINK_TYPE
        value = decode_link_messages(data) if is_link else decode_stats(data)
        yield {"header": {"type": 0, "flags": NLM_F_MULTI, "error": None}, "value": value}

    def is_enough(self, msg: dict[str, Any]) -> bool:
        """Leave the end to the request's ``terminate``: the last datagram may hold links too."""
        return False


def _is_last(message: dict[str, Any]) -> bool:
    return bool(message["value"].is_last)


def _after(count: int) -> Callable[[object], bool]:
    """Return a predicate that holds at its *count*-th call."""
    calls = iter(range(1, count + 1))
    return lambda _message: next(calls, count) == count


def _getlink(ifindex: int, sequence: int) -> bytes:
    length = _GETLINK.size
    return _GETLINK.pack(length, RTM_GETLINK, NLM_F_REQUEST, sequence, 0, 0, 0, ifindex, 0, 0)


def _refusal(error: int) -> str:
    if error in (errno.EOPNOTSUPP, errno.EINVAL):
        return f"Linux {os.uname().release} does not know RTM_GETSTATS: trafficd needs 4.7 or newer"
    return f"the kernel refused RTM_GETSTATS: {os.strerror(error)}"
