"""Runs trafficd plan as a process, and makes a file of a collector to run it on."""

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from trafficd.collector.store import Store
from trafficd.demo.fleet import Span, made_up
from trafficd.demo.history import fill

DAY_SECONDS = 24 * 60 * 60
# 2024-10-04; the day before is the last of the history.
END = 20_000 * DAY_SECONDS
LAST = date(2024, 10, 3)
# A release a day is as fast to make as it can be.
SPAN = Span(END, days=300, slot_days=0, window_seconds=DAY_SECONDS)


def plan(*words: str | Path, encoding: str = "utf-8") -> "subprocess.CompletedProcess[str]":
    """Return what came of it; *encoding* is what the terminal has signs for."""
    return subprocess.run(
        [sys.executable, "-m", "trafficd", "plan", *map(str, words)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=False,
        timeout=60,
    )


def said(*words: str) -> Any:
    """Return the document, with which nothing else is printed."""
    done = plan(*words, "--json")
    assert done.stderr == ""
    assert done.returncode == 0
    assert not re.search(r"\b(NaN|Infinity)\b", done.stdout)
    return json.loads(done.stdout)


def fleet(path: Path) -> Path:
    """Make a file of five nodes at two locations, one of which came a hundred days ago."""
    members = made_up(5, 2)
    members[4] = replace(members[4], came_days_ago=100)
    with closing(Store(path)) as store:
        fill(store, members, SPAN)
    return path
