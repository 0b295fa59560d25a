"""The time that one bill is for."""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trafficd.errors import HistoryError
from trafficd.schema import SLOT_SECONDS

DAY_SECONDS = 24 * 60 * 60
_EPOCH = date(1970, 1, 1)
# A month has no more days than this: a period may begin on any of them.
_LONGEST_MONTH = 31


@dataclass(frozen=True, slots=True)
class Period:
    """A time from *begin* on, up to *end*.

    Units: UTC seconds.
    """

    begin: int
    end: int

    def slots(self, seconds: int = SLOT_SECONDS) -> int:
        """Return how many slots of so many seconds it is long."""
        return max(0, self.end - self.begin) // seconds

    def whole(self, seconds: int) -> range:
        """Return the numbers of the slots of so many seconds on the UTC grid that lie within it."""
        return range(-(-self.begin // seconds), self.end // seconds)


def billing_period(on: date, first_day: int, zone: tzinfo) -> Period:
    """Return the period that holds *on*, of those that begin on *first_day* of each month.

    It begins and ends at midnight in *zone*; on the last day of a month that is shorter.
    Raises: HistoryError if no month has that day, or no calendar that period.
    """
    if not 1 <= first_day <= _LONGEST_MONTH:
        raise HistoryError(f"a billing period from day {first_day}: a month has days 1 to 31")
    months = 12 * on.year + on.month - 1
    if on.day < _day_within(on.year, on.month, first_day):
        months -= 1
    try:
        begin, end = (
            _midnight(*divmod(number, 12), first_day, zone) for number in (months, months + 1)
        )
    except (ValueError, OverflowError) as error:
        raise HistoryError(f"the billing period of {on}: no calendar goes as far") from error
    return Period(begin, end)


def day_number(day: date) -> int:
    """Return the number of a UTC day, as Period.whole counts days."""
    return (day - _EPOCH).days


def time_zone(name: str) -> tzinfo:
    """Return the time zone of that name.

    Raises: HistoryError if it is not known.
    """
    # A machine without a time zone database knows this one all the same.
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise HistoryError(
            f"time zone {name!r}: is not known here; take one like Europe/Berlin, or UTC"
        ) from error


def _midnight(year: int, month: int, first_day: int, zone: tzinfo) -> int:
    day = _day_within(year, month + 1, first_day)
    # Midnight that the clocks skip is when they do; of two it is the first (PEP 495, fold 0).
    return int(datetime(year, month + 1, day, tzinfo=zone).timestamp())


def _day_within(year: int, month: int, day: int) -> int:
    return min(day, calendar.monthrange(year, month)[1])
