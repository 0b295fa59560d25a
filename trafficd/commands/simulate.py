"""trafficd simulate: what the rules would publish of a recorded schedule of link events."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from trafficd.config import read_config
from trafficd.errors import TrafficdError
from trafficd.releases import Release
from trafficd.wire.release_line import release_line

EXAMPLE = "trafficd simulate --config agent.yml schedule.jsonl"
SUMMARY = "run a schedule of link events through the agent's accounting and print the releases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("schedule", metavar="SCHEDULE", help="JSON lines in time order; - is stdin")


def run(arguments: argparse.Namespace) -> int:
    """Print one JSON line for each grid point."""
    # Here, because every command is declared in every process, and the exporter's has no business
    # with links.
    from trafficd.kernel.recorded import read_recording
    from trafficd.reader.replay import replay

    settings = read_config(arguments.config)
    if arguments.schedule == "-":
        _print_releases(replay(settings, read_recording(sys.stdin.buffer, source="stdin")))
        return 0
    try:
        schedule = Path(arguments.schedule).read_bytes().splitlines()
    except OSError as error:
        raise TrafficdError(f"{arguments.schedule}: cannot be read: {error.strerror}") from error
    recording = read_recording(schedule, source=arguments.schedule)
    _print_releases(replay(settings, recording))
    return 0


def _print_releases(releases: Iterator[Release]) -> None:
    for release in releases:
        print(release_line(release))
