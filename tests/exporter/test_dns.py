"""Messages of nameservers: by the layout in RFC 1035, written out here byte by byte."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.exporter.dns import Kind, NoAnswerError, NotAnAnswerError, addresses, question

# RFC 1035 section 4.1: header; "collector.example", type A, class IN.
NAME = b"\x09collector\x07example\x00"
ASKED = NAME + b"\x00\x01\x00\x01"
ASKED_6 = NAME + b"\x00\x1c\x00\x01"
# Behind a pointer to the question's name: type, class, a minute to live, length.
TO_NAME = b"\xc0\x0c"
A = b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04"
AAAA = b"\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10"
CNAME = b"\x00\x05\x00\x01\x00\x00\x00\x3c"


def answer(*records: bytes, flags: int = 0x8180, asked: bytes = ASKED, identity: int = 7) -> bytes:
    head = struct.pack("!6H", identity, flags, 1, len(records), 0, 0)
    return head + asked + b"".join(records)


def read(message: bytes, kind: Kind = Kind.A) -> list[str]:
    return addresses(message, 7, "collector.example", kind)


def test_a_question_is_as_the_specification_draws_it() -> None:
    asked = question(7, "collector.example", Kind.A)

    # Recursion desired, one question; an OPT record (RFC 6891 section 6.1.2) for 1232 bytes.
    assert asked == (
        b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01" + ASKED
        + b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
    )  # fmt: skip
    assert ASKED_6 in question(7, "collector.example.", Kind.AAAA)


def test_all_addresses_of_an_answer_are_found() -> None:
    one, two = TO_NAME + A + b"\xc0\x00\x02\x01", TO_NAME + A + b"\xc0\x00\x02\x02"
    six = TO_NAME + AAAA + socket.inet_pton(socket.AF_INET6, "2001:db8::1")

    assert read(answer(one, two)) == ["192.0.2.1", "192.0.2.2"]
    assert read(answer(six, asked=ASKED_6), Kind.AAAA) == ["2001:db8::1"]


def test_an_alias_leads_to_the_address_behind_it() -> None:
    # collector.example is an alias of lb.example, written with a pointer to "example".
    alias = TO_NAME + CNAME + b"\x00\x05" + b"\x02lb\xc0\x16"
    address = b"\x02lb\xc0\x16" + A + b"\xc0\x00\x02\x09"

    assert read(answer(alias, address)) == ["192.0.2.9"]


def test_a_name_in_other_letters_is_the_same_name() -> None:
    found = answer(TO_NAME + A + b"\xc0\x00\x02\x01", asked=ASKED.replace(b"coll", b"COLL"))

    assert read(found) == ["192.0.2.1"]


def test_no_such_name_and_no_such_record_are_no_address() -> None:
    assert read(answer(flags=0x8183)) == []
    assert read(answer()) == []


@pytest.mark.parametrize("code", [1, 2, 4, 5, 9, 15])
def test_a_nameserver_that_cannot_say_is_not_believed(code: int) -> None:
    with pytest.raises(NoAnswerError):
        read(answer(flags=0x8180 | code))


def test_what_was_cut_is_taken_as_far_as_it_came() -> None:
    one = TO_NAME + A + b"\xc0\x00\x02\x01"
    head = struct.pack("!6H", 7, 0x8380, 1, 2, 0, 0)

    assert read(head + ASKED + one) == ["192.0.2.1"]
    with pytest.raises(NoAnswerError):
        read(head + ASKED)


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"\x00\x07\x81",
        answer(identity=8),
        answer(flags=0x0100),  # a question
        answer(asked=ASKED_6),
        answer(asked=NAME.replace(b"c", b"k") + b"\x00\x01\x00\x01"),
        answer(TO_NAME + A + b"\xc0\x00"),
        answer(b"\xc0"),
    ],
)
def test_a_datagram_that_answers_something_else_is_no_answer(other: bytes) -> None:
    with pytest.raises(NotAnAnswerError):
        read(other)


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64, ".".join(["x" * 60] * 5), ".a"])
def test_a_name_that_no_host_can_have_is_not_asked_for(name: str) -> None:
    with pytest.raises(NoAnswerError):
        question(1, name, Kind.A)


@given(st.binary(max_size=200), st.sampled_from([0x8180, 0x8380, 0x8183]), st.integers(0, 65535))
def test_no_bytes_break_it_or_make_it_wait(tail: bytes, flags: int, count: int) -> None:
    message = struct.pack("!6H", 7, flags, 1, count, 0, 0) + ASKED + tail

    try:
        found = read(message)
    except (NotAnAnswerError, NoAnswerError):
        return
    assert all(socket.inet_aton(each) for each in found)
