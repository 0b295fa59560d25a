"""Pauses between tries, and what Retry-After asks for (RFC 9110, 10.2.3)."""

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.exporter.retry import Backoff, wished_seconds

NOON = 1_700_049_600  # Wed, 15 Nov 2023 12:00:00 GMT


def test_lengths_double_from_a_second_to_five_minutes() -> None:
    longest = Backoff(lambda: 1.0)

    pauses = [longest.pause_seconds() for _ in range(12)]

    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=50))
def test_a_pause_is_from_the_upper_half_of_its_length(chances: list[float]) -> None:
    drawn = iter([each for chance in chances for each in (chance, chance)])
    backoff = Backoff(lambda: next(drawn))

    for number in range(len(chances)):
        length = min(300, 2**number)
        assert length / 2 <= backoff.pause_seconds() <= length


def test_nodes_that_failed_together_do_not_come_back_together() -> None:
    nodes = [Backoff(lambda share=share: share / 100) for share in range(100)]  # type: ignore[misc]

    pauses = sorted([each.pause_seconds() for _ in range(10)][-1] for each in nodes)

    assert max(later - earlier for earlier, later in pairwise(pauses)) < 3
    assert pauses[-1] - pauses[0] > 100


def test_a_success_begins_anew() -> None:
    backoff = Backoff(lambda: 1.0)
    for _ in range(8):
        backoff.pause_seconds()

    backoff.forget()

    assert backoff.pause_seconds() == 1


@given(st.floats(0, 3600), st.floats(0, 1, exclude_max=True), st.integers(0, 20))
def test_a_wish_is_not_undercut_and_not_overdone(wish: float, chance: float, before: int) -> None:
    backoff = Backoff(lambda: chance)
    for _ in range(before):
        backoff.pause_seconds()

    pause = backoff.pause_seconds(wish)

    assert wish <= pause <= max(1.1 * wish, 300)


def test_no_wish_silences_a_node_for_long() -> None:
    assert Backoff(lambda: 0.0).pause_seconds(10.0**17) == 3600


def test_a_year_of_failures_is_still_five_minutes() -> None:
    backoff = Backoff(lambda: 1.0)

    assert [backoff.pause_seconds() for _ in range(100_000)][-1] == 300


@pytest.mark.parametrize(
    ("retry_after", "date", "wish"),
    [
        (None, None, 0),
        ("", None, 0),
        ("0", None, 0),
        ("120", None, 120),
        (" 120 ", None, 120),
        ("-5", None, 0),
        ("1.5", None, 0),
        ("soon", None, 0),
        ("\u0661\u0662", None, 0),
        ("Wed, 15 Nov 2023 12:02:00 GMT", None, 120),
        ("Wednesday, 15-Nov-23 12:02:00 GMT", None, 120),
        ("Wed Nov 15 12:02:00 2023", None, 120),
        ("Wed, 15 Nov 2023 11:00:00 GMT", None, 0),
        # A server whose clock is a day behind.
        ("Tue, 14 Nov 2023 12:02:00 GMT", "Tue, 14 Nov 2023 12:00:00 GMT", 120),
        ("Wed, 15 Nov 2023 12:02:00 GMT", "yesterday", 120),
        ("Wed, 99 Nov 2023 12:02:00 GMT", None, 0),
    ],
)
def test_retry_after_is_seconds_or_a_moment(
    retry_after: str | None, date: str | None, wish: float
) -> None:
    assert wished_seconds(retry_after, date, NOON) == wish


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this process live nine hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "JST-9")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize(
    ("retry_after", "date"),
    [
        ("Wed Nov 15 12:02:00 2023", None),
        ("Wed, 15 Nov 2023 12:02:00 GMT", "Wed Nov 15 12:00:00 2023"),
        ("Wed, 15 Nov 2023 12:02:00 -0000", None),
    ],
)
def test_a_moment_is_of_utc_wherever_this_node_is(retry_after: str, date: str | None) -> None:
    assert wished_seconds(retry_after, date, NOON) == 120


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_breaks_it(retry_after: str, date: str) -> None:
    assert wished_seconds(retry_after, date, NOON) >= 0


def test_a_number_of_any_length_is_a_number() -> None:
    assert Backoff(lambda: 0.0).pause_seconds(wished_seconds("9" * 5000, None, NOON)) == 3600
