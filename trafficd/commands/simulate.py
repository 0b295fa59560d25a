"""trafficd simulate: what the rules would publish of a recorded schedule of link events."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from trafficd.config import read_config
from trafficd.errors import TrafficdError
from trafficd.kernel.recorded import read_recording
from trafficd.reader.replay import replay
from trafficd.releases import Release, Totals

EXAMPLE = "trafficd simulate --config agent.yml schedule.jsonl"
SUMMARY = "run a schedule of link events through the agent's accounting and print the releases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("schedule", metavar="SCHEDULE", help="JSON lines in time order; - is stdin")


def run(arguments: argparse.Namespace) -> int:
    """Print one JSON line for each grid point."""
    settings = read_config(arguments.config)
    if arguments.schedule == "-":
        _print_releases(replay(settings, read_recording(sys.stdin.buffer, source="stdin")))
        return 0
    try:
        with Path(arguments.schedule).open("rb") as schedule:
            recording = read_recording(schedule, source=arguments.schedule)
            _print_releases(replay(settings, recording))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise TrafficdError(f"{arguments.schedule}: cannot be read: {error.strerror}") from error
    return 0


def _print_releases(releases: Iterator[Release]) -> None:
    for release in releases:
        line = {
            "at": release.at,
            "node": {"uplink": _shown(release.uplink), "tunnel": _shown(release.tunnel)},
            "classes": {name: _shown(totals) for name, totals in release.classes},
        }
        print(msgspec.json.encode(line).decode())


def _shown(totals: Totals) -> dict[str, int]:
    return {"receive": totals.rx_bytes, "transmit": totals.tx_bytes}
