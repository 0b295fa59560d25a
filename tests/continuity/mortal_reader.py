"""A real reader on a fast clock that kills itself at a step: run by tests, with handed sockets.

`python mortal_reader.py STATE UTC_START BOOT_START SPEED CONFIGURATION [STEP COUNT]`
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trafficd.accounting.release import Publisher
from trafficd.accounting.table import LinkTable
from trafficd.accounting.window import Grid
from trafficd.config import parse_config
from trafficd.continuity import journal
from trafficd.continuity.journal import Journal
from trafficd.continuity.keeper import Keeper
from trafficd.continuity.state_file import open_state
from trafficd.demo.clock import FastClock
from trafficd.kernel.dump import LinkReader
from trafficd.kernel.events import EventSocket
from trafficd.kernel.sockets import LinkSockets, filter_sockets
from trafficd.reader.app import Surroundings, run_reader
from trafficd.reader.configuration import Configuration
from trafficd.reader.handoff import Handoff
from trafficd.service.lifeline import Lifeline
from trafficd.service.notify import ServiceManager
from trafficd.service.sockets import Handed

# Between which two steps of the work it dies: before or after a call.
STEPS: dict[str, tuple[type, str, bool]] = {
    "before the peek": (EventSocket, "_receive", True),
    "after the peek or the take": (EventSocket, "_receive", False),
    "before the log": (Keeper, "log", True),
    "in the log": (Journal, "log", True),
    "after the log": (Keeper, "log", False),
    "before a change": (LinkTable, "change", True),
    "after a change": (LinkTable, "change", False),
    "before a removal": (LinkTable, "remove", True),
    "after a removal": (LinkTable, "remove", False),
    "before a dump": (LinkReader, "dump", True),
    "before a dump is applied": (LinkTable, "apply", True),
    "after a dump is applied": (LinkTable, "apply", False),
    "before a checkpoint": (Keeper, "keep", True),
    "before a part of a checkpoint is written": (journal._Area, "write", True),
    "after a part of a checkpoint is written": (journal._Area, "write", False),
    "before a wipe": (journal._Area, "wipe", True),
    "after a wipe": (journal._Area, "wipe", False),
    "after a checkpoint": (Keeper, "keep", False),
    "before a grid point is noted": (Grid, "decided", True),
    "after a grid point is noted": (Grid, "decided", False),
    "before a decision": (Publisher, "decide", True),
    "after a decision": (Publisher, "decide", False),
    "before a release is handed out": (Handoff, "send", True),
    "after a release is handed out": (Handoff, "send", False),
    "while a run is restored": (LinkTable, "restored", False),
}
ONCE_A_START = ("while a run is restored",)


def die_at(step: str, count: int) -> None:
    """Have this process killed at the *count*-th time it comes to *step*."""
    owner, name, is_before = STEPS[step]
    original: Callable[..., Any] = getattr(owner, name)
    left = count

    def mortal(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if is_before and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*arguments, **named)
        if not is_before and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, mortal)


def main() -> None:
    state, utc_start, boot_start, speed, text, *death = sys.argv[1:]
    if death:
        die_at(death[0], int(death[1]))
    handed = Handed(os.environ)
    links = LinkSockets("host", handed.events("host"), handed.dumps("host"))
    filter_sockets(links)
    given = Surroundings(
        links=[links],
        releases=handed.releases(),
        clock=FastClock(float(utc_start), float(boot_start), float(speed)),
        keeper=Keeper(open_state(Path(state))),
        lifeline=Lifeline(None),
        manager=ServiceManager({}),
    )
    asyncio.run(run_reader(Configuration(parse_config(text), text), given, lock=lambda: None))


if __name__ == "__main__":
    main()
