"""The frame: whatever a release holds, it fits, it comes back, and its size tells nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.errors import MalformedFrameError
from trafficd.releases import Faults, Release, Totals, Utilisation
from trafficd.schema import MOST_CLASSES, UTILISATION_PERCENTS
from trafficd.wire.frame import (
    FRAME_BYTES,
    decode_frame,
    encode_frame,
    is_past,
    past_frame,
    trimmed,
)

_u64 = st.integers(0, 2**64 - 1)
_totals = st.builds(Totals, _u64, _u64)
_buckets = len(UTILISATION_PERCENTS) + 1
_slots = st.lists(st.integers(0, 2**32 - 1), min_size=_buckets, max_size=_buckets).map(tuple)
_names = st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True)
_releases = st.builds(
    Release,
    at=_u64,
    started_at=_u64,
    capacity_bits_per_second=_u64,
    uplink=_totals,
    tunnel=_totals,
    classes=st.lists(
        st.tuples(_names, _totals), max_size=MOST_CLASSES, unique_by=lambda each: each[0]
    ).map(tuple),
    utilisation=st.builds(Utilisation, _slots, _slots),
    faults=st.builds(Faults, _u64, _u64, _u64),
)


@given(_releases)
def test_a_release_comes_back_from_a_frame_of_the_one_size(release: Release) -> None:
    frame = encode_frame(release)

    assert len(frame) == FRAME_BYTES
    assert decode_frame(frame) == release


@given(_releases)
def test_a_release_that_was_kept_comes_back_marked_as_past(release: Release) -> None:
    kept = trimmed(encode_frame(release))

    frame = past_frame(kept)

    assert len(frame) == FRAME_BYTES
    assert decode_frame(frame) == release
    assert [is_past(frame), is_past(encode_frame(release))] == [True, False]
    assert not kept.endswith(b"\0")


@given(st.binary(max_size=FRAME_BYTES + 10))
def test_other_bytes_are_refused(noise: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        decode_frame(noise)


@given(_releases, st.integers(0, FRAME_BYTES - 1), st.integers(1, 255))
def test_a_damaged_frame_is_refused_or_still_a_release(
    release: Release, place: int, flip: int
) -> None:
    frame = bytearray(encode_frame(release))
    frame[place] ^= flip

    try:
        decoded = decode_frame(bytes(frame))
    except MalformedFrameError:
        return

    assert all(name.isascii() for name, _ in decoded.classes)


def test_a_frame_of_another_version_says_what_to_do() -> None:
    frame = b"tfr9" + bytes(FRAME_BYTES - 4)

    with pytest.raises(MalformedFrameError, match="upgrade reader and exporter together"):
        decode_frame(frame)


def test_a_frame_that_claims_more_classes_than_fit_is_refused() -> None:
    frame = bytearray(encode_frame(Release(0, 0, 0, Totals(), Totals(), ())))
    # After magic, ten counters of 8 bytes, and two times 36 of 4 bytes.
    frame[372] = MOST_CLASSES + 1

    with pytest.raises(MalformedFrameError, match="33 classes, at most 32"):
        decode_frame(bytes(frame))
