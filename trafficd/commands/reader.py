"""trafficd reader: the half that sees links, on sockets that were opened for it."""

import argparse
import asyncio
import os
from functools import partial
from pathlib import Path

from trafficd.clock import SystemClock
from trafficd.log import start_logging
from trafficd.rules import HOST_NAMESPACE
from trafficd.sandbox.apply import Half, enter_sandbox
from trafficd.service.lifeline import Lifeline
from trafficd.service.notify import ServiceManager
from trafficd.service.sockets import Handed

EXAMPLE = "trafficd reader --config /etc/trafficd/agent.yml --state /run/trafficd/state"
SUMMARY = "the half that sees links; started by the agent or by systemd"

NO_STATE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--state", required=True, metavar="FILE", help=f"on a tmpfs, or `{NO_STATE}`"
    )


def run(arguments: argparse.Namespace) -> int:
    """Count until SIGTERM."""
    # After the arguments are read, so that --help does not wait for netlink.
    from trafficd.kernel.slim import leave_out_what_is_not_asked_for

    leave_out_what_is_not_asked_for()
    from trafficd.continuity.keeper import Keeper
    from trafficd.continuity.state_file import open_state, state_in_memory
    from trafficd.kernel.sockets import LinkSockets, filter_sockets
    from trafficd.reader.app import Surroundings, run_reader
    from trafficd.reader.configuration import Configuration

    start_logging()
    state = arguments.state
    keeper = Keeper(state_in_memory() if state == NO_STATE else open_state(Path(state)))
    last_good = None if keeper.found is None else keeper.found.configuration
    configuration = Configuration.at_start(arguments.config, last_good)
    handed = Handed(os.environ)
    links = [
        LinkSockets(name, handed.events(name), handed.dumps(name))
        for name in (HOST_NAMESPACE, *configuration.settings.namespaces)
    ]
    # Whoever opened them: pid 1 does not know our filters.
    filtered = [each for each in links if filter_sockets(each)]
    given = Surroundings(
        links=links,
        releases=handed.releases(),
        clock=SystemClock(),
        keeper=keeper,
        lifeline=Lifeline(handed.lifeline()),
        manager=ServiceManager(os.environ),
        needs_renewal=len(filtered) < len(links),
    )
    handed.close()
    lock = partial(enter_sandbox, Half.READER, configuration.settings.sandbox)
    asyncio.run(run_reader(configuration, given, lock=lock))
    return 0
