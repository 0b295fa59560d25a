"""Values as bytes: exact whatever they are, and short where totals are whole MiB."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.collector.storing import MIB
from trafficd.collector.store_coding import (
    compress,
    decompress,
    doubles,
    has_holes,
    lengthen,
    shorten,
    values_in,
)

_ANY = st.floats(min_value=0, allow_nan=False, allow_infinity=False)


@given(st.lists(_ANY, max_size=40))
def test_every_finite_value_comes_back_to_the_bit(values: list[float]) -> None:
    planes, body = shorten(doubles(values)), compress(doubles(values))

    read = values_in(lengthen(planes, len(values)))
    assert [struct.pack("<d", each) for each in read] == [struct.pack("<d", v) for v in values]
    assert decompress(body, len(values)) == doubles(values)


@given(st.lists(st.integers(0, 2**29 - 1), min_size=1, max_size=40))
def test_a_total_of_whole_mib_takes_five_bytes_up_to_512_tib(mib: list[int]) -> None:
    assert len(shorten(doubles([float(each * MIB) for each in mib]))) <= 5 * len(mib)


def test_a_hole_stays_a_hole() -> None:
    read = values_in(lengthen(shorten(doubles([1.0, math.nan, 0.0])), 3))

    assert (read[0], math.isnan(read[1]), read[2]) == (1.0, True, 0.0)
    assert has_holes(read)
    assert not has_holes((1.0, 0.0))


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (compress(doubles([0.1, 0.2])), 1),
        (compress(doubles([1.5]))[:-1], 1),
        (compress(doubles([1.5])) + b"x", 1),
        (b"", 1),
        (b"not compressed", 3),
    ],
)
def test_a_damaged_body_is_told(body: bytes, count: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        decompress(body, count)


def test_more_planes_than_values_are_told() -> None:
    with pytest.raises(ValueError, match="9 bytes for 1 values"):
        lengthen(bytes(9), 1)
