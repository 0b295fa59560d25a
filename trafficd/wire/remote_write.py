"""Releases as Prometheus remote-write messages whose size tells nothing.

A message of a node differs from the one before in nothing but values and their time, so it is laid
out once, and a release only fills it in. An explicit 0 takes the room of any value, and the snappy
block around it holds the message as it is: compressed, its size would tell how much had moved.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and .../remote_write_spec_2_0/ with
the field numbers of their protobuf messages; https://protobuf.dev/programming-guides/encoding/;
https://github.com/google/snappy/blob/main/format_description.txt.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any

from trafficd import __version__, schema
from trafficd.schema import Kind
from trafficd.series import Series

_VARINT, _DOUBLE, _BYTES = 0, 1, 2
# Fields of the messages: (of v1, of v2).
_WRITE_REQUEST_TIMESERIES, _REQUEST_SYMBOLS, _REQUEST_TIMESERIES = 1, 4, 5
_LABELS, _SAMPLES, _METADATA = 1, 2, 5
_LABEL_NAME, _LABEL_VALUE = 1, 2
_SAMPLE_VALUE, _SAMPLE_TIMESTAMP = 1, 2
_METADATA_TYPE, _METADATA_HELP = 1, 3
# io.prometheus.write.v2.Metadata.MetricType
_TYPES = {Kind.COUNTER: 1, Kind.GAUGE: 2, Kind.HISTOGRAM: 3}
# Milliseconds from 1971 to 2109 are varints of this many bytes.
_TIME_BYTES = 6
_FIRST_AT, _LAST_AT = (1 << 35) // 1000 + 1, (1 << 42) // 1000
# Literals of a snappy block whose length stands in the tag, in a byte, or in two, and the most that
# two can say.
_SHORT, _BYTE_MORE, _TWO_BYTES_MORE = 60, 60 << 2, 61 << 2
_LONGEST_LITERAL = 1 << 16


class Protocol(StrEnum):
    """The version of remote write that a destination is spoken to in."""

    V1 = "v1"
    V2 = "v2"


HEADERS: Mapping[Protocol, Mapping[str, str]] = MappingProxyType(
    {
        Protocol.V1: MappingProxyType(
            {
                "Content-Type": "application/x-protobuf",
                "Content-Encoding": "snappy",
                "X-Prometheus-Remote-Write-Version": "0.1.0",
                "User-Agent": f"trafficd/{__version__}",
            }
        ),
        Protocol.V2: MappingProxyType(
            {
                "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
                "Content-Encoding": "snappy",
                "X-Prometheus-Remote-Write-Version": "2.0.0",
                "User-Agent": f"trafficd/{__version__}",
            }
        ),
    }
)


def can_be_sent(at: int) -> bool:
    """Return whether a release of *at* fits a layout: after 1970, and before 2109."""
    return _FIRST_AT <= at < _LAST_AT


class Layout:
    """The bytes of every message that holds these series once each, at one time.

    A message is a row of pieces: what never changes, the node's name, values and times. Nodes whose
    names are equally long share a layout.
    """

    def __init__(
        self, node: str, location: str, series: Sequence[Series], protocol: Protocol
    ) -> None:
        self.series = tuple(series)
        self._node = node.encode()
        pieces = _joined(
            _first_version(node, location, series)
            if protocol is Protocol.V1
            else _second_version(node, location, series)
        )
        self._struct = struct.Struct(
            "<"
            + "".join("d" if piece is _VALUE else f"{_length(piece, node)}s" for piece in pieces)
        )
        self._pieces = pieces
        self._constants = tuple(piece for piece in pieces if isinstance(piece, bytes))
        self._pick_constants = _picker(pieces, lambda piece: isinstance(piece, bytes))
        self._pick_nodes = _picker(pieces, lambda piece: piece is _NODE)
        self._pick_values = _picker(pieces, lambda piece: piece is _VALUE)
        self._pick_times = _picker(pieces, lambda piece: piece is _TIME)
        self._count_of_nodes = sum(piece is _NODE for piece in pieces)

    def pack(self, at: int, values: Iterable[float]) -> bytes:
        """Return the message of this layout's node with *values*, in the order of the series.

        Units: *at* is UTC seconds.
        Raises: ValueError unless it ``can_be_sent``.
        """
        if not can_be_sent(at):
            raise ValueError(f"{at}: no message can say a time before 1971 or after 2109")
        time = _varint(at * 1000)
        following = iter(values)
        return self._struct.pack(
            *(
                piece
                if isinstance(piece, bytes)
                else self._node
                if piece is _NODE
                else time
                if piece is _TIME
                else next(following)
                for piece in self._pieces
            )
        )

    def unpack(self, node: bytes, message: bytes) -> tuple[int, tuple[float, ...]] | None:
        """Return the time and the values in *message*, or None if it is not laid out like this.

        *node* has to be its name, which is as long as that of the node this was made for.
        Units: the time is UTC milliseconds.
        """
        if len(message) != self._struct.size:
            return None
        found = self._struct.unpack(message)
        times = self._pick_times(found)
        if (
            self._pick_constants(found) != self._constants
            or self._pick_nodes(found) != (node,) * self._count_of_nodes
            or times.count(times[0]) != len(times)
        ):
            return None
        time = _time(times[0])
        return None if time is None else (time, self._pick_values(found))


def stored_block(message: bytes) -> bytes:
    """Return *message* as a snappy block that holds it uncompressed: all of it are literals."""
    block = bytearray(_varint(len(message)))
    for start in range(0, len(message), _LONGEST_LITERAL):
        literal = message[start : start + _LONGEST_LITERAL]
        block += _literal_head(len(literal) - 1) + literal
    return bytes(block)


def _literal_head(length_less_one: int) -> bytes:
    # The shortest that can say it: some decoders read past the end of a short block else.
    if length_less_one < _SHORT:
        return struct.pack("<B", length_less_one << 2)
    if length_less_one < 1 << 8:
        return struct.pack("<BB", _BYTE_MORE, length_less_one)
    return struct.pack("<BH", _TWO_BYTES_MORE, length_less_one)


# ---- the pieces of a message ----


class _Changing:
    """A piece that is another in each message, or for each node."""


_NODE, _VALUE, _TIME = _Changing(), _Changing(), _Changing()
_Piece = bytes | _Changing


def _first_version(node: str, location: str, series: Iterable[Series]) -> Iterator[_Piece]:
    """Yield the pieces of a prometheus.WriteRequest."""
    for each in series:
        parts: list[_Piece] = []
        for name, value in _labels(each, location):
            label: list[_Piece] = _text(_LABEL_NAME, name)
            label += [_head(_LABEL_VALUE, _length(value, node)), value]
            parts += _field(_LABELS, label, node)
        parts += _sample(node)
        yield from _field(_WRITE_REQUEST_TIMESERIES, parts, node)


def _second_version(node: str, location: str, series: Sequence[Series]) -> Iterator[_Piece]:
    """Yield the pieces of an io.prometheus.write.v2.Request.

    Shape: the table of symbols begins with the empty one; the node's name stands in it once.
    """
    symbols: dict[_Piece, int] = {b"": 0}

    def symbol(piece: _Piece) -> bytes:
        return _varint(symbols.setdefault(piece, len(symbols)))

    written: list[_Piece] = []
    for each in series:
        references = b"".join(
            symbol(name.encode()) + symbol(value) for name, value in _labels(each, location)
        )
        kind, text = _METADATA_OF[each.name]
        metadata = _head(_METADATA_TYPE, _TYPES[kind], wire_type=_VARINT)
        metadata += _tag(_METADATA_HELP, _VARINT) + symbol(text.encode())
        parts: list[_Piece] = [*_field(_LABELS, [references], node), *_sample(node)]
        parts += _field(_METADATA, [metadata], node)
        written += _field(_REQUEST_TIMESERIES, parts, node)
    for piece in symbols:
        yield from (_head(_REQUEST_SYMBOLS, _length(piece, node)), piece)
    yield from written


def _labels(series: Series, location: str) -> list[tuple[str, _Piece]]:
    """Return all labels of *series*, sorted by name as both versions demand."""
    return sorted(
        [
            ("__name__", series.name.encode()),
            ("location", location.encode()),
            ("node", _NODE),
            *((name, value.encode()) for name, value in series.labels),
        ],
        key=itemgetter(0),
    )


def _sample(node: str) -> list[_Piece]:
    sample: list[_Piece] = [
        *(_tag(_SAMPLE_VALUE, _DOUBLE), _VALUE),
        *(_tag(_SAMPLE_TIMESTAMP, _VARINT), _TIME),
    ]
    return _field(_SAMPLES, sample, node)


def _text(number: int, text: str) -> list[_Piece]:
    encoded = text.encode()
    return [_head(number, len(encoded)), encoded]


def _field(number: int, pieces: Sequence[_Piece], node: str) -> list[_Piece]:
    return [_head(number, sum(_length(piece, node) for piece in pieces)), *pieces]


def _head(number: int, value: int, *, wire_type: int = _BYTES) -> bytes:
    """Return a field's tag and its length, or its value if it is a number."""
    return _tag(number, wire_type) + _varint(value)


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _length(piece: _Piece, node: str) -> int:
    if isinstance(piece, bytes):
        return len(piece)
    return {_NODE: len(node), _VALUE: 8, _TIME: _TIME_BYTES}[piece]


def _joined(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Return *pieces* with those joined that never change."""
    joined: list[_Piece] = []
    for piece in pieces:
        if joined and isinstance(piece, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _picker(pieces: Sequence[_Piece], is_wanted: Any) -> Any:
    """Return what takes the wanted pieces out of a whole row, as a tuple."""
    places = [number for number, piece in enumerate(pieces) if is_wanted(piece)]
    if len(places) == 1:
        (only,) = places
        return lambda row: (row[only],)
    return itemgetter(*places)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


# Thousands of nodes say the same one.
@lru_cache(maxsize=256)
def _time(encoded: bytes) -> int | None:
    """Return the varint that *encoded* is, or None if it is not one of that length."""
    *more, last = encoded
    if last > 0x7F or any(each < 0x80 for each in more):
        return None
    return sum((each & 0x7F) << 7 * place for place, each in enumerate(encoded))


_METADATA_OF = {
    name: (metric.kind, metric.help)
    for metric in (*schema.METRICS, *schema.PUSH_METRICS)
    for name in (
        [f"{metric.name}_bucket", f"{metric.name}_count"]
        if metric.kind is Kind.HISTOGRAM
        else [metric.sample_name]
    )
}
