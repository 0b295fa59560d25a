"""Snappy blocks, against the library that other senders use."""

import tracemalloc

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.errors import MessageRefusedError
from trafficd.wire.remote_write import stored_block
from trafficd.wire.snappy import MOST_MESSAGE_BYTES, TooLargeError, unpacked


def packed(message: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(message))


@given(st.binary(max_size=5000), st.integers(1, 300))
def test_what_was_packed_is_unpacked(message: bytes, times: int) -> None:
    assert unpacked(packed(message * times)) == message * times
    assert unpacked(stored_block(message)) == message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(block: bytes) -> None:
    try:
        message = unpacked(block)
    except MessageRefusedError:
        return
    assert message == bytes(cramjam.snappy.decompress_raw(block))


def test_the_longest_message_is_taken_and_one_byte_more_is_not() -> None:
    assert len(unpacked(packed(b"\0" * MOST_MESSAGE_BYTES))) == MOST_MESSAGE_BYTES
    with pytest.raises(TooLargeError, match=f"at most {MOST_MESSAGE_BYTES}"):
        unpacked(packed(b"\0" * (MOST_MESSAGE_BYTES + 1)))


@pytest.mark.parametrize("declared", [1 << 21, MOST_MESSAGE_BYTES, 1 << 30, (1 << 32) - 1])
def test_a_bomb_costs_no_memory(declared: int) -> None:
    length = bytearray()
    while declared > 0x7F:
        length.append(declared & 0x7F | 0x80)
        declared >>= 7
    block = bytes(length) + bytes([declared]) + b"\0" * 100

    tracemalloc.start()
    try:
        with pytest.raises(MessageRefusedError, match="declares"):
            unpacked(block)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 100_000


@pytest.mark.parametrize("block", [b"", b"\x80", b"\xff" * 4, b"\xff" * 5, b"\xff" * 4 + b"\x1f"])
def test_a_length_that_is_none_is_refused(block: bytes) -> None:
    with pytest.raises(MessageRefusedError, match="does not begin with a length"):
        unpacked(block)


def test_a_block_that_was_cut_off_is_refused() -> None:
    with pytest.raises(MessageRefusedError, match="snappy"):
        unpacked(packed(b"0123456789" * 10)[:-1])
