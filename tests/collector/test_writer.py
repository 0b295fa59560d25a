"""Group commit, with a store that the test holds up."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.collector.pushing import AT
from trafficd.collector import writer as writing
from trafficd.collector.slices import Slice
from trafficd.collector.writer import Arrival, Outcome, Writer
from trafficd.errors import StoreError, StoreFullError
from trafficd.log import Message

SLICES = [Slice(AT, (), ())]


class SlowStore:
    """A store whose commits end when the test says so, and as it says."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.ends: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.refuses: dict[int, str] = {}

    async def append(self, batch: Sequence[Arrival]) -> Sequence[str | None]:
        numbers = [number for number, _ in batch]
        self.batches.append(numbers)
        if (error := await self.ends.get()) is not None:
            raise error
        return [self.refuses.get(number) for number in numbers]


class Told:
    """What was heard, in order: of the fleet, and of senders."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, Outcome | str]] = []

    def keep(self, number: int, _: Sequence[Slice]) -> None:
        self.events.append(("fleet", number, Outcome.STORED))

    def put(self, writer: Writer, number: int) -> bool:
        def done(outcome: Outcome | str) -> None:
            self.events.append(("sender", number, outcome))

        return writer.put(number, SLICES, done)


@pytest.fixture
async def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def writer(store: SlowStore, told: Told) -> AsyncIterator[Writer]:
    writer = Writer(store.append, told.keep)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(writer.run())
        yield writer
        running.cancel()


async def turns() -> None:
    """Let everything happen that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_nobody_is_answered_before_the_store_has_it(
    writer: Writer, store: SlowStore, told: Told
) -> None:
    told.put(writer, 1)
    await turns()
    assert (store.batches, told.events) == ([[1]], [])

    store.ends.put_nowait(None)
    await turns()
    assert told.events == [("fleet", 1, Outcome.STORED), ("sender", 1, Outcome.STORED)]


async def test_what_comes_during_a_commit_is_the_next_one(
    writer: Writer, store: SlowStore, told: Told
) -> None:
    told.put(writer, 1)
    await turns()
    for number in (2, 3, 4):
        told.put(writer, number)
    await turns()
    assert store.batches == [[1]]

    store.ends.put_nowait(None)
    store.ends.put_nowait(None)
    await turns()
    assert store.batches == [[1], [2, 3, 4]]
    assert [number for who, number, _ in told.events if who == "sender"] == [1, 2, 3, 4]


async def test_a_refused_message_of_a_batch_is_its_senders_alone(
    writer: Writer, store: SlowStore, told: Told
) -> None:
    store.refuses = {2: "another value"}
    for number in (1, 2, 3):
        told.put(writer, number)
    store.ends.put_nowait(None)
    await turns()

    outcomes = {number: outcome for who, number, outcome in told.events if who == "sender"}
    assert outcomes == {1: Outcome.STORED, 2: "another value", 3: Outcome.STORED}
    assert [number for who, number, _ in told.events if who == "fleet"] == [1, 3]


async def test_too_many_that_wait_are_turned_away_until_a_batch_is_taken(
    writer: Writer, store: SlowStore, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "MOST_WAITING", 2)
    told.put(writer, 1)
    await turns()

    assert [told.put(writer, number) for number in (2, 3, 4)] == [True, True, False]
    store.ends.put_nowait(None)
    await turns()
    assert told.put(writer, 5)
    assert store.batches == [[1], [2, 3]]


async def test_without_room_all_of_a_batch_wait_and_the_log_says_it_once(
    writer: Writer, store: SlowStore, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "trafficd"):
        for end in (StoreFullError("x"), StoreFullError("x"), None, None):
            told.put(writer, 1)
            store.ends.put_nowait(end)
            await turns()

    outcomes = [outcome for who, _, outcome in told.events if who == "sender"]
    assert outcomes == [Outcome.NO_ROOM, Outcome.NO_ROOM, Outcome.STORED, Outcome.STORED]
    said = [record.getMessage() for record in caplog.records]
    assert said == [str(Message.COLLECTOR_FULL), str(Message.COLLECTOR_ROOM)]


async def test_a_store_that_fails_otherwise_ends_the_writer(store: SlowStore, told: Told) -> None:
    writer = Writer(store.append, told.keep)
    told.put(writer, 1)
    store.ends.put_nowait(StoreError("disk I/O error"))

    with pytest.raises(StoreError, match="disk I/O error"):
        await writer.run()

    assert told.events == []
