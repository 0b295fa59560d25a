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
from trafficd.service.halves import LIFELINE
from trafficd.service.lifeline import Lifeline
from trafficd.service.sockets import close_all, inherited_sockets, take

EXAMPLE = "trafficd exporter --config /etc/trafficd/agent.yml"
SUMMARY = "the half that serves /metrics; started by the agent or by systemd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM."""
    # After the arguments are read, so that --help does not wait for aiohttp.
    from trafficd.exporter.app import run_exporter

    start_logging()
    settings = read_config(arguments.config)
    handed = inherited_sockets(os.environ)
    releases = take(handed, "releases")
    lifeline = Lifeline(handed.pop(LIFELINE, None))
    close_all(handed)
    asyncio.run(
        run_exporter(
            settings.metrics,
            reader=releases,
            classes=ConfiguredClasses(settings, lifeline, source=str(arguments.config)),
            lock=partial(enter_sandbox, Half.EXPORTER, settings.sandbox),
            lifeline=lifeline,
        )
    )
    return 0
