"""A full disk: nothing is half-written, and all goes on when there is room."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.collector.storing import HOUR, MIDNIGHT, made, released, stored
from trafficd.collector.backup import verify
from trafficd.collector.slices import Slice
from trafficd.collector.store import Store
from trafficd.errors import StoreFullError

REPOSITORY = Path(__file__).parents[2]
BATCH = 20
MOST_BATCHES = 1000


def batch(number: int) -> list[tuple[int, list[Slice]]]:
    """The releases of some hours, with a boot now and then, so that every table grows."""
    return [
        (1, [released(MIDNIGHT + hour * HOUR, hour % 7, start=MIDNIGHT + (hour - hour % 7) * HOUR)])
        for hour in range(number * BATCH + 1, (number + 1) * BATCH + 1)
    ]


def fill(store: Store) -> int:
    """Store batches until there is no room, and return how many there was room for."""
    for number in range(MOST_BATCHES):
        try:
            answers = store.append(batch(number))
        except StoreFullError:
            return number
        assert answers == [None] * BATCH
    raise AssertionError("it never got full")


def has_exactly(store: Store, batches: int) -> bool:
    expected = [slices[0] for number in range(batches) for _, slices in batch(number)]
    return list(store.history(1, 0, 1 << 40)) == expected


def fill_and_make_room(directory: Path) -> None:
    """The whole story on a small file system of its own; the path of a mount point comes in."""
    path = directory / "collector.db"
    ballast = directory / "ballast"
    ballast.write_bytes(bytes(200_000))
    store = made(path)

    there = fill(store)
    assert there > 0
    for _ in range(3):
        with pytest.raises(StoreFullError, match="no room left"):
            store.append(batch(there))
    assert has_exactly(store, there)

    ballast.unlink()
    assert store.append(batch(there)) == [None] * BATCH
    assert has_exactly(store, there + 1)
    store.close()
    with closing(Store(path)) as again:
        assert has_exactly(again, there + 1)
    assert verify(path) == []


@pytest.mark.kernel
def test_a_full_file_system_takes_nothing_in_half_and_recovers(tmp_path: Path) -> None:
    # In a mount namespace of its own: nobody else sees the small file system.
    inside = f"mount -t tmpfs -o size=1500k tmpfs {tmp_path} && exec {sys.executable} -m {__name__}"

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{inside} {tmp_path}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=REPOSITORY,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_file_that_may_not_grow_takes_nothing_in_half_and_recovers(tmp_path: Path) -> None:
    store = made(tmp_path / "collector.db")
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    there = fill(store)
    assert there > 0
    assert has_exactly(store, there)

    store._connection.execute("PRAGMA max_page_count = 1000000")
    assert store.append(batch(there)) == [None] * BATCH
    assert has_exactly(store, there + 1)
    store.close()
    assert verify(tmp_path / "collector.db") == []


def test_a_store_without_room_still_answers(tmp_path: Path) -> None:
    store = made(tmp_path / "collector.db")
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 5}")

    there = fill(store)

    assert len(stored(store, 1)) == there * BATCH
    assert [node.name for node, _ in store.latest()] == ["fra-1"]


if __name__ == "__main__":
    fill_and_make_room(Path(sys.argv[1]))
