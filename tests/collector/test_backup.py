"""Backups of a file that is being written, and files that are not whole."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.collector.storing import (
    DAY,
    HOUR,
    MIDNIGHT,
    START,
    TUNNEL,
    UPLINK,
    execute,
    made,
    released,
    said,
    stored,
)
from trafficd.collector.backup import back_up, verify
from trafficd.collector.retention import Kept
from trafficd.collector.store import Store
from trafficd.errors import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "collector.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """Two nodes, three runs each, three days."""
    with closing(made(path, "fra-1", "fra-2")) as store:
        for hour in range(72):
            start = MIDNIGHT + hour // 30 * 30 * HOUR
            release = released(MIDNIGHT + hour * HOUR, hour % 30, start=start)
            assert store.append([(1, [release]), (2, [release])]) == [None, None]
        while store.tidy(MIDNIGHT + 3 * DAY, Kept()):
            pass
        yield store


def test_a_backup_has_all_of_it_in_one_file(store: Store, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "backups" / "monday.db"
    target.parent.mkdir()

    back_up(path, target)

    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o600
    assert verify(target) == []
    with closing(Store(target)) as copy:
        assert stored(copy, 1) == stored(store, 1)
        assert copy.nodes() == store.nodes()
        assert list(copy.carried()) == list(store.carried())
        assert list(copy.days(1, 0, 1 << 40)) == list(store.days(1, 0, 1 << 40))


def test_a_backup_is_of_one_moment_though_others_write(
    store: Store, path: Path, tmp_path: Path
) -> None:
    done = threading.Event()

    def write_on() -> None:
        for hour in range(72, 100_000):
            store.append([(number, [released(MIDNIGHT + hour * HOUR, hour)]) for number in (1, 2)])
            if done.is_set():
                return

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        for number in range(5):
            back_up(path, tmp_path / f"{number}.db")
    finally:
        done.set()
        writer.join()

    for number in range(5):
        assert verify(tmp_path / f"{number}.db") == []
        with closing(Store(tmp_path / f"{number}.db")) as copy:
            assert stored(copy, 1) == stored(copy, 2)
            assert len(stored(copy, 1)) >= 72


def test_a_file_that_is_there_is_not_overwritten(store: Store, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "monday.db"
    target.write_text("precious")

    with pytest.raises(StoreError, match=r"monday.db: exists already; name another file"):
        back_up(path, target)

    assert target.read_text() == "precious"
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_backup_that_cannot_be_written_leaves_nothing(path: Path, store: Store) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        back_up(path, path.parent / "nowhere" / "monday.db")


def test_a_backup_that_was_cut_off_is_begun_again(store: Store, path: Path, tmp_path: Path) -> None:
    (tmp_path / "monday.db.unfinished").write_bytes(b"half of one" * 1000)

    back_up(path, tmp_path / "monday.db")

    assert verify(tmp_path / "monday.db") == []
    assert not list(tmp_path.glob("*.unfinished"))


def test_there_is_no_backup_of_nothing(tmp_path: Path) -> None:
    for command in (lambda: verify(tmp_path / "x.db"), lambda: back_up(tmp_path / "x", tmp_path)):
        with pytest.raises(StoreError, match="no such file"):
            command()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_use_verifies(store: Store, path: Path) -> None:
    assert verify(path) == []
    assert store.append([(1, [released(MIDNIGHT + 80 * HOUR, 30)])]) == [None]


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("DELETE FROM facts", "facts: a row|release: a row refers to a facts that there is not"),
        ("DELETE FROM layout", "release: a row refers to a layout that there is not"),
        ("DELETE FROM node WHERE number = 2", "a row refers to a node that there is not"),
        ("UPDATE release SET body = zeroblob(999) WHERE node = 2", "node 2: 999 bytes for"),
        ("UPDATE release SET body = x'c000' WHERE at % 7200 = 0", "below 0"),
        ("UPDATE facts SET body = x'00' WHERE node = 1", "node 1: "),
        ("UPDATE facts SET node = 1", "its facts are another node's"),
        (
            "UPDATE layout SET series = replace(series, 'uplink', 'down')",
            "layout 1: .*not a metric",
        ),
        ("UPDATE layout SET series = 'x'", "layout 1: "),
        ("UPDATE run SET started_at = 300 WHERE node = 1", "of a run that is not known"),
        (
            "UPDATE run SET body = (SELECT body FROM run ORDER BY first_at DESC LIMIT 1)",
            "more than its run ended with",
        ),
        ("UPDATE daily SET body = x'00' WHERE node = 2", "node 2, day 20000: "),
    ],
)
def test_damage_is_found(store: Store, path: Path, damage: str, finding: str) -> None:
    store.close()
    execute(path, damage)

    found = verify(path)

    assert any(re.search(finding, line) for line in found), found


def test_a_torn_page_is_found(store: Store, path: Path) -> None:
    store.close()
    with path.open("r+b") as file:
        file.seek(-2 * 4096, os.SEEK_END)
        file.write(b"\xff" * 4096)

    assert verify(path) != []


def test_another_programs_file_is_not_verified(tmp_path: Path) -> None:
    execute(tmp_path / "other.db", "CREATE TABLE accounts (name TEXT)")

    with pytest.raises(StoreError, match="another program's database"):
        verify(tmp_path / "other.db")


def test_a_backup_writes_through_no_link_that_somebody_laid(
    store: Store, path: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.write_bytes(b"not ours")
    (tmp_path / "monday.db.unfinished").symlink_to(others)

    back_up(path, tmp_path / "monday.db")

    assert others.read_bytes() == b"not ours"
    assert verify(tmp_path / "monday.db") == []


def test_a_sender_whose_totals_fall_makes_no_file_look_damaged(path: Path) -> None:
    start, tunnel = {START: float(MIDNIGHT)}, TUNNEL
    messages = [
        said(MIDNIGHT + 4 * HOUR, {tunnel: 0.0, **start}),
        said(MIDNIGHT + 2 * HOUR, start),
        said(MIDNIGHT + 3 * HOUR, start),
        said(MIDNIGHT + 3 * HOUR, {UPLINK: 9.0}),
        said(MIDNIGHT + 2 * HOUR, {tunnel: 9.0}),
        said(MIDNIGHT + 4 * HOUR, {UPLINK: 7.0}),
    ]

    with closing(made(path)) as store:
        for message in messages:
            assert store.append([(1, [message])]) == [None]

    assert verify(path) == []
