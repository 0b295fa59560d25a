"""The whole of our lifecycle code: workers side by side, until a signal or a failure."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from trafficd.log import Message, say
from trafficd.service.lifeline import Lifeline

_SILENCE_SECONDS = 60.0

Worker = Callable[[], Awaitable[object]]


def stop_on_signals(stop: asyncio.Event, lifeline: Lifeline | None = None) -> None:
    """Set *stop* on SIGTERM and SIGINT, and when the other end of *lifeline* is gone."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_WithoutDetails())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if lifeline is not None:
        lifeline.listen(stop.set)


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


async def _endless(work: Worker) -> None:
    await work()
    raise RuntimeError("a worker returned")


class _WithoutDetails:
    """Logs a failed callback without its context, which can hold a client's address.

    A fault that repeats is said once in a while.
    """

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
        if loop.time() >= self._silent_until:
            self._silent_until = loop.time() + _SILENCE_SECONDS
            say(Message.INTERNAL)
