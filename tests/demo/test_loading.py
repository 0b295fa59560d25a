"""The history on its way into a file: packed in one process, stored by another."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trafficd.collector.credentials import hash_of
from trafficd.collector.store import Store
from trafficd.demo import loading
from trafficd.demo.fleet import FLEET, Span
from trafficd.demo.history import fill
from trafficd.demo.loading import Loading, load

SPAN = Span(20_500 * 24 * 60 * 60 + 3 * 60 * 60, days=2, slot_days=1)
MEMBERS = FLEET[3:5]


@pytest.fixture
def seen() -> Iterator[Loading]:
    with closing(Loading()) as opened:
        yield opened


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "collector.db"
    with closing(Store(file)) as store:
        for member in MEMBERS:
            store.add_node(member.name, member.location, hash_of(member.name))
    return file


def content(file: Path) -> list[object]:
    with closing(Store(file)) as store:
        return [
            (list(store.history(known.node.number, 0, SPAN.until)), list(days))
            for known in store.nodes()
            for days in [store.days(known.node.number, 0, SPAN.until)]
        ]


def test_it_is_the_same_as_filling_the_store_here(
    database: Path, seen: Loading, tmp_path: Path
) -> None:
    with closing(Store(tmp_path / "filled.db")) as store:
        fill(store, MEMBERS, SPAN)

    assert load(database, MEMBERS, SPAN, seen.teller)

    assert content(database) == content(tmp_path / "filled.db")
    assert seen.look() == loading.ALL_PERCENT
    assert {file.name for file in tmp_path.iterdir()} == {"filled.db", "collector.db"}


def test_without_room_in_memory_it_is_made_where_it_belongs(
    database: Path, seen: Loading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_MEMORY", database.parent / "missing")

    assert load(database, MEMBERS, SPAN, seen.teller)

    assert all(content(database))
