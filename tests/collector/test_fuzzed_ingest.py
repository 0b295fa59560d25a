"""Twenty thousand bodies that nobody sends; the system tests have a million."""

from tests.collector.fuzzing import ALLOWED, fuzz
from tests.test_series import RELEASE
from trafficd.errors import Refused
from trafficd.series import series_of


def test_no_body_makes_more_of_ingest_than_a_refusal() -> None:
    taken = fuzz(20_000, seed=1)

    # Every reason there is but the one that only the store knows besides, and what is right.
    assert set(taken) == {*Refused, "taken"}
    assert taken["taken"] > 500


def test_what_may_be_stored_is_what_a_release_says() -> None:
    assert [str(each) for each, _ in series_of(RELEASE) if not ALLOWED.fullmatch(str(each))] == []
    assert not ALLOWED.fullmatch('trafficd_class_receive_bytes_total{class="192.0.2.7"}')
