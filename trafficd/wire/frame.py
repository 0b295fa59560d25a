"""The frame between reader and exporter: one release, always the same size.

An exporter that comes late gets the releases before the latest as well, marked as past: they are
not for the page.

Layout, network byte order: magic and version (4 bytes), grid point, start of the run and capacity
(8 bytes each), uplink and tunnel totals (receive, transmit; 8 bytes each), one counter for each
fault (8 bytes each), the counts of slots by utilisation (receive, transmit; 4 bytes each), the
number of classes (1 byte), and a fixed number of places, each a name padded with zeros (32 bytes),
receive and transmit (8 bytes each).
"""

import struct

from trafficd.errors import MalformedFrameError
from trafficd.releases import Faults, Release, Totals, Utilisation
from trafficd.schema import MOST_CLASSES, UTILISATION_PERCENTS, WORD

_MAGIC = b"tfr3"
_PAST_MAGIC = b"tfp3"
_BUCKETS = len(UTILISATION_PERCENTS) + 1
_HEAD = struct.Struct(f"!4s10Q{2 * _BUCKETS}IB")
_CLASS = struct.Struct("!32sQQ")

FRAME_BYTES = _HEAD.size + MOST_CLASSES * _CLASS.size


def encode_frame(release: Release) -> bytes:
    """Return *release* as a frame.

    Shape: FRAME_BYTES, whatever it holds.
    """
    head = _HEAD.pack(
        _MAGIC,
        release.at,
        release.started_at,
        release.capacity_bits_per_second,
        release.uplink.rx_bytes,
        release.uplink.tx_bytes,
        release.tunnel.rx_bytes,
        release.tunnel.tx_bytes,
        release.faults.overruns,
        release.faults.malformed,
        release.faults.gaps,
        *release.utilisation.receive,
        *release.utilisation.transmit,
        len(release.classes),
    )
    classes = b"".join(
        _CLASS.pack(name.encode("ascii"), totals.rx_bytes, totals.tx_bytes)
        for name, totals in release.classes
    )
    return (head + classes).ljust(FRAME_BYTES, b"\0")


def trimmed(frame: bytes) -> bytes:
    """Return *frame* without the zeros at its end, as it is kept."""
    return frame.rstrip(b"\0")


def past_frame(kept: bytes) -> bytes:
    """Return the frame that was *trimmed*, marked as past."""
    return (_PAST_MAGIC + kept[len(_PAST_MAGIC) :]).ljust(FRAME_BYTES, b"\0")


def is_past(frame: bytes) -> bool:
    """Return whether *frame* is marked as past."""
    return frame.startswith(_PAST_MAGIC)


def decode_frame(frame: bytes) -> Release:
    """Return the release in *frame*.

    Raises: MalformedFrameError if it is not a frame of this version.
    """
    if len(frame) != FRAME_BYTES:
        raise MalformedFrameError(f"frame of {len(frame)} bytes, expected {FRAME_BYTES}")
    magic, at, started_at, capacity, *counts, class_count = _HEAD.unpack_from(frame)
    if magic not in (_MAGIC, _PAST_MAGIC):
        raise MalformedFrameError("frame of another version: upgrade reader and exporter together")
    if class_count > MOST_CLASSES:
        raise MalformedFrameError(f"frame with {class_count} classes, at most {MOST_CLASSES}")
    counts, slots = counts[:7], counts[7:]
    places = _CLASS.iter_unpack(frame[_HEAD.size : _HEAD.size + class_count * _CLASS.size])
    return Release(
        at=at,
        started_at=started_at,
        capacity_bits_per_second=capacity,
        uplink=Totals(counts[0], counts[1]),
        tunnel=Totals(counts[2], counts[3]),
        classes=tuple((_class_name(name), Totals(rx, tx)) for name, rx, tx in places),
        utilisation=Utilisation(tuple(slots[:_BUCKETS]), tuple(slots[_BUCKETS:])),
        faults=Faults(overruns=counts[4], malformed=counts[5], gaps=counts[6]),
    )


def _class_name(padded: bytes) -> str:
    name = padded.rstrip(b"\0").decode("ascii", errors="replace")
    if not WORD.fullmatch(name):
        raise MalformedFrameError("frame with a class name that is no class name")
    return name
