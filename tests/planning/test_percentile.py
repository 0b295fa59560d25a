"""95th percentiles against sorted lists, PromQL's definition, and the slots behind the counts."""

import math
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.planning.billed import BUCKETS, NAN, counts
from trafficd.planning.node_history import Counts
from trafficd.planning.percentile import (
    Above,
    Buckets,
    Estimate,
    Method,
    Rates,
    day_percentiles,
    from_histogram,
    percentile_95,
    rank,
)
from trafficd.schema import UTILISATION_BOUNDS, UTILISATION_PERCENTS

CAPACITY = 10e9
RATES = st.lists(st.floats(0, 1.2e10), min_size=1, max_size=300)
METHODS = st.sampled_from(Method)


def histogram_quantile(quantile: float, day: Counts) -> float:
    """Return what PromQL does for a classic histogram, by its documentation.

    The buckets are cumulative; the lower end of the first is 0; in the bucket that holds the
    quantile it interpolates linearly; of the one up to +Inf it returns the lower end.
    """
    up_to_each: list[int] = np.cumsum(day).tolist()
    buckets = list(zip(map(float, UTILISATION_BOUNDS), up_to_each, strict=True))
    observed = quantile * buckets[-1][1]
    lower, before = 0.0, 0
    for upper, up_to in buckets:
        if up_to >= observed:
            if math.isinf(upper):
                return lower
            return lower + (upper - lower) * (observed - before) / (up_to - before)
        lower, before = upper, up_to
    raise AssertionError("the last bucket holds all")


@pytest.mark.parametrize(
    ("count", "method", "expected"),
    [
        (8640, Method.CEIL, 8208),
        (8640, Method.LIBRENMS, 8208),
        (8352, Method.CEIL, 7935),
        (8352, Method.LIBRENMS, 7934),
        (1, Method.CEIL, 1),
        (1, Method.LIBRENMS, 1),
        (0, Method.CEIL, 0),
        (0, Method.LIBRENMS, 0),
        (10, Method.LIBRENMS, 10),
        (30, Method.LIBRENMS, 29),
    ],
)
def test_ranks_are_those_of_the_test_vectors(count: int, method: Method, expected: int) -> None:
    assert rank(count, method) == expected


@given(st.integers(0, 10**6))
def test_ranks_are_rounded_as_their_methods_say(count: int) -> None:
    exact = Decimal(count) * 95 / 100

    assert rank(count, Method.CEIL) == math.ceil(exact)
    assert rank(count, Method.LIBRENMS) == int(exact.to_integral_value(ROUND_HALF_UP))


@given(st.lists(st.one_of(st.just(NAN), st.floats(0, 1e12)), max_size=400), METHODS)
def test_a_percentile_is_the_one_at_its_rank_of_those_known(
    rates: list[float], method: Method
) -> None:
    ranked = sorted(rate for rate in rates if not math.isnan(rate))
    if not ranked:
        with pytest.raises(IndexError, match="no slots"):
            percentile_95(np.array(rates, float), method)
        return

    assert percentile_95(np.array(rates), method) == ranked[rank(len(ranked), method) - 1]


@given(RATES, METHODS)
def test_counts_give_what_promql_does_at_the_same_rank(rates: list[float], method: Method) -> None:
    day = counts(rates, CAPACITY)

    found = from_histogram(day[np.newaxis], np.array([CAPACITY]), method)

    expected = histogram_quantile(rank(len(rates), method) / len(rates), day)
    assert found.value == pytest.approx(CAPACITY * expected, rel=1e-9)


@given(RATES, METHODS)
def test_counts_give_the_true_percentile_within_a_bucket(
    rates: list[float], method: Method
) -> None:
    found = from_histogram(counts(rates, CAPACITY)[np.newaxis], np.array([CAPACITY]), method)

    true = sorted(rates)[rank(len(rates), method) - 1]
    if found.error is None:
        assert found == Estimate(CAPACITY, None, is_above_capacity=True)
        assert true > CAPACITY
    else:
        steps = np.diff([0, *UTILISATION_PERCENTS]) / 100 * CAPACITY
        assert np.isclose(steps, found.error).any()
        assert abs(true - found.value) <= found.error * (1 + 1e-9)


@given(
    st.lists(st.tuples(RATES, st.sampled_from([1e9, 4e9, 10e9, 2.5e10])), min_size=1, max_size=5),
    METHODS,
    st.floats(0, 1.2e10),
)
def test_days_of_other_capacities_are_ranked_together(
    days: list[tuple[list[float], float]], method: Method, mark: float
) -> None:
    table = np.array([counts(rates, capacity) for rates, capacity in days])
    capacities = np.array([capacity for _, capacity in days])

    found = from_histogram(table, capacities, method)
    above = Buckets.of(table, capacities).above(mark)

    rates = sorted(rate for day, _ in days for rate in day)
    true = rates[rank(len(rates), method) - 1]
    if found.error is None:
        assert found.is_above_capacity
        assert found.value <= true
    else:
        assert abs(true - found.value) <= found.error * (1 + 1e-9)
    assert above.least <= sum(rate > mark for rate in rates) <= above.most


