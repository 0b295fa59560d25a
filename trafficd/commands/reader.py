"""trafficd reader: the half that sees links, on sockets that were opened for it."""

import argparse
import asyncio
import os
from functools import partial
from pathlib import Path

from trafficd.clock import SystemClock
from trafficd.config import parse_config, read_config
from trafficd.log import start_logging
from trafficd.rules import HOST_NAMESPACE
from trafficd.sandbox.apply import Half, enter_sandbox
from trafficd.service.halves import LIFELINE
from trafficd.service.lifeline import Lifeline
from trafficd.service.sockets import close_all, inherited_sockets, take

EXAMPLE = "trafficd reader --config /etc/trafficd/agent.yml"
SUMMARY = "the half that sees links; started by the agent or by systemd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Count until SIGTERM."""
    # After the arguments are read, so that --help does not wait for netlink.
    from trafficd.kernel.slim import leave_out_what_is_not_asked_for

    leave_out_what_is_not_asked_for()
    from trafficd.kernel.sockets import LinkSockets, filter_sockets
    from trafficd.reader.app import run_reader

    start_logging()
    settings = read_config(arguments.config)
    handed = inherited_sockets(os.environ)
    links = [
        LinkSockets(name, take(handed, f"events@{name}"), take(handed, f"dumps@{name}"))
        for name in (HOST_NAMESPACE, *settings.namespaces)
    ]
    for each in links:
        # Whoever opened them: pid 1 does not know our filters.
        filter_sockets(each)
    releases = take(handed, "releases")
    lifeline = Lifeline(handed.pop(LIFELINE, None))
    close_all(handed)
    asyncio.run(
        run_reader(
            settings,
            links=links,
            exporter=releases,
            clock=SystemClock(),
            reread=lambda: parse_config(lifeline.text(), source=str(arguments.config)),
            lock=partial(enter_sandbox, Half.READER, settings.sandbox),
            lifeline=lifeline,
        )
    )
    return 0
