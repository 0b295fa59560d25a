"""In the network of the engines: pushes a fleet to them, and keeps what their histories answer.

Usage: python -m tests.system.planning.asked BEGIN FILE PORT...
"""

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.system.planning.fleet import DAYS, FLEET, RANGES
from tests.system.planning.pushing import DAY, bundles, messages, push
from trafficd.planning.day_table import day_numbered
from trafficd.planning.history import History
from trafficd.planning.node_history import NodeDays, NodeWindows
from trafficd.planning.sources import open_history

Answers = tuple[list[NodeDays], list[list[NodeWindows]]]


def answers(history: History, begin: int) -> Answers:
    """Return what a history says of the fleet's days and of some of its windows."""
    until = day_numbered(begin // DAY + DAYS - 1)
    windows = [history.windows(begin + since, begin + until) for since, until in RANGES]
    return history.days(until), windows


def main(begin: int, file: Path, ports: Sequence[str]) -> None:
    """Push to each, ask each, and write down what it says."""
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    for sender in FLEET:
        for bundle in bundles(list(messages(sender, begin))):
            for url in urls:
                push(f"{url}/api/v1/write", bundle)
    found = [answers(open_history(f"prometheus:{url}"), begin) for url in urls]
    file.write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
