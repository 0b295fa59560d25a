"""What foreign senders meet: a container with our collector, and pages of a node to be scraped."""

import contextlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.system.container import Container, debian_container
from tests.system.push.central import Central, get
from trafficd.exporter.metrics import TEXT, render
from trafficd.releases import Faults, Release, Totals, Utilisation
from trafficd.schema import MINIMUM_WINDOW_SECONDS, ROUNDING_BYTES, UTILISATION_PERCENTS
from trafficd.series import Series, series_of

PAGES_HOST, PAGES_PORT = "127.0.0.1", "9100"
PAGES = f"{PAGES_HOST}:{PAGES_PORT}"
_COUNT = "_count"


@dataclass(frozen=True, slots=True)
class Scene:
    """The container; *folder* is what its web server shows."""

    machine: Container
    central: Central
    folder: Path

    @property
    def inside_its_network(self) -> tuple[str, str]:
        """The words before a program of this host that is to run in the container's network."""
        return "nsenter", f"--net=/proc/{self.machine.leader}/ns/net"

    def show(self, name: str, page: str) -> None:
        """Let a page, called *name*.txt, be what is scraped from now on."""
        new = self.folder / "new"
        new.write_text(page)
        new.replace(self.folder / f"{name}.txt")

    def hide(self, name: str) -> None:
        """Let there be no such page."""
        (self.folder / f"{name}.txt").unlink()

    def until(self, seconds: float, what: str, condition: Callable[[], object]) -> None:
        """Return when *condition* is true."""
        self.machine.until(lambda: condition() or None, seconds, what)

    def until_logged(self, unit: str, pattern: str) -> None:
        """Return when a line of the unit's journal has *pattern* in it."""
        self.until(30, pattern, lambda: self.logged(unit, pattern))

    def logged(self, unit: str, pattern: str) -> int:
        """Return how many lines of the unit's journal have *pattern* in them."""
        said = self.machine.journal(f"--unit={unit}").splitlines()
        return sum(re.search(pattern, line) is not None for line in said)

    def counter(self, engine: str, name: str, label: str = "") -> float:
        """Return what the page of an engine says, summed where *label* stands among the labels."""
        page = get(self.machine, f"{engine}/metrics")
        found = re.findall(rf"(?m)^{name}(?:\{{.*{re.escape(label)}.*\}})? (\S+)$", page)
        return sum(map(float, found))


@contextlib.contextmanager
def foreign_scene() -> Iterator[Scene]:
    """Boot a container with our collector, Prometheus and vmagent; only the collector runs."""
    packages = ("prometheus", "victoria-metrics")
    with (
        debian_container(packages=packages, requirements="collector.txt") as machine,
        tempfile.TemporaryDirectory(prefix="trafficd-") as copies,
        tempfile.TemporaryDirectory(prefix="trafficd-") as pages,
    ):
        machine.run("systemctl", "stop", *packages)
        machine.install_trafficd()
        scene = Scene(machine, Central(machine, Path(copies)), Path(pages))
        server = subprocess.Popen(
            [
                *(*scene.inside_its_network, sys.executable, "-m", "http.server", PAGES_PORT),
                *("--bind", PAGES_HOST, "--directory", pages),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            scene.until(30, "the pages", lambda: get(machine, f"http://{PAGES}/"))
            yield scene
        finally:
            server.kill()
            server.wait()


def release(at: int, number: int) -> Release:
    """Return what a node says at the *number*-th grid point of its run, which is *at*."""

    def totals(factor: int) -> Totals:
        return Totals(number * factor * ROUNDING_BYTES, number * (factor + 1) * ROUNDING_BYTES)

    slots = tuple(number + place % 3 for place in range(len(UTILISATION_PERCENTS) + 1))
    return Release(
        at=at,
        started_at=at - number * MINIMUM_WINDOW_SECONDS,
        capacity_bits_per_second=10**10,
        uplink=totals(1700),
        tunnel=totals(1600),
        classes=(("wireguard", totals(1100)), ("l2tp", totals(500))),
        utilisation=Utilisation(slots, slots[::-1]),
        faults=Faults(1, 2, number),
    )


def releases_to(last_at: float, count: int) -> list[Release]:
    """Return the releases of a run, the last of the grid point before *last_at*, or of that."""
    last = int(last_at) // MINIMUM_WINDOW_SECONDS
    return [
        release((last - count + number) * MINIMUM_WINDOW_SECONDS, number)
        for number in range(1, count + 1)
    ]


def pushed(release: Release) -> dict[Series, float]:
    """Return what a collector holds that was told all of *release*."""
    return dict(series_of(release))


def scraped(release: Release) -> dict[Series, float]:
    """Return what it holds of the page; where a histogram has no sum, a page has no count."""
    return {each: value for each, value in series_of(release) if not each.name.endswith(_COUNT)}


def page(release: Release) -> str:
    """Return what our exporter shows to a scrape."""
    return render(release)[TEXT].body.decode()


def stamped(release: Release) -> str:
    """Return that page with the time of the release behind each sample, as the format allows.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/, Text format details.
    """
    return re.sub(r"(?m)^([^#\n].*)$", rf"\g<1> {release.at * 1000}", page(release))


def written_out(page: str) -> str:
    """Return the page with its values as whole numbers, without an exponent.

    VictoriaMetrics reads 5.24288e+08 as 524288000.00000006, and so does vmagent.
    """
    return re.sub(r"(?m)^([^#\n]*) (\d\S*) (\d+)$", _with_whole_number, page)


def _with_whole_number(line: re.Match[str]) -> str:
    return f"{line[1]} {float(line[2]):.0f} {line[3]}"
