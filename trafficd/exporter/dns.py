"""Questions to a nameserver and its answers, as datagrams.

Source: RFC 1035 section 4 (messages), RFC 3596 (AAAA), RFC 6891 (the size that we take).
"""

import socket
import struct
from enum import IntEnum

from trafficd.errors import TrafficdError

_HEADER = struct.Struct("!6H")  # identity, flags, and how many of each of four kinds of record
_QUESTION_END = struct.Struct("!2H")  # type and class
_RECORD = struct.Struct("!2HIH")  # type, class, time to live, length of the data
_INTERNET = 1
_IS_ANSWER, _IS_CUT, _WANTS_RECURSION = 1 << 15, 1 << 9, 1 << 8
_CODE = 0b1111
_NO_ERROR, _NO_SUCH_NAME = 0, 3
_POINTER = 0b1100_0000
_LONGEST_LABEL, _LONGEST_NAME = 63, 253
_EDNS = 41
# What passes every path without being cut to pieces (DNS flag day 2020).
DATAGRAM_BYTES = 1232


class Kind(IntEnum):
    """The types of record that hold an address."""

    A = 1
    AAAA = 28


_FAMILIES = {Kind.A: (socket.AF_INET, 4), Kind.AAAA: (socket.AF_INET6, 16)}


class NotAnAnswerError(TrafficdError):
    """A datagram that answers nothing that was asked; whoever asked listens on."""


class NoAnswerError(TrafficdError):
    """The nameserver cannot say; the next one is asked."""


def question(identity: int, name: str, kind: Kind) -> bytes:
    """Return the datagram that asks for the addresses of *name*.

    Raises: NoAnswerError if no host can have that name.
    """
    head = _HEADER.pack(identity, _WANTS_RECURSION, 1, 0, 0, 1)
    # The record that says how long an answer may be; its name is the root's.
    size = b"\0" + _RECORD.pack(_EDNS, DATAGRAM_BYTES, 0, 0)
    return head + _asked(name, kind) + size


def addresses(answer: bytes, identity: int, name: str, kind: Kind) -> list[str]:
    """Return the addresses in the *answer* to that question; none if there is no such name.

    Raises: NotAnAnswerError if it is none to that question, NoAnswerError if it is of no use.
    """
    try:
        found, flags, questions, count, _, _ = _HEADER.unpack_from(answer)
        asked = _asked(name, kind)
        start = _HEADER.size
        if (
            found != identity
            or not flags & _IS_ANSWER
            or questions != 1
            or answer[start : start + len(asked)].lower() != asked.lower()
        ):
            raise NotAnAnswerError("a datagram that answers another question")
        if flags & _CODE == _NO_SUCH_NAME:
            return []
        if flags & _CODE != _NO_ERROR:
            raise NoAnswerError("the nameserver could not answer")
        addresses = _collected(
            answer, start + len(asked), count, kind, is_cut=bool(flags & _IS_CUT)
        )
    except (struct.error, IndexError) as error:
        raise NotAnAnswerError("a datagram that ends too soon") from error
    if not addresses and flags & _IS_CUT:
        raise NoAnswerError("the answer is longer than a datagram")
    return addresses


def _asked(name: str, kind: Kind) -> bytes:
    labels = name.rstrip(".").encode("ascii", errors="replace").split(b".")
    if len(name) > _LONGEST_NAME or not all(0 < len(each) <= _LONGEST_LABEL for each in labels):
        raise NoAnswerError("no host can have such a name")
    packed = b"".join(bytes((len(each),)) + each for each in labels)
    return packed + b"\0" + _QUESTION_END.pack(kind, _INTERNET)


def _collected(answer: bytes, place: int, count: int, kind: Kind, *, is_cut: bool) -> list[str]:
    """Return the addresses among *count* records from *place* on.

    Those of any name: an alias leads from the name that was asked to that of the address.
    """
    family, size = _FAMILIES[kind]
    found = []
    for _ in range(count):
        if is_cut and place >= len(answer):
            break
        place = _behind_name(answer, place)
        record_kind, record_class, _, length = _RECORD.unpack_from(answer, place)
        place += _RECORD.size
        data = answer[place : place + length]
        if len(data) < length:
            raise IndexError(place)
        place += length
        if (record_kind, record_class, length) == (kind, _INTERNET, size):
            found.append(socket.inet_ntop(family, data))
    return found


def _behind_name(answer: bytes, place: int) -> int:
    while length := answer[place]:
        # A pointer to the rest of a name ends it (RFC 1035 section 4.1.4).
        if length & _POINTER == _POINTER:
            return place + 2
        place += 1 + length
    return place + 1
