"""What a period costs: the commit at the least, the percentile above it."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.billed import APRIL, DAY
from trafficd.planning.commit import Bill, Standing, bill, standing


def test_the_commit_is_paid_where_less_is_used_and_the_percentile_above_it() -> None:
    below = bill(3e9, 5e9, 0.125, APRIL, APRIL.end)
    above = bill(7e9, 5e9, 0.125, APRIL, APRIL.end)

    assert below == Bill(625.0, 625.0)
    assert above == Bill(875.0, 875.0)


def test_to_date_is_the_part_for_the_time_that_is_over() -> None:
    after_ten_days = bill(7e9, 5e9, 0.10, APRIL, APRIL.begin + 10 * DAY)

    assert after_ten_days.projected == pytest.approx(700.0)
    assert after_ten_days.to_date == pytest.approx(700.0 * 10 / 30)


@pytest.mark.parametrize(("now", "share"), [(APRIL.begin - 1, 0), (APRIL.end + DAY, 1)])
def test_a_period_to_come_costs_nothing_yet_and_one_that_is_over_no_more(
    now: int, share: int
) -> None:
    assert bill(1e9, 0, 1.0, APRIL, now).to_date == 1000.0 * share


@given(
    st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 100), st.integers(0, 30 * DAY)
)
def test_a_bill_is_as_exact_fractions_have_it(
    p95: int, commit: int, price: int, seconds: int
) -> None:
    found = bill(p95, commit, price, APRIL, APRIL.begin + seconds)

    projected = Fraction(max(p95, commit) * price, 10**6)
    assert found.projected == pytest.approx(float(projected))
    assert found.to_date == pytest.approx(float(projected * seconds / (30 * DAY)))


def test_a_percentile_stands_below_a_commit_above_it_or_has_none() -> None:
    assert standing(3e9, 5e9) == Standing(2e9, 0.6)
    assert standing(6e9, 5e9) == Standing(-1e9, 1.2)
    assert standing(6e9, 0) == Standing(-6e9, None)
