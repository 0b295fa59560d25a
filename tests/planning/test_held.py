"""What was held back is spread: a slow oracle, and what stays as it is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.planning.held import spread_held

NAN = math.nan
BYTES = st.one_of(st.just(0), st.integers(0, 2**44))


def spread_slowly(values: list[int | None]) -> list[int | None]:
    spread = list(values)
    for end, value in enumerate(values):
        if not value:
            continue
        begin = end
        while begin > 0 and values[begin - 1] == 0:
            begin -= 1
        share, rest = divmod(value, end - begin + 1)
        for number in range(begin, end + 1):
            spread[number] = share + (1 if number - begin < rest else 0)
    return spread


@given(st.lists(st.one_of(st.none(), BYTES), max_size=60))
def test_bytes_are_spread_over_the_windows_they_were_held_in(values: list[int | None]) -> None:
    series = np.array([NAN if value is None else value for value in values], float)

    found = spread_held(series)

    expected = [NAN if value is None else value for value in spread_slowly(values)]
    np.testing.assert_array_equal(found, np.array(expected, float))


@given(st.lists(BYTES, max_size=60))
def test_not_a_byte_is_lost_or_made(values: list[int]) -> None:
    found = spread_held(np.array(values, np.int64))

    assert sum(found.tolist()) == sum(values)
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], []),
        ([0, 0, 0], [0, 0, 0]),
        ([5], [5]),
        ([7, 0, 0, 6, 0], [7, 2, 2, 2, 0]),
        ([0, 0, 8, 3], [3, 3, 2, 3]),
        ([0, NAN, 0, 4], [0, NAN, 2, 2]),
        ([4, 0, 0, NAN, 6], [4, 0, 0, NAN, 6]),
        ([0, 0.5], [0.25, 0.25]),
        ([NAN, NAN], [NAN, NAN]),
    ],
)
def test_nothing_known_ends_a_run_and_zeros_at_the_end_stay(
    values: list[float], expected: list[float]
) -> None:
    before = np.array(values, float)

    found = spread_held(before)

    np.testing.assert_array_equal(found, np.array(expected, float))
    np.testing.assert_array_equal(before, np.array(values, float))
