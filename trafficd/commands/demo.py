"""trafficd demo: a few nodes with made-up clients, their /metrics, and a live table."""

import argparse
import contextlib
import importlib.util
import sys

EXAMPLE = "trafficd demo"
SUMMARY = "try it out: lab nodes with real packets, a fast clock, /metrics and a live table"

_FIRST_PORT = 9791


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--port",
        type=_port,
        default=_FIRST_PORT,
        metavar="N",
        help=f"serve /metrics from this port on, one a node; 0 for any (default: {_FIRST_PORT})",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        metavar="N",
        help="stop after so many seconds (default: at Ctrl-C)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C."""
    # After the arguments are read, so that --help does not wait for netlink and aiohttp.
    from trafficd.demo.app import SPEED, Show, run_demo
    from trafficd.demo.lines import Lines
    from trafficd.demo.node import WINDOW_SECONDS

    with contextlib.ExitStack() as ladder:
        show: Show = Lines(_print)
        if sys.stdout.isatty():
            if importlib.util.find_spec("rich"):
                from trafficd.demo.table import LiveTable

                show = ladder.enter_context(
                    LiveTable.on_terminal(window_seconds=WINDOW_SECONDS, speed=SPEED)
                )
            else:
                _print("for a live table: pip install 'trafficd[demo]'")
        run_demo(show, first_port=arguments.port, seconds=arguments.seconds)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: write a port, 0 to 65535")
    return int(text)


def _seconds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: write a whole number of seconds, from 1 on")
    return int(text)


def _print(line: str) -> None:
    # A pipe is not a terminal: without a flush nothing would show for minutes.
    print(line, flush=True)
