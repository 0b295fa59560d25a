"""trafficd check-config: every mistake at once, with its place in the file."""

import argparse
from pathlib import Path

from trafficd.config import read_config

EXAMPLE = "trafficd check-config /etc/trafficd/agent.yml"
SUMMARY = "print every mistake in a configuration file; exit 78 if there is any"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Check the file and the web config that it names."""
    from trafficd.service.web_config import load_web_config

    settings = read_config(arguments.file)
    if settings.metrics.web_config is not None:
        load_web_config(Path(settings.metrics.web_config))
    window = _shown(settings.window)
    print(f"{arguments.file}: good: {len(settings.links)} link rules, window {window}")
    return 0


def _shown(seconds: int) -> str:
    return f"{seconds // 3600}h" if seconds % 3600 == 0 else f"{seconds // 60}m"
