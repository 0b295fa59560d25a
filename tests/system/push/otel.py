"""OpenTelemetry's SDK and its remote-write exporter, in a process of their own."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.debian_packages import ROOT, kept, run
from tests.system.push.central import LOCATION, PUSH_URL
from tests.system.push.foreign_scene import Scene
from trafficd.releases import Release
from trafficd.series import is_counter, series_of

_REQUIREMENTS = ROOT / "requirements" / "otel.txt"
_PROGRAM = Path(__file__).with_name("otel_sender.py")
# The kind of an instrument, its name, its unit, labels of a point, and its value.
Point = tuple[str, str, str, dict[str, str], float]
# What was logged of each export that failed, and the body of the answer behind it.
Heard = list[dict[str, str]]


@contextlib.contextmanager
def opentelemetry() -> Iterator[Path]:
    """Give a directory with the packages, beside no others: they want an older protobuf."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    with kept(ROOT / "build" / "opentelemetry" / version, (_REQUIREMENTS,), _install) as folder:
        yield folder


def _install(folder: Path) -> None:
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--no-deps"),
        *("--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes"),
        *("--only-binary=:all:", f"--target={folder}", f"--requirement={_REQUIREMENTS}"),
    )


def exported(release: Release) -> dict[str, Any]:
    """Return the export that says all of *release*, at its time."""
    points: list[Point] = [
        (
            "counter" if is_counter(series) else "gauge",
            *(series.name, ""),
            dict(series.labels),
            value,
        )
        for series, value in series_of(release)
    ]
    return {"at": release.at, "points": points}


@dataclass(frozen=True, slots=True)
class Sender:
    """A program that has a node's token."""

    scene: Scene
    packages: Path
    node: str
    token: str

    def send(self, *exports: dict[str, Any], order: Sequence[int] = (), **plan: object) -> Heard:
        """Send what is collected by each of *exports*, in their order or another.

        *plan* is what is not as usual, in the words of otel_sender.py.
        """
        usual = {
            "endpoint": PUSH_URL,
            "token": self.token,
            "labels": {"node": self.node, "location": LOCATION},
            "has_sdk_labels": False,
            "exports": exports,
            "order": order or list(range(len(exports))),
        }
        done = subprocess.run(
            [*self.scene.inside_its_network, sys.executable, _PROGRAM],
            input=json.dumps(usual | plan),
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self.packages)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        heard: Heard = json.loads(done.stdout)
        return heard
