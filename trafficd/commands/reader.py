"""trafficd reader: the half that sees links, on sockets that were opened for it."""

import argparse
import asyncio
import os
from pathlib import Path

from trafficd.clock import SystemClock
from trafficd.config import read_config
from trafficd.log import start_logging
from trafficd.rules import HOST_NAMESPACE
from trafficd.service.halves import LIFELINE
from trafficd.service.sockets import inherited_sockets, take

EXAMPLE = "trafficd reader --config /etc/trafficd/agent.yml"
SUMMARY = "the half that sees links; started by the agent or by systemd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Count until SIGTERM."""
    # After the arguments are read, so that --help does not wait for netlink.
    from trafficd.kernel.sockets import LinkSockets
    from trafficd.reader.app import run_reader

    start_logging()
    settings = read_config(arguments.config)
    handed = inherited_sockets(os.environ)
    links = [
        LinkSockets(name, take(handed, f"events@{name}"), take(handed, f"dumps@{name}"))
        for name in (HOST_NAMESPACE, *settings.namespaces)
    ]
    asyncio.run(
        run_reader(
            settings,
            links=links,
            exporter=take(handed, "releases"),
            clock=SystemClock(),
            reread=lambda: read_config(arguments.config),
            lifeline=handed.get(LIFELINE),
        )
    )
    return 0
