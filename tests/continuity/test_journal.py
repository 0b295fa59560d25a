"""The journal against a killer that stops it between any two bytes it writes."""

import itertools
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficd.continuity import journal as module
from trafficd.continuity.journal import LOG_BYTES, SLOT_BYTES, STATE_BYTES, Journal
from trafficd.continuity.records import RECORD_BYTES
from trafficd.errors import StateError
from trafficd.sandbox.libc import map_memory


class KillError(Exception):
    """What stands for a SIGKILL: nothing of the journal runs afterwards."""


class Killer:
    """Lets so many bytes be written, of the wipes as well, and then kills."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        self._left = most
        area = module._Area

        def put(memory: memoryview, place: int, content: bytes) -> None:
            written = min(self._left, len(content))
            memory[place : place + written] = content[:written]
            self._left -= written
            if written < len(content):
                raise KillError

        def write(this: module._Area, place: int, content: bytes) -> None:
            end = place + len(content)
            if end > this.used_bytes:
                note(this, end)
            put(this.memory, place, content)

        def wipe(this: module._Area, behind: int = 0) -> None:
            if this.used_bytes > behind:
                put(this.memory, behind, bytes(this.used_bytes - behind))
            note(this, behind)

        def note(this: module._Area, used_bytes: int) -> None:
            this.used_bytes = used_bytes
            put(this._mark, 0, module._MARK.pack(used_bytes))

        monkeypatch.setattr(area, "write", write)
        monkeypatch.setattr(area, "wipe", wipe)


def record(number: int) -> bytes:
    return bytes([number % 255 + 1]) * RECORD_BYTES


def written(memory: memoryview) -> bytes:
    """Return the beginnings of the slots and the log, where all of these tests is written."""
    starts = [module._HEADING_BYTES + number * SLOT_BYTES for number in range(3)]
    return b"".join(bytes(memory[start : start + 4096]) for start in starts)


def in_force(memory: memoryview) -> tuple[bytes, tuple[bytes, ...]] | None:
    found = Journal(memory).recover()
    return None if found is None else (found.checkpoint, found.records)


def test_what_was_checkpointed_and_logged_since_is_recovered() -> None:
    memory = map_memory(STATE_BYTES)
    journal = Journal(memory)
    assert journal.recover() is None
    for content in (b"first", b"second, and longer", b"third"):
        assert journal.checkpoint(content)
        assert journal.log(record(1))
        assert journal.log(record(2))

    assert in_force(memory) == (b"third", (record(1), record(2)))
    assert in_force(memory) == (b"third", (record(1), record(2)))


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_kill_at_any_byte_leaves_the_old_or_the_new_and_nothing_else(
    generation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [bytes([64 + number]) * (20 + 7 * number) for number in range(5)]
    outcomes = set()
    for most in itertools.count():
        memory = map_memory(STATE_BYTES)
        journal = Journal(memory)
        journal.recover()
        for content in contents[:generation]:
            journal.checkpoint(content)
            journal.log(record(1))
        old = (contents[generation - 1], (record(1),))
        new = (contents[generation], ())
        with monkeypatch.context() as patched:
            Killer(patched, most)
            try:
                journal.checkpoint(contents[generation])
                was_killed = False
            except KillError:
                was_killed = True
        found = in_force(memory)
        assert found in (old, new)
        outcomes.add(found)
        # And whoever comes next goes on, and leaves nothing behind of what was superseded.
        successor = Journal(memory)
        successor.recover()
        successor.checkpoint(b"after")
        rest = written(memory)
        assert b"after" in rest
        assert not any(content in rest for content in contents)
        assert record(1) not in rest
        if not was_killed:
            break

    assert outcomes == {old, new}


def test_a_kill_at_any_byte_of_a_record_leaves_it_out_or_has_it_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes = set()
    for most in itertools.count():
        memory = map_memory(STATE_BYTES)
        journal = Journal(memory)
        journal.recover()
        journal.checkpoint(b"content")
        journal.log(record(1))
        with monkeypatch.context() as patched:
            Killer(patched, most)
            try:
                journal.log(record(2))
                was_killed = False
            except KillError:
                was_killed = True
        found = in_force(memory)
        assert found is not None
        outcomes.add(found[1])
        successor = Journal(memory)
        successor.recover()
        successor.log(record(3))
        assert in_force(memory) == (b"content", (*found[1], record(3)))
        if not was_killed:
            break

    assert outcomes == {(record(1),), (record(1), record(2))}


@given(st.data())
def test_a_damaged_checkpoint_is_dropped_and_never_guessed_at(data: st.DataObject) -> None:
    memory = map_memory(STATE_BYTES)
    journal = Journal(memory)
    journal.recover()
    journal.checkpoint(b"the only one there is")
    journal.log(record(1))
    places = [
        place
        for place in range(
            module._HEADING_BYTES, module._HEADING_BYTES + 2 * SLOT_BYTES, SLOT_BYTES
        )
        if memory[place]
    ]
    assert len(places) == 1
    at = places[0] + data.draw(st.integers(0, module._HEAD.size + 20))
    memory[at] ^= data.draw(st.integers(1, 255))

    assert in_force(memory) is None


def test_a_log_that_is_full_says_so_and_a_checkpoint_makes_room() -> None:
    journal = Journal(map_memory(STATE_BYTES))
    journal.recover()
    journal.checkpoint(b"content")
    count = 0
    while journal.log(record(count)):
        count += 1

    assert count == LOG_BYTES // (RECORD_BYTES + 12) >= 25_000
    assert journal.checkpoint(b"more")
    assert journal.log(record(0))


def test_what_has_no_room_changes_nothing() -> None:
    memory = map_memory(STATE_BYTES)
    journal = Journal(memory)
    journal.recover()
    journal.checkpoint(b"content")

    assert not journal.checkpoint(bytes(SLOT_BYTES))
    assert in_force(memory) == (b"content", ())


def test_a_newer_version_is_refused_and_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = map_memory(STATE_BYTES)
    with monkeypatch.context() as newer:
        newer.setattr(module, "VERSION", module.VERSION + 1)
        journal = Journal(memory)
        journal.recover()
        journal.checkpoint(b"of tomorrow")
    before = zlib.crc32(memory)

    with pytest.raises(StateError, match=r"version 2.* reads up to 1; install the newer"):
        Journal(memory).recover()
    assert zlib.crc32(memory) == before


def test_memory_of_random_bytes_is_no_state() -> None:
    memory = map_memory(STATE_BYTES)
    memory[: 1 << 16] = random.Random(3).randbytes(1 << 16)

    assert in_force(memory) is None
    assert Journal(memory).checkpoint(b"content")
    assert in_force(memory) == (b"content", ())