def test_a_step_between_two_capacities_is_no_step_of_the_percentile() -> None:
    low, high = counts([0.96e9] * 95, 1e9), counts([9.99e9] * 5, 10e9)

    found = from_histogram(np.array([low, high]), np.array([1e9, 10e9]), Method.CEIL)

    assert found.value == pytest.approx(0.96e9)
    assert found.error == pytest.approx(0.02e9)


@pytest.mark.parametrize("stated", [0.0, NAN])
def test_slots_without_a_capacity_have_no_rate(stated: float) -> None:
    day = counts([1e9] * 20, CAPACITY)

    with pytest.raises(IndexError, match="no slots"):
        from_histogram(day[np.newaxis], np.array([stated]), Method.CEIL)
    found = from_histogram(np.array([day, day]), np.array([stated, CAPACITY]), Method.CEIL)

    assert found.error == pytest.approx(0.05 * CAPACITY)
    assert found.value == pytest.approx((0.05 + 0.05 * 19 / 20) * CAPACITY)


def test_slots_of_nothing_are_above_no_rate() -> None:
    day = Buckets.of(counts([0.0] * 7, CAPACITY)[np.newaxis], np.array([CAPACITY]))

    assert day.total == 7
    assert day.above(0.0) == Above(0, 7)
    assert day.above(0.05 * CAPACITY) == Above(0, 0)


def test_slots_with_a_rate_are_counted_one_by_one() -> None:
    rates = Rates(np.array([1.0, 3.0, 2.0, 3.0]), 0.5)

    assert rates.above(2.0) == Above(2, 2)
    assert rates.percentile(Method.CEIL) == Estimate(3.0, 0.5)


@given(st.lists(st.tuples(RATES, st.sampled_from([0.0, NAN, 1e9, 10e9])), min_size=1, max_size=6))
def test_the_percentile_of_each_day_is_as_that_of_the_day_alone(
    days: list[tuple[list[float], float]],
) -> None:
    table = np.array([counts(rates, capacity or 1e9) for rates, capacity in days])
    capacities = np.array([capacity for _, capacity in days])

    found = day_percentiles(table, capacities)

    for day, value in enumerate(found):
        if capacities[day] > 0:
            alone = from_histogram(table[day : day + 1], capacities[day : day + 1], Method.CEIL)
            assert value == pytest.approx(alone.value, rel=1e-9)
        else:
            assert math.isnan(value)


def test_a_day_without_slots_has_no_percentile() -> None:
    none = np.zeros((2, BUCKETS), np.uint16)

    assert np.isnan(day_percentiles(none, np.full(2, CAPACITY))).all()
    assert len(day_percentiles(none[:0], np.empty(0))) == 0


def test_slots_of_a_day_on_which_nothing_moved_are_of_nothing() -> None:
    day = counts([0.0] * 288, CAPACITY)[np.newaxis]
    stated = np.array([CAPACITY])

    idle = from_histogram(day, stated, Method.CEIL, np.zeros(1))
    some, unknown = (
        from_histogram(day, stated, Method.CEIL, np.array([moved])) for moved in (1.0, np.nan)
    )

    assert (idle.value, idle.error) == (0.0, 0.0)
    assert some == unknown == from_histogram(day, stated, Method.CEIL)
    assert some.value > 0
    assert day_percentiles(day, stated, np.zeros(1)).tolist() == [0.0]
    assert day_percentiles(day, stated, np.ones(1)) == pytest.approx(some.value)
    assert Buckets.of(day, stated, np.zeros(1)).above(0.0).most == 0


@pytest.mark.parametrize("idle_days", [0, 5, 18, 19, 20])
def test_idle_days_count_among_others(idle_days: int) -> None:
    busy = counts([0.6 * CAPACITY] * 288, CAPACITY)
    table = np.array([counts([0.0] * 288, CAPACITY)] * idle_days + [busy] * (20 - idle_days))
    moved = np.array([0.0] * idle_days + [1e9] * (20 - idle_days))

    found = from_histogram(table, np.full(20, CAPACITY), Method.CEIL, moved)

    # One day of twenty is what lies above the percentile.
    if idle_days >= 19:
        assert found.value == 0.0
    else:
        assert 0.58 * CAPACITY < found.value <= 0.6 * CAPACITY
