"""trafficd links: the links of this machine as the rules see them."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trafficd.config import read_config
from trafficd.rules import HOST_NAMESPACE, LINK_TYPES, Role

if TYPE_CHECKING:
    from trafficd.reader.advice import SeenLink

EXAMPLE = "trafficd links --config /etc/trafficd/agent.yml"
SUMMARY = "show the links of this machine as the rules see them, and what to look at"

_HEADINGS = (
    "NAMESPACE", "LINK", "INDEX", "TYPE", "KIND", "STATE", "RX BYTES", "TX BYTES",
    "ROLE", "CLASS", "POPULATION", "WHY",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print a table of links, then the warnings."""
    # After the arguments are read, so that --help does not wait for netlink.
    from trafficd.kernel.inventory import find_links
    from trafficd.reader.advice import see, warnings

    settings = read_config(arguments.config)
    found = [link for name in (HOST_NAMESPACE, *settings.namespaces) for link in find_links(name)]
    seen = see(settings, found)
    _print_table([_HEADINGS, *(_row(each) for each in seen)])
    for warning in warnings(seen):
        print(f"warning: {warning}")
    return 0


def _row(each: "SeenLink") -> tuple[str, ...]:
    link, group = each.link, each.group
    types = {number: name for name, number in LINK_TYPES.items()}
    is_tunnel = group.role is Role.TUNNEL
    return (
        link.namespace,
        link.identity.shown_name,
        str(link.ifindex),
        types.get(link.identity.link_type, str(link.identity.link_type)),
        link.kind or "-",
        link.state or "-",
        str(link.rx_bytes),
        str(link.tx_bytes),
        group.role,
        group.class_name or "-",
        group.population if is_tunnel else "-",
        each.why,
    )


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
