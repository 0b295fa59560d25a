"""The file: made on first start, brought up to date, and left alone where it is not ours."""

import sqlite3
from pathlib import Path

import pytest

from tests.collector.storing import HOUR, MIDNIGHT, execute, made, released
from trafficd.collector import store_schema
from trafficd.collector.store import Store
from trafficd.errors import StoreError


def test_the_first_start_makes_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "collector.db"

    store = made(path)
    store.append([(1, [released(MIDNIGHT, 1)])])

    modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("collector.db", "collector.db-wal", "collector.db-shm"), 0o600)
    store.close()


def test_a_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    store = made(tmp_path / "collector.db")

    # FULL, which in this mode syncs the log at every commit: https://www.sqlite.org/wal.html
    assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 50, b"short"])
def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "collector.db"
    path.write_bytes(content)

    with pytest.raises(StoreError, match="not a database"):
        Store(path)

    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "collector.db"
    execute(path, "CREATE TABLE accounts (name TEXT)")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="another program's database"):
        Store(path)

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_versions_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "collector.db"
    made(path).close()
    execute(path, "PRAGMA user_version = 99")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="of version 99, and this trafficd knows up to 1"):
        Store(path)

    assert path.read_bytes() == before


def test_an_older_versions_file_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "collector.db"
    made(path, "fra-1").close()
    newer = (*store_schema.MIGRATIONS, "ALTER TABLE node ADD COLUMN note TEXT;\n")
    monkeypatch.setattr(store_schema, "MIGRATIONS", newer)

    store = Store(path)

    assert [known.node.name for known in store.nodes()] == ["fra-1"]
    assert execute(path, "PRAGMA user_version") == [(2,)]
    assert execute(path, "SELECT name, note FROM node") == [("fra-1", None)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "collector.db"
    made(path, "fra-1").close()
    broken = "ALTER TABLE node ADD COLUMN note TEXT;\nALTER TABLE nowhere ADD COLUMN x;\n"
    with monkeypatch.context() as patched:
        patched.setattr(store_schema, "MIGRATIONS", (*store_schema.MIGRATIONS, broken))
        with pytest.raises(StoreError, match="nowhere"):
            Store(path)

    assert execute(path, "PRAGMA user_version") == [(1,)]
    assert [known.node.name for known in Store(path).nodes()] == ["fra-1"]


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/collector.db: No such file or directory"):
        Store(tmp_path / "nowhere" / "collector.db")


def test_a_path_with_odd_letters_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=ro#%41.db"

    made(path).close()

    assert path.exists()


def test_a_lost_layout_is_told_and_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "collector.db"
    store = made(path)
    store.append([(1, [released(MIDNIGHT, 1)])])
    store.close()
    execute(path, "DELETE FROM layout")

    with pytest.raises(StoreError, match="layout 1: missing"):
        list(Store(path).history(1, 0, MIDNIGHT))


def test_a_node_is_added_once_and_again_when_it_was_revoked(tmp_path: Path) -> None:
    store = made(tmp_path / "collector.db")
    first = store.add_node("ams-1", "ams", b"a" * 32)
    store.append([(first.number, [released(MIDNIGHT, 1)])])

    with pytest.raises(StoreError, match="ams-1: is a node already"):
        store.add_node("ams-1", "ams", b"b" * 32)
    store.revoke_node("ams-1")
    with pytest.raises(StoreError, match="ams-1: not a node that may write"):
        store.revoke_node("ams-1")
    (revoked,) = (known for known in store.nodes() if known.node.name == "ams-1")
    again = store.add_node("ams-1", "lon", b"c" * 32)

    assert revoked.revoked_at is not None
    assert again.number == first.number
    (known,) = (known for known in store.nodes() if known.node.name == "ams-1")
    assert (known.node.location, known.token_hash, known.revoked_at) == ("lon", b"c" * 32, None)
    assert [each.at for each in store.history(again.number, 0, MIDNIGHT)] == [MIDNIGHT]


def test_nobody_is_revoked_who_never_was(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="fra-9: not a node that may write"):
        made(tmp_path / "collector.db").revoke_node("fra-9")


def test_a_change_by_another_process_is_noticed_and_our_own_writing_is_not(tmp_path: Path) -> None:
    path = tmp_path / "collector.db"
    daemon = made(path)
    command = Store(path)
    daemon.nodes_changed()

    quiet = daemon.nodes_changed()
    daemon.append([(1, [released(MIDNIGHT, 1)])])
    still_quiet = daemon.nodes_changed()
    command.add_node("ams-1", "ams", b"a" * 32)

    assert (quiet, still_quiet) == (False, False)
    assert daemon.nodes_changed()
    assert not daemon.nodes_changed()
    assert daemon.append([(2, [released(MIDNIGHT + HOUR, 1)])]) == [None]


def test_a_writer_waits_for_another_and_gives_up_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "collector.db"
    made(path).close()
    monkeypatch.setattr(store_schema, "_BUSY_SECONDS", 0.0)
    store = Store(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match="database is locked"):
        store.append([(1, [released(MIDNIGHT, 1)])])
    other.execute("ROLLBACK")
    other.close()

    assert store.append([(1, [released(MIDNIGHT, 1)])]) == [None]
