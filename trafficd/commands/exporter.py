"""trafficd exporter: the half with the way out, which sees releases only."""

import argparse
import asyncio
import os
from functools import partial
from pathlib import Path

from trafficd.config import read_config
from trafficd.exporter.classes import ConfiguredClasses
from trafficd.log import start_logging
from trafficd.sandbox.apply import Half, enter_sandbox
from trafficd.service.lifeline import Lifeline
from trafficd.service.notify import ServiceManager
from trafficd.service.releases import connect_to_reader
from trafficd.service.sockets import Handed

EXAMPLE = "trafficd exporter --config /etc/trafficd/agent.yml --releases /run/trafficd/releases"
SUMMARY = "the half that serves /metrics; started by the agent or by systemd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--releases", type=Path, metavar="SOCKET", help="the reader's, if none was handed over"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    # After the arguments are read, so that --help does not wait for aiohttp.
    from trafficd.exporter.app import Surroundings, run_exporter
    from trafficd.exporter.destinations import Pushing

    start_logging()
    settings = read_config(arguments.config)
    handed = Handed(os.environ)
    lifeline = Lifeline(handed.lifeline())
    given = Surroundings(
        reader=handed.connection() or connect_to_reader(arguments.releases),
        classes=ConfiguredClasses(settings, lifeline, source=str(arguments.config)),
        lifeline=lifeline,
        manager=ServiceManager(os.environ),
        listeners=handed.metrics(),
        pushing=Pushing.of(settings),
    )
    handed.close()
    lock = partial(enter_sandbox, Half.EXPORTER, settings.sandbox)
    asyncio.run(run_exporter(settings.metrics, given, lock=lock))
    return 0
