"""Numbers as people read them."""

from datetime import date

import pytest

from trafficd.planning.wording import NOTHING, change, counted, day, rate, share, some


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0.0, "0 bit/s"),
        (999.4, "999 bit/s"),
        (999.6, "1.00 kbit/s"),
        (1_234_567.0, "1.23 Mbit/s"),
        (99.96e6, "100 Mbit/s"),
        (999.4e6, "999 Mbit/s"),
        (999.6e6, "1.00 Gbit/s"),
        (12.34e9, "12.3 Gbit/s"),
        (4e15, "4000 Tbit/s"),
        (None, NOTHING),
    ],
)
def test_a_rate_has_three_digits_and_its_unit(bits: float | None, words: str) -> None:
    assert rate(bits) == words


@pytest.mark.parametrize(
    ("part", "words"), [(0.0, "0.0 %"), (0.0994, "9.9 %"), (0.0996, "10 %"), (1.25, "125 %")]
)
def test_a_share_is_a_percentage(part: float, words: str) -> None:
    assert share(part) == words


def test_what_is_not_known_is_a_dash_and_what_is_is_written_out() -> None:
    assert share(None) == day(None) == NOTHING
    assert day(date(2026, 11, 24)) == "2026-11-24"
    assert (change(0.123), change(-0.5), change(0.0)) == ("+12 %", "-50 %", "+0 %")
    assert (counted(0), counted(1), counted(400)) == ("0 days", "1 day", "400 days")


def test_of_many_names_there_are_some() -> None:
    names = [f"fra-{number}" for number in range(1, 15)]

    assert some([]) == "none"
    assert some(names[:12]) == ", ".join(names[:12])
    assert some(names, 2) == "fra-1, fra-2, …"
