"""Who writes."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.collector import credentials
from trafficd.collector.credentials import Credentials, Entry, FailureLimit, hash_of, new_token
from trafficd.collector.slices import Node

FRA, AMS = Node(1, "fra-1", "fra"), Node(2, "ams-1", "ams")


def known(*entries: Entry) -> Credentials:
    credentials = Credentials()
    credentials.replace(entries)
    return credentials


def test_a_token_has_256_random_bits_and_stands_in_a_header() -> None:
    tokens = {new_token() for _ in range(100)}

    assert len(tokens) == 100
    # RFC 4648, 5: 32 bytes are 43 characters of these.
    assert all(len(token) == 43 for token in tokens)
    assert all(set(token) <= set("-_") | set(map(chr, range(48, 123))) for token in tokens)


def test_what_is_kept_of_a_token_is_its_sha_256() -> None:
    assert hash_of("abc") == hashlib.sha256(b"abc").digest()


def test_a_token_is_its_nodes() -> None:
    fra, ams = Entry(FRA, hash_of("a"), False), Entry(AMS, hash_of("b"), True)
    both = known(fra, ams)

    assert [both.by_token(each) for each in ("a", "b", "c", "", "a ")] == [
        fra, ams, None, None, None,
    ]  # fmt: skip


@given(st.text())
def test_no_token_is_nobodys(token: str) -> None:
    assert known().by_token(token) is None


def test_a_header_of_any_bytes_is_looked_up() -> None:
    assert known().by_token(b"\xff\xfe".decode("utf-8", "surrogateescape")) is None


def test_a_certificate_is_the_one_node_that_it_names() -> None:
    fra, ams = Entry(FRA, hash_of("a"), False), Entry(AMS, hash_of("b"), False)
    both = known(fra, ams)

    assert both.by_names(["fra-1"]) == fra
    assert both.by_names(["fra-1", "fra-1", "else.example"]) == fra
    assert both.by_names(["fra-1", "ams-1"]) is None
    assert both.by_names(["fra-2"]) is None
    assert both.by_names([]) is None


def test_who_was_replaced_is_no_longer_known() -> None:
    changing = known(Entry(FRA, hash_of("old"), False))
    before = changing.version

    changing.replace([Entry(FRA, hash_of("new"), False)])

    assert changing.by_token("old") is None
    assert changing.by_token("new") is not None
    assert changing.version != before


@given(st.lists(st.floats(0, 100), max_size=50))
def test_never_more_failures_pass_than_at_once_and_what_time_brings(waits: list[float]) -> None:
    limit, now, passed = FailureLimit(), 1000.0, 0

    for wait in waits:
        now += wait
        passed += sum(limit.allow(now) for _ in range(30))

    gained = (now - 1000.0) * credentials.FAILURES_A_SECOND
    assert passed <= credentials.FAILURES_AT_ONCE + gained + 1


def test_after_a_while_failures_are_answered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "FAILURES_A_SECOND", 2.0)
    limit = FailureLimit()
    while limit.allow(50.0):
        pass

    assert [limit.allow(50.4), limit.allow(50.5), limit.allow(50.5)] == [False, True, False]
