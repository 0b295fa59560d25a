"""A checkpoint in one of two slots, and a log of what happened since, in memory that is mapped.

A process may be killed between any two bytes it writes, and its successor finds the memory as it
was then. So a checkpoint is written beside the one in force and counts from the moment its head is
whole; a record of the log counts once its checksum is. Nothing has to be flushed: the memory is the
page cache itself, and a host that goes down takes it along.

What is superseded is overwritten with zeros at once: links that were closed before a checkpoint
stand nowhere in the memory once it is written.

Layout, host order: a heading (4 KiB), two slots, the log. The heading says how much of each may
hold anything, so that a successor can clear up behind a process that was killed at it. A slot is a
head (magic, version, sequence, length and CRC-32 of head and content) and its content. A record is
the sequence of the checkpoint that it follows, its CRC-32, and its content; all have one length.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from trafficd.continuity.records import RECORD_BYTES
from trafficd.errors import StateError

# Chosen: room for 100,000 links beside 31 days of releases at the shortest window with every class
# there can be; what is not used takes no memory.
SLOT_BYTES = 24 << 20
# Chosen: 30,000 events, more than come in a second; a log that is full costs a checkpoint.
LOG_BYTES = 3 << 20
_HEADING_BYTES = 4096
STATE_BYTES = _HEADING_BYTES + 2 * SLOT_BYTES + LOG_BYTES

VERSION = 1
_HEADING = b"trafficd reader state; see README.md, Continuity\n"
# Behind the heading's words.
_MARKS_AT = 256
_MARK = struct.Struct("=Q")
_MAGIC = b"tfcp"
_HEAD = struct.Struct("=4sIQQI")
_RECORD_HEAD = struct.Struct("=QI")
_WHOLE_RECORD_BYTES = _RECORD_HEAD.size + RECORD_BYTES


@dataclass(frozen=True, slots=True)
class Recovered:
    """The newest whole checkpoint, and the records logged since, in order."""

    checkpoint: bytes
    records: tuple[bytes, ...]


class Journal:
    """The slots and the log in a piece of memory."""

    def __init__(self, memory: memoryview) -> None:
        """Take over *memory*, STATE_BYTES of it, as whoever had it before has left it."""
        self._heading = memory[:_HEADING_BYTES]
        first = _Area(memory[_HEADING_BYTES:][:SLOT_BYTES], self._heading, 0)
        second = _Area(memory[_HEADING_BYTES + SLOT_BYTES :][:SLOT_BYTES], self._heading, 1)
        self._log = _Area(memory[_HEADING_BYTES + 2 * SLOT_BYTES :], self._heading, 2)
        # The slot of the checkpoint in force, and that of the next one.
        self._slots = first, second
        self._sequence = 0

    def recover(self) -> Recovered | None:
        """Return what was left here, if there is a whole checkpoint; called once, at first.

        Raises: StateError if a newer version wrote it.
        """
        self._heading[: len(_HEADING)] = _HEADING
        sequences = [_sequence(slot.memory) for slot in self._slots]
        if not any(sequences):
            self.forget()
            return None
        in_force, next_one = self._slots if sequences[0] > sequences[1] else self._slots[::-1]
        self._slots, self._sequence = (in_force, next_one), max(sequences)
        next_one.wipe()
        length = _HEAD.unpack_from(in_force.memory)[3]
        records = tuple(self._records())
        self._log.wipe(behind=len(records) * _WHOLE_RECORD_BYTES)
        return Recovered(bytes(in_force.memory[_HEAD.size : _HEAD.size + length]), records)

    def checkpoint(self, content: bytes) -> bool:
        """Have *content* be what is recovered, and forget all that was before it.

        Returns False, and changes nothing, if there is no room for so much.
        """
        if len(content) > SLOT_BYTES - _HEAD.size:
            return False
        before, slot = self._slots
        sequence = self._sequence + 1
        head = _HEAD.pack(_MAGIC, VERSION, sequence, len(content), 0)
        checksum = zlib.crc32(content, zlib.crc32(head))
        slot.write(_HEAD.size, content)
        slot.write(0, _HEAD.pack(_MAGIC, VERSION, sequence, len(content), checksum))
        # From here on it counts, and the records of the one before do not.
        self._slots, self._sequence = (slot, before), sequence
        before.wipe()
        self._log.wipe()
        return True

    def forget(self) -> None:
        """Have nothing be recovered."""
        for each in (*self._slots, self._log):
            each.wipe()

    def log(self, record: bytes) -> bool:
        """Add *record*; return False if the log is full, which a checkpoint mends."""
        place = self._log.used_bytes
        if place + _WHOLE_RECORD_BYTES > len(self._log.memory):
            return False
        self._log.write(place + _RECORD_HEAD.size, record)
        checksum = zlib.crc32(record, self._sequence)
        self._log.write(place, _RECORD_HEAD.pack(self._sequence, checksum))
        return True

    def _records(self) -> Iterator[bytes]:
        memory = self._log.memory
        for place in range(0, len(memory) - _WHOLE_RECORD_BYTES + 1, _WHOLE_RECORD_BYTES):
            sequence, checksum = _RECORD_HEAD.unpack_from(memory, place)
            record = bytes(memory[place + _RECORD_HEAD.size : place + _WHOLE_RECORD_BYTES])
            if sequence != self._sequence or zlib.crc32(record, sequence) != checksum:
                return
            yield record


class _Area:
    """A piece of the memory, and how much of its beginning may hold anything."""

    def __init__(self, memory: memoryview, heading: memoryview, number: int) -> None:
        self.memory = memory
        self._mark = heading[_MARKS_AT + number * _MARK.size :][: _MARK.size]
        self.used_bytes = min(_MARK.unpack(self._mark)[0], len(memory))

    def write(self, place: int, content: bytes) -> None:
        """Write *content* at *place*, and note first that there will be something."""
        end = place + len(content)
        if end > self.used_bytes:
            self._note(end)
        self.memory[place:end] = content

    def wipe(self, behind: int = 0) -> None:
        """Put zeros in the place of what stands *behind* so many bytes."""
        if self.used_bytes > behind:
            self.memory[behind : self.used_bytes] = bytes(self.used_bytes - behind)
        self._note(behind)

    def _note(self, used_bytes: int) -> None:
        self.used_bytes = used_bytes
        _MARK.pack_into(self._mark, 0, used_bytes)


def _sequence(slot: memoryview) -> int:
    """Return the sequence of the checkpoint in *slot*, 0 if there is no whole one.

    Raises: StateError if a newer version wrote it.
    """
    magic, version, sequence, length, checksum = _HEAD.unpack_from(slot)
    if magic != _MAGIC or length > SLOT_BYTES - _HEAD.size:
        return 0
    head = _HEAD.pack(magic, version, sequence, length, 0)
    if zlib.crc32(slot[_HEAD.size : _HEAD.size + length], zlib.crc32(head)) != checksum:
        return 0
    if version > VERSION:
        raise StateError(
            f"state: of version {version}, and this trafficd reads up to {VERSION}; install the"
            " newer one again, or remove the state to begin a new run of totals"
        )
    return int(sequence)
