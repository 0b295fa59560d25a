"""A store that is killed at any moment has all that it said was durable, once, and is whole."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from tests.collector.mortal_store import release
from tests.collector.storing import HOUR, MIDNIGHT, made, numbers
from trafficd.collector.backup import verify
from trafficd.collector.store import Store

NODES = [f"fra-{number}" for number in range(8)]
KILLS = 20
REPOSITORY = Path(__file__).parents[2]


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "collector.db"
    made(path, *NODES).close()
    rng = random.Random(5)
    acknowledged: set[int] = set()

    for kill in range(KILLS):
        first = max(acknowledged, default=0) + 1
        program = [sys.executable, "-m", "tests.collector.mortal_store", str(path)]
        with subprocess.Popen(
            [*program, str(first), str(kill)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        ) as writing:
            assert writing.stdout is not None
            for _ in range(rng.randrange(1, 20)):
                acknowledged.add(int(writing.stdout.readline()))
            # It goes on meanwhile: between any two of its instructions.
            writing.kill()
            acknowledged.update(int(line) for line in writing.stdout if line.endswith("\n"))
            assert writing.wait() == -signal.SIGKILL

        store = Store(path)
        for number in numbers(store):
            found = {each.at: each for each in store.history(number, 0, 1 << 40)}
            for hour in acknowledged:
                assert found[MIDNIGHT + hour * HOUR] == release(number, hour)
        store.close()
        assert verify(path) == []
