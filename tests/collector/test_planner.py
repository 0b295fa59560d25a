"""The plan beside the collector: from a file, through a process of its own, to the page."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from pathlib import Path

import pytest

from tests.collector.storing import DAY, HOUR, MIDNIGHT, made, released
from tests.collector.test_fuzzed_ingest import placed
from tests.commands.test_collector import serving
from tests.conftest import FakeClock
from trafficd.collector import planner as module
from trafficd.collector.config import PlanningSettings
from trafficd.collector.planner import Planner
from trafficd.collector.retention import Kept
from trafficd.errors import HistoryError
from trafficd.planning.questions import Question

DAYS = 40


def filled(path: Path, *, days: int = DAYS) -> Path:
    """Return a file with a node that moves more on each day, and so many days summed up."""
    with contextlib.closing(made(path)) as store:
        moved, releases = 0, []
        for hour in range(1, days * 24 + 1):
            moved += 100_000 + 500 * (hour // 24)
            releases.append((1, [released(MIDNIGHT + hour * HOUR, moved, start=MIDNIGHT)]))
        assert not any(store.append(releases))
        while store.tidy(MIDNIGHT + (days + 1) * DAY, Kept()):
            pass
    return path


@contextlib.asynccontextmanager
async def following(path: Path, clock: FakeClock) -> AsyncIterator[Planner]:
    planner = Planner(path, PlanningSettings(), clock)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(planner.follow())
        try:
            yield planner
        finally:
            task.cancel()
    await planner.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # there is nothing else to wait on
            await asyncio.sleep(0.02)


def now(days: int = DAYS) -> FakeClock:
    return FakeClock(MIDNIGHT + days * DAY + 2 * HOUR)


async def test_a_plan_is_made_of_the_file_as_of_the_day_that_is_over(tmp_path: Path) -> None:
    async with following(filled(tmp_path / "collector.db"), now()) as planner:
        assert await planner.plan() is None
        await until(lambda: planner.latest)

        plan = await planner.plan()

    assert plan is not None
    assert plan.as_of is not None
    assert (plan.as_of - date(1970, 1, 1)).days == MIDNIGHT // DAY + DAYS - 1
    (fra,) = plan.ranking
    assert (fra.name, fra.nodes, fra.capacity_bits_per_second) == ("fra", 1, 1e10)
    last_day = 24 * (100_000 + 500 * (DAYS - 1)) * 2**20 * 8 / 86400
    shown = plan.locations["fra"].history[-1].mean_bits_per_second
    assert shown == pytest.approx(last_day, rel=0.01)


async def test_what_if_is_answered_from_the_same_process(tmp_path: Path) -> None:
    async with following(filled(tmp_path / "collector.db"), now()) as planner:
        with pytest.raises(HistoryError, match="is being computed"):
            await planner.what_if([("add", "fra:10Gbit")])
        await until(lambda: planner.latest)

        found = await planner.what_if([("add", "fra:10Gbit")])

        assert found.after[0].capacity_bits_per_second == 2e10
        with pytest.raises(HistoryError, match="no location left to carry the load"):
            await planner.what_if([("lose_location", "fra")])


async def test_the_same_plan_is_the_same_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    asked: list[object] = []

    async def watched(self: Planner, *words: object) -> object:
        asked.append(words)
        return await ask(self, *words)

    ask: Callable[..., Awaitable[object]] = Planner._ask
    monkeypatch.setattr(Planner, "_ask", watched)
    async with following(filled(tmp_path / "collector.db"), now()) as planner:
        await until(lambda: planner.latest)
        first, count = planner.latest, len(asked)

        await until(lambda: len(asked) >= count + 3)

        assert planner.latest is first


async def test_a_process_that_was_killed_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.05)
    clock = now(DAYS - 1)
    async with following(filled(tmp_path / "collector.db"), clock) as planner:
        await until(lambda: planner.latest)
        before = planner.latest
        assert planner._process is not None
        os.kill(planner._process.pid, signal.SIGKILL)

        clock.advance(DAY)
        await until(lambda: planner.latest is not before)

        assert planner.latest is not None
        assert before is not None
        assert planner.latest.as_of != before.as_of


async def test_a_file_that_is_none_keeps_the_page_waiting_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "collector.db").write_bytes(b"not a database" * 100)
    planner = Planner(tmp_path / "collector.db", PlanningSettings(), now())

    reply = await planner._ask(Question(planner._until()), 60)
    await planner.close()

    assert reply.plan is None
    assert reply.error is not None
    assert "collector.db" in reply.error


async def test_a_history_that_cannot_be_read_is_said_on_the_page(tmp_path: Path) -> None:
    (tmp_path / "collector.db").write_bytes(b"not a database" * 100)

    async with following(tmp_path / "collector.db", now()) as planner:
        await until(lambda: planner.latest)

    assert planner.latest is not None
    assert planner.latest.ranking == []
    assert "collector.db" in (planner.latest.reason or "")


async def test_a_new_process_supposes_of_the_same_fleet(tmp_path: Path) -> None:
    async with following(filled(tmp_path / "collector.db"), now()) as planner:
        await until(lambda: planner.latest)
        await planner.close()

        found = await planner.what_if([("add", "fra:10Gbit")])

    assert [each.name for each in found.after] == ["fra"]


def test_the_collector_shows_its_plan_to_people_programs_and_prometheus(tmp_path: Path) -> None:
    place = placed(tmp_path)
    # The real clock: forty days of long ago are a history that has ended.
    filled(place.database)

    with serving(place):
        asked = 0
        while (said := place.ask("GET", "/api/v1/plan"))[0] == 503 and asked < 600:
            asked += 1
            time.sleep(0.1)
        page, metrics = place.ask("GET", "/"), place.ask("GET", "/metrics")
        refused = place.ask("POST", "/")

    plan = json.loads(said[-1])
    assert [each["name"] for each in plan["ranking"]] == ["fra"]
    assert page[0] == 200
    assert plan["ranking"][0]["sentence"].split(";")[0] in page[-1]
    # Nobody counted slots: there is no percentile, and none is made up.
    assert plan["ranking"][0]["p95_bits_per_second"] is None
    assert "trafficd_plan_p95_bits_per_second{" not in metrics[-1]
    assert 'trafficd_plan_capacity_bits_per_second{location="fra"} 10000000000\n' in metrics[-1]
    assert refused[0] == 405
