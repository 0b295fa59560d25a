"""trafficd reload: a changed configuration to the halves that systemd runs."""

import argparse
from pathlib import Path

from trafficd.config import parse_config
from trafficd.service.reload import send_text
from trafficd.settings import read_text

EXAMPLE = "trafficd reload --config /etc/trafficd/agent.yml --to /run/trafficd/reader.reload"
SUMMARY = "check a configuration and hand it to a running half; `systemctl reload` calls it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--to", type=Path, required=True, action="append", metavar="SOCKET")


def run(arguments: argparse.Namespace) -> int:
    """Send the text to every socket; a configuration with mistakes goes nowhere."""
    text = read_text(arguments.config)
    parse_config(text, source=str(arguments.config))
    for each in arguments.to:
        send_text(text, each)
    return 0
