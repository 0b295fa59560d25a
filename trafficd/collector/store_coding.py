"""The values of a release as bytes: exact whatever they are, and short because totals are round.

Doubles, little-endian, are written byte plane by byte plane: first the highest byte of every value,
then the next, and zeros at the end are left out. Totals are whole MiB, so their low bytes are 0: up
to 512 TiB a total takes five bytes, at no cost for any other value but its length.

A layout says which series the values are of. A series that its layout has and a release lacks is a
hole, written as NaN, which no value is.
"""

import math
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter

from trafficd import schema
from trafficd.series import Series

HOLE = math.nan
START = Series(schema.START_TIMESTAMP.sample_name)
CAPACITY = Series(schema.UPLINK_CAPACITY.sample_name)

# These move at every grid point. What else there is moves once a day or less, and is a fact.
_TOTALS = frozenset(
    metric.sample_name
    for metric in (
        schema.UPLINK_RECEIVE,
        schema.UPLINK_TRANSMIT,
        schema.TUNNEL_RECEIVE,
        schema.TUNNEL_TRANSMIT,
        schema.CLASS_RECEIVE,
        schema.CLASS_TRANSMIT,
        schema.RELEASE_TIMESTAMP,
    )
)
_DOUBLE_BYTES = 8

Values = tuple[float, ...]


class Layout:
    """Series in an order, in two parts: the totals and the facts."""

    def __init__(self, number: int, series: tuple[Series, ...]) -> None:
        self.number = number
        self.series = series
        self._totals = tuple(i for i, each in enumerate(series) if each.name in _TOTALS)
        self._facts = tuple(i for i, each in enumerate(series) if each.name not in _TOTALS)
        self.totals_of = _picker(self._totals)
        self.facts_of = _picker(self._facts)
        self.total_series = tuple(series[i] for i in self._totals)
        self.total_count = len(self._totals)
        self.fact_count = len(self._facts)
        self.pack_totals = _struct(self.total_count).pack
        self.pack_facts = _struct(self.fact_count).pack
        self.no_facts = doubles((HOLE,) * self.fact_count)
        # Among the facts.
        starts = [number for number, i in enumerate(self._facts) if series[i] == START]
        self.start = starts[0] if starts else None

    def spread(self, values: Mapping[Series, float]) -> Values:
        """Return *values* in the order of the layout, with a hole where there is none."""
        return tuple([values.get(each, HOLE) for each in self.series])

    def gather(self, totals: Values, facts: Values) -> dict[Series, float]:
        """Return the values there are, by series, in the order of the layout."""
        placed = [HOLE] * len(self.series)
        for place, value in zip((*self._totals, *self._facts), (*totals, *facts), strict=True):
            placed[place] = value
        pairs = zip(self.series, placed, strict=True)
        return {series: value for series, value in pairs if not math.isnan(value)}


def doubles(values: Sequence[float]) -> bytes:
    """Return *values* as they stand in memory: what is compared, not what is stored."""
    return _struct(len(values)).pack(*values)


def values_in(memory: bytes) -> Values:
    """Return the values that doubles() was given."""
    return _struct(len(memory) // _DOUBLE_BYTES).unpack(memory)


def shorten(memory: bytes) -> bytes:
    """Return doubles plane by plane, without the zeros at the end."""
    # Written out, since every release passes here: a loop takes twice the time.
    return b"".join(
        (
            memory[7::8],
            memory[6::8],
            memory[5::8],
            memory[4::8],
            memory[3::8],
            memory[2::8],
            memory[1::8],
            memory[::8],
        )
    ).rstrip(b"\0")


def lengthen(planes: bytes, count: int) -> bytes:
    """Return the doubles of *count* values.

    Raises: ValueError if these are not their planes.
    """
    whole = whole_planes(planes, count)
    memory = bytearray(len(whole))
    for place in range(_DOUBLE_BYTES):
        memory[_DOUBLE_BYTES - 1 - place :: 8] = whole[place * count : (place + 1) * count]
    return bytes(memory)


def whole_planes(planes: bytes, count: int) -> bytes:
    """Return the byte planes of *count* values, highest bytes first, with the zeros at the end.

    Raises: ValueError if these are not their planes.
    """
    size = count * _DOUBLE_BYTES
    if len(planes) > size:
        raise ValueError(f"{len(planes)} bytes for {count} values")
    return planes.ljust(size, b"\0")


def compress(memory: bytes) -> bytes:
    """Return doubles as small as can be, for what is written once a day."""
    return zlib.compress(shorten(memory))


def decompress(body: bytes, count: int) -> bytes:
    """Return the doubles of *count* values that compress() was given.

    Raises: ValueError if it was not.
    """
    return lengthen(decompress_planes(body, count), count)


def decompress_planes(body: bytes, count: int) -> bytes:
    """Return the byte planes, without zeros at the end, of what compress() was given.

    Raises: ValueError if it was not.
    """
    unpacker = zlib.decompressobj()
    try:
        planes = unpacker.decompress(body, count * _DOUBLE_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("cut off, or more than one")
    return planes


def has_holes(values: Iterable[float]) -> bool:
    """Return whether any of *values* is a hole."""
    return math.isnan(sum(values))


@lru_cache(maxsize=256)
def _struct(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}d")


def _picker(places: tuple[int, ...]) -> Callable[[Values], Values]:
    """Return what takes the values at *places*, always as a tuple."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[place] for place in places)
