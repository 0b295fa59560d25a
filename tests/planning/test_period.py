"""Billing periods: every length of month, both changes of the clocks, and what is no period."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.errors import HistoryError
from trafficd.planning.period import Period, billing_period, day_number, time_zone

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("on", "days"),
    [
        (date(2026, 2, 28), 28),
        (date(2028, 2, 1), 29),
        (date(2026, 4, 30), 30),
        (date(2026, 12, 31), 31),
    ],
)
def test_a_month_has_its_days(on: date, days: int) -> None:
    period = billing_period(on, 1, UTC)

    assert period.slots() == days * 288
    assert datetime.fromtimestamp(period.begin, UTC).date() == on.replace(day=1)


@pytest.mark.parametrize(
    ("on", "slots"),
    [
        (date(2026, 3, 29), 8916),
        (date(2026, 10, 25), 8940),
        (date(2026, 4, 1), 8640),
        (date(2028, 2, 29), 8352),
    ],
)
def test_the_clocks_take_an_hour_in_march_and_give_one_in_october(on: date, slots: int) -> None:
    assert billing_period(on, 1, BERLIN).slots() == slots


@pytest.mark.parametrize(
    ("on", "first_day", "begin", "end"),
    [
        (date(2026, 2, 27), 31, date(2026, 1, 31), date(2026, 2, 28)),
        (date(2026, 2, 28), 31, date(2026, 2, 28), date(2026, 3, 31)),
        (date(2028, 2, 29), 30, date(2028, 2, 29), date(2028, 3, 30)),
        (date(2026, 1, 14), 15, date(2025, 12, 15), date(2026, 1, 15)),
        (date(2026, 12, 15), 15, date(2026, 12, 15), date(2027, 1, 15)),
    ],
)
def test_a_period_begins_on_its_day_or_on_the_last_of_a_shorter_month(
    on: date, first_day: int, begin: date, end: date
) -> None:
    period = billing_period(on, first_day, UTC)

    assert datetime.fromtimestamp(period.begin, UTC).date() == begin
    assert datetime.fromtimestamp(period.end, UTC).date() == end


@given(
    st.dates(date(1971, 1, 1), date(2037, 11, 30)),
    st.integers(1, 31),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Asia/Kolkata", "Asia/Beirut"]),
)
def test_every_day_is_in_one_period_and_periods_touch(on: date, first_day: int, name: str) -> None:
    zone = time_zone(name)

    period = billing_period(on, first_day, zone)

    midnight = datetime(on.year, on.month, on.day, tzinfo=zone).timestamp()
    last = datetime.fromtimestamp(period.end - 1, zone).date()
    assert period.begin <= midnight < period.end
    assert billing_period(last, first_day, zone) == period
    assert billing_period(last + timedelta(days=1), first_day, zone).begin == period.end
    assert 27 <= period.slots(86400) <= 31


def test_slots_of_the_grid_lie_wholly_within() -> None:
    period = Period(1800, 12 * 3600 + 60)

    assert period.whole(3600) == range(1, 12)
    assert period.slots(3600) == 11
    assert not period.whole(86400)
    assert Period(600, 300).slots() == 0
    assert day_number(date(1970, 1, 3)) == 2


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../passwd", "/etc/passwd", "Europe"])
def test_a_zone_nobody_knows_is_named(name: str) -> None:
    with pytest.raises(HistoryError, match="is not known here; take one like Europe/Berlin") as no:
        time_zone(name)

    assert repr(name) in str(no.value)


@pytest.mark.parametrize("first_day", [0, 32, -1])
def test_no_month_has_such_a_day(first_day: int) -> None:
    with pytest.raises(HistoryError, match=f"from day {first_day}: a month has days 1 to 31"):
        billing_period(date(2026, 1, 1), first_day, UTC)


@pytest.mark.parametrize("on", [date.min, date(9999, 12, 31)])
def test_no_calendar_goes_past_its_ends(on: date) -> None:
    with pytest.raises(HistoryError, match="no calendar goes as far"):
        billing_period(on, 2, UTC)
