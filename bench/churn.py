"""10,000 sessions that live some milliseconds each: every byte of theirs must be counted."""

import asyncio
import time

from bench.laboratory import Laboratory
from bench.sessions import Truth, run_sessions
from bench.table import Row
from bench.watched import Watched, watched
from trafficd.rules import Role

SESSIONS = 10_000
_PACKETS = 7
_PACKET_BYTES = 1_234

# The reader samples every 10 s; here dumps race events at every turn.
_BETWEEN_SAMPLES_SECONDS = 0.1


def measure(laboratory: Laboratory) -> list[Row]:
    """Return the row of the churn."""
    return [asyncio.run(_measure(laboratory))]


async def _measure(laboratory: Laboratory) -> Row:
    with laboratory.namespace() as namespace, watched(namespace) as at_work:
        await at_work.watch.resynchronise()
        at_work.watch.follow()
        started = time.perf_counter()
        truth = await _churn(laboratory, namespace, at_work)
        seconds = time.perf_counter() - started
        await at_work.watch.sample()
        counted, faults = at_work.ledger.standing().total(Role.TUNNEL).rx_bytes, at_work.faults
    is_quiet = faults.overruns == 0 and faults.malformed == 0
    return Row.held(
        f"churn of {truth.sessions:,} sessions, {truth.sessions / seconds:,.0f} a second",
        f"{counted:,} bytes, {faults.overruns} overruns",
        f"{truth.rx_bytes:,} bytes, 0 overruns",
        is_held=truth.sessions == SESSIONS and is_quiet and counted == truth.rx_bytes,
        beside=f"{counted - truth.rx_bytes:+,} bytes to the truth",
    )


async def _churn(laboratory: Laboratory, namespace: str, at_work: Watched) -> Truth:
    """Run the sessions and sample the links meanwhile."""
    async with asyncio.TaskGroup() as group:
        sessions = group.create_task(
            run_sessions(
                laboratory, namespace, SESSIONS, packets=_PACKETS, packet_bytes=_PACKET_BYTES
            )
        )
        while not sessions.done():
            await asyncio.wait({sessions}, timeout=_BETWEEN_SAMPLES_SECONDS)
            await at_work.watch.sample()
    return sessions.result()
