"""A reader that is killed loses no byte: on a real kernel, at every step and at any moment."""

import itertools
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from tests.conftest import Namespace
from tests.continuity.mortal_reader import ONCE_A_START, STEPS
from tests.continuity.supervised import WINDOW_SECONDS, Supervised, supervised
from tests.lab import TunSession, open_and_close_sessions
from trafficd.releases import Totals

pytestmark = pytest.mark.kernel

# A window takes a second.
SPEED = 300.0
KILLS = 12


class Churn(threading.Thread):
    """Sessions that open, receive and close, until it is stopped; *moved* is what they received."""

    def __init__(self, namespace: str, seed: int) -> None:
        super().__init__()
        self._namespace = namespace
        self._sizes = random.Random(seed)
        self._stop_it = threading.Event()
        self.moved = 0

    def run(self) -> None:
        for batch in itertools.count():
            if self._stop_it.is_set():
                return
            sizes = self._sizes.choices(range(20, 60_000), k=8)
            # A process that is being started holds what is closed here for a moment still.
            open_and_close_sessions(self._namespace, sizes, prefix=f"ppp{batch}-")
            self.moved += sum(sizes)

    def end(self) -> int:
        """Stop, and return what all sessions received."""
        self._stop_it.set()
        self.join()
        return self.moved


@contextmanager
def churning(namespace: str, seed: int) -> Iterator[Churn]:
    churn = Churn(namespace, seed)
    churn.start()
    try:
        yield churn
    finally:
        churn.end()


def all_that_is_queued_is_counted(node: Supervised) -> Totals:
    """Let one more reader start and settle, and return the tunnels' bytes."""
    node.start()
    node.until(node.is_ready, "ready")
    node.kill()
    return node.kept_total()


def assert_each_point_has_one_value_and_none_is_early(node: Supervised) -> None:
    values: dict[int, set[object]] = {}
    first_at: dict[int, float] = {}
    for at, release in node.handed_out:
        values.setdefault(release.at, set()).add(release)
        first_at.setdefault(release.at, at)
    assert {at: len(found) for at, found in values.items() if len(found) > 1} == {}
    # On the grid and not before its time: two of them are a window apart.
    assert [at for at in values if at % WINDOW_SECONDS] == []
    assert [at for at, moment in first_at.items() if moment < at] == []
    totals = [release.tunnel for _, release in node.handed_out]
    assert all(a.rx_bytes <= b.rx_bytes for a, b in pairwise(totals))


@pytest.mark.parametrize("step", STEPS)
def test_a_reader_killed_at_a_step_loses_no_byte_and_counts_none_twice(
    step: str, namespace: Namespace
) -> None:
    deaths = 0
    with (
        supervised(namespace.name, speed=SPEED) as node,
        TunSession(namespace.name, "ppp-long") as long,
    ):
        node.start()
        node.until(node.is_ready, "ready")
        node.kill()
        with churning(namespace.name, seed=len(step)) as churn:
            for count in (1, 1 if step in ONCE_A_START else 3):
                node.start(step, str(count))
                long.receive(10_000 + count)
                node.until(node.is_dead, f"dead {step}")
                deaths += node.bury() == -9
            moved = churn.end()
        total = all_that_is_queued_is_counted(node)
        assert total.rx_bytes == moved + long.rx_bytes
        assert node.kept().faults.blind_times == 0
        assert_each_point_has_one_value_and_none_is_early(node)

    assert deaths == 2


@pytest.mark.parametrize("step", ["before the log", "after the log", "before a removal"])
def test_an_event_is_not_taken_before_it_is_logged_and_applied(
    step: str, namespace: Namespace
) -> None:
    with supervised(namespace.name, speed=SPEED) as node:
        node.start()
        node.until(node.is_ready, "ready")
        node.kill()
        # A handful of events: if each death cost one, none would be left to tell of the bytes.
        open_and_close_sessions(namespace.name, [40_000], prefix="ppp")
        for _ in range(8):
            node.start(step, "1")
            node.until(node.is_dead, f"dead {step}")
            assert node.bury() == -9

        assert all_that_is_queued_is_counted(node).rx_bytes == 40_000


def test_a_reader_killed_at_random_moments_loses_no_byte(namespace: Namespace) -> None:
    moments = random.Random(8)
    with supervised(namespace.name, speed=SPEED) as node:
        node.start()
        node.until(node.is_ready, "ready")
        with churning(namespace.name, seed=1) as churn:
            for _ in range(KILLS):
                pause = threading.Event()
                pause.wait(moments.uniform(0.0, 1.5))
                node.kill()
                node.start()
            moved = churn.end()
        node.kill()

        assert all_that_is_queued_is_counted(node).rx_bytes == moved
        assert node.kept().faults.blind_times == 0
        assert_each_point_has_one_value_and_none_is_early(node)


def test_what_moved_while_no_reader_was_there_is_counted(namespace: Namespace) -> None:
    with (
        supervised(namespace.name, speed=SPEED) as node,
        TunSession(namespace.name, "ppp-long", rx_bytes=500) as long,
    ):
        node.start()
        node.until(node.is_ready, "ready")
        before = long.rx_bytes
        node.kill()
        long.receive(70_000)
        sizes = [1_000 + number for number in range(100)]
        open_and_close_sessions(namespace.name, sizes, prefix="ppp")

        with TunSession(namespace.name, "ppp-new", rx_bytes=900):
            total = all_that_is_queued_is_counted(node)

        assert total.rx_bytes == long.rx_bytes - before + sum(sizes) + 900


def test_an_exporter_that_was_away_gets_every_release_it_missed(namespace: Namespace) -> None:
    with supervised(namespace.name, speed=SPEED) as node:
        node.start()
        node.until(node.is_ready, "ready")
        node.hang_up()
        away_until = node.clock.now().utc_seconds + 7 * WINDOW_SECONDS
        node.until(lambda: node.clock.now().utc_seconds > away_until, "some windows")
        # The reader may end meanwhile.
        node.kill()
        decided = len(node.kept()._kept)
        node.start()
        node.until(lambda: node.is_ready() and len(node.past) >= decided - 1, "what was missed")
        node.kill()

    latest = node.handed_out[-1][1]
    points = [release.at for release in node.past]
    assert points == sorted(set(points))
    assert points[-1] < latest.at
    # Every one that was decided, of which a busy machine may leave some out.
    assert len(points) == decided - 1
