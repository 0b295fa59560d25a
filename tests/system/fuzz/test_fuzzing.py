"""A million bodies that nobody sends, and all that may be asked over HTTP."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.collector.fuzzing import NODE
from tests.collector.test_fuzzed_ingest import placed
from tests.commands.test_collector import sample, serving
from tests.system.debian_packages import ROOT
from tests.system.fuzz.tools import fuzzers
from trafficd.collector.answers import Result

BODIES = 500_000
GUIDED_BODIES = 200_000
# Of either request of schemathesis that has anything to vary.
REQUESTS = 200
# Python with trafficd, protobuf and what atheris keeps: 75 MB.
MOST_RESIDENT_MB = 256
# Bodies as long as these hold every series there is, and more of them take longer.
MOST_BODY_BYTES = 8192
# Of two cores; 140 s and 60 s on the slowest there was.
SECONDS = 900


@pytest.fixture(scope="module")
def tools() -> Iterator[Path]:
    with fuzzers() as folder:
        yield folder


@contextlib.contextmanager
def python(
    folder: Path, *words: str | Path, path: Sequence[Path] = (), **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run a module of this tree or of *path*, until the end of the block at the latest.

    It may leave what it likes in *folder*.
    """
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (*path, ROOT))),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said_by(process: "subprocess.Popen[str]") -> str:
    """Return what *process* says until it ends, which is well and in time."""
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said[-6000:]
    return said


def test_a_million_bodies_are_read_in_the_memory_of_a_few(tmp_path: Path) -> None:
    with (
        python(tmp_path, "tests.collector.fuzzing", str(BODIES), "100") as one,
        python(tmp_path, "tests.collector.fuzzing", str(BODIES), "200") as other,
    ):
        said = [said_by(one), said_by(other)]

    # Each fails by itself where memory grows.
    assert all(re.search(r"'taken': \d{5}", each) for each in said), said


def test_bodies_that_reach_every_line_are_read_or_refused(tools: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()

    with python(
        tmp_path,
        *("tests.system.fuzz.guided", corpus, "-seed=1"),
        *(f"-runs={GUIDED_BODIES}", f"-max_len={MOST_BODY_BYTES}", "-timeout=20"),
        *(f"-rss_limit_mb={MOST_RESIDENT_MB}", "-print_final_stats=1", "-verbosity=0"),
        path=[tools],
    ) as process:
        said = said_by(process)

    assert f"stat::number_of_executed_units: {GUIDED_BODIES}\n" in said
    # What it made up goes on from what it was given.
    assert len(list(corpus.iterdir())) > 200


def test_the_surface_is_as_it_is_written_down(tools: Path, tmp_path: Path) -> None:
    place = placed(tmp_path)
    token = place.add(NODE.name, NODE.location)

    with (
        serving(place),
        python(
            tmp_path,
            *("schemathesis.cli", "run", Path(__file__).with_name("surface.yml")),
            *("--url", f"http://{place.address}", "--header", f"Authorization: Bearer {token}"),
            *("--seed=1", "--generation-database=none", f"--max-examples={REQUESTS}"),
            *("--request-timeout=20", "--no-color"),
            path=[tools],
            SCHEMATHESIS_HOOKS="tests.system.fuzz.right_pushes",
        ) as process,
    ):
        said = said_by(process)
        page = place.ask("GET", "/metrics")[1]

    assert re.search(r"Tested: 5$", said, re.MULTILINE), said
    counted = counts(page)
    assert counted[Result.STORED] > 20
    assert counted[Result.UNSUPPORTED] > 20
    assert counted[Result.UNKNOWN_CREDENTIAL] > 0


def counts(page: str) -> Mapping[Result, int]:
    """Return how many messages a collector answered, by result."""
    lines = sample(page, "trafficd_collector_messages_total")
    found = [re.findall(r'result="(\w+)"\} (\d+)', line)[0] for line in lines]
    return {Result(result): int(number) for result, number in found}
