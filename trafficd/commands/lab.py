"""trafficd lab: one command in a private namespace that is counted on a fast clock."""

import argparse
from pathlib import Path

from trafficd.config import read_config
from trafficd.wire.release_line import release_line

EXAMPLE = "trafficd lab --config agent.yml -- ip link add eth0 type veth"
SUMMARY = "run a command in a private, counted network namespace and print what is released"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--speed",
        type=_speed,
        metavar="N",
        help="run the clock N times as fast (default: as fast as makes a window 5 seconds long)",
    )
    parser.add_argument(
        "--metrics", action="store_true", help="print the /metrics page after the releases"
    )
    parser.add_argument("command", nargs="+", metavar="COMMAND", help="what to run, after --")


def run(arguments: argparse.Namespace) -> int:
    """Print a JSON line for each release; return the command's exit status."""
    # Here, because every command is declared in every process, and the exporter's has no business
    # with links.
    from trafficd.demo.lab import WINDOW_TAKES_SECONDS, run_lab

    settings = read_config(arguments.config)
    speed = arguments.speed or settings.window / WINDOW_TAKES_SECONDS
    result = run_lab(settings, arguments.command, speed=speed)
    for release in result.releases:
        print(release_line(release))
    if arguments.metrics:
        print(result.page, end="")
    return result.status


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 1 <= speed <= 100_000:
        raise argparse.ArgumentTypeError(f"{text}: write a number from 1 to 100000")
    return speed
