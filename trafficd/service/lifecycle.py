"""The whole of our lifecycle code: workers side by side, until a signal or a failure."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from trafficd.log import Message, say

Worker = Callable[[], Awaitable[object]]


def stop_on_signals(stop: asyncio.Event, lifeline: socket.socket | None = None) -> None:
    """Set *stop* on SIGTERM and SIGINT, and when the other end of *lifeline* is gone."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_without_details)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if lifeline is not None:
        loop.add_reader(lifeline, _end_of_agent, stop, lifeline)


async def run_until(stop: asyncio.Event, workers: dict[str, Worker]) -> None:
    """Run *workers* side by side until *stop* is set or one of them fails.

    Raises: what the first worker to fail raised.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_endless(work), name=name) for name, work in workers.items()]
            await stop.wait()
            for task in tasks:
                task.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _end_of_agent(stop: asyncio.Event, lifeline: socket.socket) -> None:
    asyncio.get_running_loop().remove_reader(lifeline)
    stop.set()


async def _endless(work: Worker) -> None:
    await work()
    raise RuntimeError("a worker returned")


def _without_details(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """Log a failed callback without its context, which can hold a client's address."""
    say(Message.INTERNAL)
