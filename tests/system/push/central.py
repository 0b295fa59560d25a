"""The collector of a container: who may write, and what it holds of them."""

import contextlib
import re
import shutil
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from tests.system.container import Container
from trafficd.collector.store import Store
from trafficd.series import Series

URL = "http://127.0.0.1:9788"
PUSH_URL = f"{URL}/api/v1/write"
LOCATION = "frankfurt"
UNIT = "trafficd-collector.service"
GET = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode())"

_CONFIG = "/etc/trafficd/collector.yml"
_COMMAND = ("/opt/trafficd/bin/trafficd", "collector", "--config", _CONFIG)
# /var/lib/trafficd is a link for a service with DynamicUser=.
_DATABASE = "/var/lib/private/trafficd/collector.db"
_TIMES = """
import sqlite3, sys
database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
rows = database.execute(
    "SELECT at FROM release JOIN node ON number = node WHERE name = ? ORDER BY at", sys.argv[2:]
)
print(*(at for (at,) in rows))
"""


def get(machine: Container, url: str) -> str:
    """Return the page at *url* inside, empty if there is none."""
    done = machine.run("python3", "-c", GET, url, check=False)
    return done.stdout if done.returncode == 0 else ""


class Central:
    """The collector; *folder* is for copies of its database."""

    def __init__(self, machine: Container, folder: Path) -> None:
        self._machine = machine
        self._folder = folder
        self._copies = count()
        machine.write(_CONFIG, "")
        self._start()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Be stopped meanwhile."""
        self._machine.run("systemctl", "stop", UNIT)
        try:
            yield
        finally:
            self._start()

    def add_nodes(self, *names: str) -> dict[str, str]:
        """Return a token of each; the collector knows them."""
        tokens = {}
        for name in names:
            said = self._machine.run(*_COMMAND, "add-node", name, "--location", LOCATION)
            tokens[name] = said.stdout.split()[-1]
        self._machine.until(lambda: all(map(self.shown, names)), 30, f"{names} on the page")
        return tokens

    def times(self, node: str) -> list[int]:
        """Return the times of which there is anything of *node*, as of this moment."""
        # From outside, SQLite would follow the link that leads to the root of the container.
        said = self._machine.run("python3", "-c", _TIMES, _DATABASE, node).stdout
        return [int(at) for at in said.split()]

    def histories(self, names: Iterable[str]) -> dict[str, dict[int, dict[Series, float]]]:
        """Return all that is stored of each of the nodes by time, from an online backup."""
        copy = f"copy-{next(self._copies)}.db"
        self._machine.run(*_COMMAND, "backup", f"/var/backups/{copy}")
        shutil.copy(self._machine.root / "var/backups" / copy, self._folder / copy)
        with contextlib.closing(Store(self._folder / copy)) as store:
            numbers = {each.node.name: each.node.number for each in store.nodes()}
            return {
                name: {
                    each.at: dict(zip(each.series, each.values, strict=True))
                    for each in store.history(numbers[name], 0, 1 << 40)
                }
                for name in names
            }

    def shown(self, node: str) -> dict[str, float]:
        """Return the samples of *node* on the page of the fleet, by name and own labels."""
        labels = re.escape(f'node="{node}",location="{LOCATION}"')
        page = get(self._machine, f"{URL}/metrics")
        found = re.findall(rf"(?m)^(\w+)\{{{labels},?(.*)\}} (\S+)$", page)
        return {f"{name}{{{own}}}" if own else name: float(value) for name, own, value in found}

    def results(self) -> dict[str, int]:
        """Return how many messages became what."""
        page = get(self._machine, f"{URL}/metrics")
        found = re.findall(r'(?m)^trafficd_collector_messages_total\{result="(\w+)"\} (\d+)$', page)
        return {result: int(number) for result, number in found}

    def _start(self) -> None:
        self._machine.run("systemctl", "start", UNIT)
        self._machine.until(lambda: get(self._machine, f"{URL}/healthz"), 30, "the collector")
