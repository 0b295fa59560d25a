"""trafficd simulate: what the rules would publish of a recorded schedule of link events."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from trafficd.config import AgentSettings, read_config
from trafficd.errors import TrafficdError
from trafficd.wire.release_line import release_line

if TYPE_CHECKING:
    from trafficd.kernel.recorded import RecordedEvent

EXAMPLE = "trafficd simulate --config agent.yml schedule.jsonl"
SUMMARY = "run a schedule of link events through the agent's accounting and print the releases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--explain",
        action="store_true",
        help="say why each cell passed or was held; not to be kept",
    )
    parser.add_argument("schedule", metavar="SCHEDULE", help="JSON lines in time order; - is stdin")


def run(arguments: argparse.Namespace) -> int:
    """Print one JSON line for each grid point."""
    # Here, because every command is declared in every process, and the exporter's has no business
    # with links.
    from trafficd.kernel.recorded import read_recording

    settings = read_config(arguments.config)
    if arguments.schedule == "-":
        recording = read_recording(sys.stdin.buffer, source="stdin")
    else:
        try:
            schedule = Path(arguments.schedule).read_bytes().splitlines()
        except OSError as error:
            raise TrafficdError(
                f"{arguments.schedule}: cannot be read: {error.strerror}"
            ) from error
        recording = read_recording(schedule, source=arguments.schedule)
    _print_releases(settings, recording, explain=arguments.explain)
    return 0


def _print_releases(
    settings: AgentSettings, recording: "Iterable[RecordedEvent]", *, explain: bool
) -> None:
    from trafficd.reader.explain import explanation
    from trafficd.reader.replay import replay

    for decision in replay(settings, recording):
        further = {"explain": explanation(decision)} if explain else {}
        print(release_line(decision.release, **further))
