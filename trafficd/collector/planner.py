"""The plan that the page shows: asked of a process of its own, and kept until there is a newer one.

That process has all the numbers of the history in memory, and may take seconds for them. It begins
when the collector serves, ends with it, and begins again if it ended by itself; until then the page
shows what was said last.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import msgspec

from trafficd.clock import Clock
from trafficd.collector.config import PlanningSettings
from trafficd.errors import HistoryError
from trafficd.planning.document import Plan, WhatIf
from trafficd.planning.questions import LENGTH_BYTES, Question, Reply, Settings

# How old what the page says of a node's last release may be, on the collector's clock.
_LOOK_SECONDS = 300.0
# A first look may have to read years of a thousand nodes.
_PLAN_SECONDS, _WHAT_IF_SECONDS = 900.0, 60.0
_AGAIN_SECONDS = 10.0
_END_SECONDS = 2.0
_AWAY = "the plan cannot be computed at the moment; try again in a minute"


class _AwayError(Exception):
    """The process ended, or takes too long."""


class Planner:
    """The last plan, and the process that makes the next."""

    def __init__(self, database: Path, settings: PlanningSettings, clock: Clock) -> None:
        self._settings = Settings(
            str(database),
            tuple(map(float, settings.thresholds)),
            float(settings.order_at),
            settings.lead_time.days,
        )
        self._clock = clock
        self._plan: Plan | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def latest(self) -> Plan | None:
        """The last plan; None before the first."""
        return self._plan

    async def plan(self) -> Plan | None:
        """Return the last plan, the same object until there is another."""
        return self._plan

    async def what_if(self, supposed: Sequence[tuple[str, str]]) -> WhatIf:
        """Return the ranking with what is *supposed*.

        Raises: HistoryError with a sentence if it makes no sense, or cannot be had now.
        """
        if self._plan is None:
            raise HistoryError("the plan is being computed; try again in a moment")
        question = Question(self._until(), [(kind, value) for kind, value in supposed])
        try:
            reply = await self._ask(question, _WHAT_IF_SECONDS)
        except _AwayError as error:
            raise HistoryError(_AWAY) from error
        if reply.what_if is None:
            raise HistoryError(reply.error or _AWAY)
        return reply.what_if

    async def follow(self) -> NoReturn:
        """Have a plan made as of each day that is over, and now and then, for ever."""
        while True:
            pause = _LOOK_SECONDS
            try:
                reply = await self._ask(Question(self._until()), _PLAN_SECONDS)
                if reply.plan is not None:
                    self._plan = reply.plan
                elif reply.error is not None:
                    pause = _AGAIN_SECONDS
                    self._plan = self._plan or self._nothing(reply.error)
            except _AwayError:
                pause = _AGAIN_SECONDS
            await asyncio.sleep(pause / self._clock.speed)

    async def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()

    def _nothing(self, reason: str) -> Plan:
        """Return a plan that says why there is none."""
        return Plan(
            as_of=None,
            history_begins=None,
            lead_days=self._settings.lead_days,
            thresholds=list(self._settings.thresholds),
            order_at=self._settings.order_at,
            ranking=[],
            fleet=None,
            locations={},
            reason=reason,
        )

    def _until(self) -> date:
        today = datetime.fromtimestamp(self._clock.now().utc_seconds, UTC).date()
        return today - timedelta(days=1)

    async def _ask(self, question: Question, seconds: float) -> Reply:
        """Return the reply to *question*, from a new process if need be.

        Raises: _AwayError.
        """
        async with self._turn:
            process = await self._running()
            if process.stdin is None or process.stdout is None:
                raise _AwayError
            try:
                async with asyncio.timeout(seconds):
                    process.stdin.write(msgspec.json.encode(question) + b"\n")
                    await process.stdin.drain()
                    length = await process.stdout.readexactly(LENGTH_BYTES)
                    reply = await process.stdout.readexactly(int.from_bytes(length, "big"))
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                await self.close()
                raise _AwayError from error
            except BaseException:
                # Half of an answer would be taken for the beginning of the next.
                await self.close()
                raise
        return await asyncio.to_thread(msgspec.json.decode, reply, type=Reply)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    # What is run does not depend on where the collector was started.
                    *("-P", "-m", "trafficd.planning.worker"),
                    msgspec.json.encode(self._settings).decode(),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    # What is logged is a catalogue, and a trace is none of it.
                    stderr=asyncio.subprocess.DEVNULL,
                    # Threads would take memory each, and more of the processor than is left over.
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                )
            except OSError as error:
                raise _AwayError from error
        return self._process
