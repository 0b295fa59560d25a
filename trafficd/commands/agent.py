"""trafficd agent: reader and exporter as two processes, until SIGTERM."""

import argparse
import os
import socket
from pathlib import Path

from trafficd.config import read_config
from trafficd.log import start_logging
from trafficd.service.halves import Half, run_halves
from trafficd.service.sockets import inherited_sockets

EXAMPLE = "trafficd agent --config /etc/trafficd/agent.yml"
SUMMARY = "count this node and serve /metrics: reader and exporter as two processes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Run both halves; return 0 after a signal, else the code of the half that ended first."""
    # After the arguments are read, so that --help does not wait for netlink.
    from trafficd.kernel.sockets import open_all_link_sockets

    start_logging()
    settings = read_config(arguments.config)
    reader_end, exporter_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # systemd opens the queue of events with a buffer that an unprivileged agent cannot have.
    handed = {**inherited_sockets(os.environ), "releases": reader_end}
    for sockets in open_all_link_sockets(settings.namespaces):
        for name, opened in (
            (f"events@{sockets.namespace}", sockets.events),
            (f"dumps@{sockets.namespace}", sockets.dumps),
        ):
            if name in handed:
                opened.close()
            else:
                handed[name] = opened
    config = ["--config", str(arguments.config)]
    return run_halves(
        [
            Half("reader", ["reader", *config], handed, config=arguments.config),
            Half(
                "exporter",
                ["exporter", *config],
                {"releases": exporter_end},
                config=arguments.config,
            ),
        ]
    )
