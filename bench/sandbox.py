"""What the sandbox costs: a sample of 10,000 links in a locked process and in a free one."""

import asyncio
import contextlib
import functools
import os
import socket
import struct
import time
from collections.abc import Iterator
from statistics import median

from bench.laboratory import LINKS, Laboratory, UnsoundError
from bench.table import Row
from bench.watched import watched
from trafficd.config import Layer, SandboxSettings
from trafficd.errors import SandboxError
from trafficd.sandbox.apply import Half, enter_sandbox

MOST_COST = 0.02

# In turns, so that both see the same moods of the machine.
_ROUNDS = 301
_ROUNDS_BEFORE = 20
_MILLISECONDS = struct.Struct("d")


@functools.cache
def settings() -> SandboxSettings:
    """Return the default sandbox, without swap's layer where this machine refuses it."""
    child = os.fork()
    if not child:
        with contextlib.suppress(SandboxError):
            enter_sandbox(Half.READER, SandboxSettings())
            os._exit(0)
        os._exit(1)
    is_whole = os.waitpid(child, 0)[1] == 0
    return SandboxSettings() if is_whole else SandboxSettings(absent=(Layer.SWAP,))


def configuration() -> str:
    """Return the line of a configuration that says so."""
    return f"sandbox: {{absent: [{', '.join(settings().absent)}]}}\n"


def measure(laboratory: Laboratory) -> list[Row]:
    """Return the row of the ratio, and what locking itself takes."""
    namespace = laboratory.many_links()
    free, locked, ratios = [], [], []
    with _sampler(namespace, is_locked=False) as one, _sampler(namespace, is_locked=True) as other:
        locking = _next(other)
        for number in range(_ROUNDS):
            taken = [_next(each) for each in (one, other)]
            if number >= _ROUNDS_BEFORE:
                free.append(taken[0])
                locked.append(taken[1])
                ratios.append(taken[1] / taken[0])
    cost = median(ratios) - 1
    return [
        Row.held(
            f"sample of {LINKS:,} links, locked",
            f"{median(locked):.1f} ms, {cost:+.1%}",
            f"<= {MOST_COST:+.0%}",
            is_held=cost <= MOST_COST,
            beside=f"free {median(free):.1f} ms",
        ),
        Row.reported("locking a reader", f"{locking:.0f} ms"),
    ]


@contextlib.contextmanager
def _sampler(namespace: str, *, is_locked: bool) -> Iterator[socket.socket]:
    """Run a process that takes a sample whenever it is asked; it first says how long locking took.

    Only the locked one says that.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            ours.close()
            asyncio.run(_sample_when_asked(namespace, theirs, is_locked=is_locked))
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        yield ours
    os.waitpid(child, 0)


async def _sample_when_asked(namespace: str, asked: socket.socket, *, is_locked: bool) -> None:
    with watched(namespace) as at_work:
        started = time.perf_counter()
        if is_locked:
            enter_sandbox(Half.READER, settings())
        locking = (time.perf_counter() - started) * 1e3
        await at_work.watch.resynchronise()
        if is_locked:
            asked.recv(1)
            asked.send(_MILLISECONDS.pack(locking))
        while asked.recv(1):
            started = time.perf_counter()
            await at_work.watch.sample()
            asked.send(_MILLISECONDS.pack((time.perf_counter() - started) * 1e3))


def _next(sampler: socket.socket) -> float:
    sampler.send(b".")
    answer = sampler.recv(_MILLISECONDS.size)
    if not answer:
        raise UnsoundError("a process that samples ended")
    (milliseconds,) = _MILLISECONDS.unpack(answer)
    return float(milliseconds)
