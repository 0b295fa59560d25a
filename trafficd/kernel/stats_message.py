"""RTM_NEWSTATS datagrams to columns of counters; any bytes at all are survived.

A dump of 10,000 links is some seventy datagrams of messages that are alike but for the link and
its counters. Such a datagram is read as columns of machine words, after its other words have been
seen to be what they must; anything else is read message by message.
"""

import struct
from dataclasses import dataclass

from trafficd.kernel.link_message import HEADER_BYTES, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR
from trafficd.links import Sample

# linux/rtnetlink.h and linux/if_link.h
RTM_NEWSTATS = 92
RTM_GETSTATS = 94
IFLA_STATS_LINK_64 = 1
STATS_FILTER_LINK_64 = 1 << (IFLA_STATS_LINK_64 - 1)

_NLMSGHDR = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IF_STATS_MSG = struct.Struct("=4xII")  # family and padding, ifindex, filter mask
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_BYTES = struct.Struct("=16xQQ")  # packets received and sent, then bytes
_ERROR = struct.Struct("=i")
_LAST_BYTES = HEADER_BYTES + _ERROR.size
_COUNTERS_AT = HEADER_BYTES + _IF_STATS_MSG.size + _ATTRIBUTE.size
_SHORTEST_BYTES = _COUNTERS_AT + _BYTES.size


@dataclass(frozen=True, slots=True)
class StatsPart:
    """One datagram of a dump.

    *error* is the errno the kernel answered with, 0 if none; *is_last* closes the dump.
    """

    sample: Sample
    malformed: int = 0
    is_interrupted: bool = False
    is_last: bool = False
    error: int = 0


def decode_stats(datagram: bytes) -> StatsPart:
    """Return what *datagram* says of links' counters."""
    return _columns(datagram) or _one_by_one(datagram)


def _columns(datagram: bytes) -> StatsPart | None:
    """Read a datagram of equal messages, or return None if it is anything else."""
    if len(datagram) < _SHORTEST_BYTES:
        return None
    length, message_type, flags, _, _ = _NLMSGHDR.unpack_from(datagram)
    attribute_length, attribute_type = _ATTRIBUTE.unpack_from(datagram, _COUNTERS_AT - 4)
    if (
        length < _SHORTEST_BYTES
        or length % 8
        or len(datagram) % length
        or message_type != RTM_NEWSTATS
        or flags & NLM_F_DUMP_INTR
        or attribute_type != IFLA_STATS_LINK_64
        or attribute_length != length - _COUNTERS_AT + _ATTRIBUTE.size
    ):
        return None
    words, stride, count = memoryview(datagram).cast("Q"), length // 8, len(datagram) // length
    # Words 0, 1 and 3 are the header, and the filter mask with the attribute's header.
    for column in (0, 1, 3):
        first = datagram[column * 8 : column * 8 + 8]
        if words[column::stride].tobytes() != first * count:
            return None
    halves = memoryview(datagram).cast("I")
    return StatsPart(
        Sample(
            ifindexes=halves[5 :: stride * 2].tolist(),
            rx_bytes=words[6::stride].tolist(),
            tx_bytes=words[7::stride].tolist(),
        )
    )


def _one_by_one(datagram: bytes) -> StatsPart:
    sample = Sample([], [], [])
    malformed, error = 0, 0
    is_interrupted = is_last = False
    offset = 0
    while offset < len(datagram) and not is_last:
        if len(datagram) - offset < HEADER_BYTES:
            malformed += 1
            break
        length, message_type, flags, _, _ = _NLMSGHDR.unpack_from(datagram, offset)
        # The socket filter cuts the last two behind the error number, which is all that counts.
        needed = _LAST_BYTES if message_type in (NLMSG_DONE, NLMSG_ERROR) else length
        if length < HEADER_BYTES or offset + min(length, needed) > len(datagram):
            malformed += 1
            break
        is_interrupted = is_interrupted or bool(flags & NLM_F_DUMP_INTR)
        if message_type == RTM_NEWSTATS:
            malformed += not _add_link(sample, memoryview(datagram)[offset : offset + length])
        elif message_type in (NLMSG_DONE, NLMSG_ERROR):
            is_last = True
            if length >= _LAST_BYTES:
                error = -_ERROR.unpack_from(datagram, offset + HEADER_BYTES)[0]
        offset += (length + 3) & ~3
    return StatsPart(sample, malformed, is_interrupted, is_last, max(error, 0))


def _add_link(sample: Sample, message: memoryview) -> bool:
    """Add the link of one RTM_NEWSTATS to *sample*; False if the message makes no sense."""
    offset = HEADER_BYTES + _IF_STATS_MSG.size
    if len(message) < offset:
        return False
    ifindex, _ = _IF_STATS_MSG.unpack_from(message, HEADER_BYTES)
    while offset + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, offset)
        if length < _ATTRIBUTE.size or offset + length > len(message):
            return False
        if kind == IFLA_STATS_LINK_64 and length >= _ATTRIBUTE.size + _BYTES.size:
            rx_bytes, tx_bytes = _BYTES.unpack_from(message, offset + _ATTRIBUTE.size)
            sample.ifindexes.append(ifindex)
            sample.rx_bytes.append(rx_bytes)
            sample.tx_bytes.append(tx_bytes)
            return True
        offset += (length + 3) & ~3
    # Some links have no counters of this kind to tell; that is no fault.
    return True
