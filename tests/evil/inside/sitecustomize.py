"""Makes a half evil: Python imports this before all else where a test put its folder on the path.

What the evil module needs is imported and opened here, before the half is locked. It runs as one
more worker of the half, which is there only once the half is locked and serving.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).parents[3])
_HALVES = ("reader", "exporter")


def _become_evil(half: str) -> None:
    # Last on the path: the trafficd under test stays the one that is installed.
    sys.path.append(_ROOT)
    from tests.evil.attempts import chosen
    from tests.evil.world import World

    world = World(half, os.environ["EVIL_ANSWERS"], is_control=bool(os.environ["EVIL_CONTROL"]))
    attempts = chosen(half, os.environ["EVIL_ATTEMPTS"])
    app = _app(half)
    workers = app.workers

    async def try_everything() -> None:
        import asyncio

        await world.facts_are_there()
        world.try_all(attempts)
        await asyncio.Event().wait()

    def with_an_evil_one(running: Any) -> dict[str, Callable[[], Awaitable[object]]]:
        world.find_connection = lambda: _connection(running).fileno()
        return {**workers(running), "evil": try_everything}

    app.workers = with_an_evil_one


def _app(half: str) -> Any:
    """Return the class with the half's table of workers, which has no hook for tests."""
    if half == "reader":
        from trafficd.kernel.slim import leave_out_what_is_not_asked_for

        # As the reader itself begins.
        leave_out_what_is_not_asked_for()
        from trafficd.reader.app import Reader

        return Reader
    from trafficd.exporter.app import _Exporter

    return _Exporter


def _connection(running: Any) -> Any:
    """Return the socket to the other half."""
    if hasattr(running, "_intake"):
        return running._intake._socket
    return running._handoff._connections[-1]._socket


def _take_the_sandbox_away() -> None:
    """Leave every layer out, and the directions of sockets open: the control."""
    import socket

    from trafficd.exporter import intake
    from trafficd.sandbox import apply, socket_filter

    def nothing(*_: object, **__: object) -> None:
        pass

    apply.enter_sandbox = nothing
    socket_filter.attach = nothing
    # Not of the kernel's, and yet in the way of a reader that would publish what it likes.
    intake.may_be_shown = lambda *_: True
    socket.socket.shutdown = nothing  # type: ignore[method-assign]


if os.environ.get("EVIL_CONTROL"):
    _take_the_sandbox_away()
for _half in _HALVES:
    if _half == os.environ.get("EVIL_HALF") and _half in sys.orig_argv:
        _become_evil(_half)
