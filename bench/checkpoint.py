"""The checkpoint that follows each sample, with 10,000 links and their sessions in it."""

import asyncio
import time
from statistics import median

from bench.laboratory import LINKS, Laboratory, UnsoundError
from bench.table import Row
from bench.watched import watched

_ROUNDS = 101


def measure(laboratory: Laboratory) -> list[Row]:
    """Return the row of a checkpoint."""
    return [asyncio.run(_measure(laboratory))]


async def _measure(laboratory: Laboratory) -> Row:
    with watched(laboratory.many_links()) as at_work:
        await at_work.watch.resynchronise()
        if len(at_work.table.ifindexes) < LINKS:
            raise UnsoundError(f"{len(at_work.table.ifindexes)} links")
        taken = []
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            at_work.keep()
            taken.append((time.perf_counter() - started) * 1e3)
    return Row.reported(
        f"checkpoint of {LINKS:,} links", f"{median(taken):.1f} ms, {max(taken):.1f} ms at most"
    )
