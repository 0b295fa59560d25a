"""The reader on a real kernel and a clock that the test moves; what leaves it is read at the end
where the exporter sits."""

import asyncio
import contextlib
import itertools
import logging
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.conftest import FakeClock, Namespace
from tests.lab import TunSession, open_and_close_sessions, queue_link_events
from trafficd.config import parse_config
from trafficd.continuity.keeper import Keeper
from trafficd.continuity.state_file import state_in_memory
from trafficd.kernel.sockets import LinkSockets, open_link_sockets
from trafficd.log import Message
from trafficd.reader.app import Reader, Surroundings, run_reader
from trafficd.reader.configuration import Configuration
from trafficd.reader.watch import NamespaceWatch
from trafficd.releases import Release, Totals
from trafficd.service.lifecycle import run_until
from trafficd.service.lifeline import Lifeline, text_message
from trafficd.service.notify import ServiceManager
from trafficd.service.releases import connected_releases
from trafficd.wire.frame import FRAME_BYTES, decode_frame, is_past

pytestmark = pytest.mark.kernel

WINDOW_SECONDS = 300
# Two decisions may be closer than the window by the scheduling of a busy machine, and no more
# (accounting/window.py).
SLACK_SECONDS = 1.0
MIB = 1 << 20
# 200 seconds after a grid point, 100 before the next.
START = 1_700_000_000


class HandClock(FakeClock):
    """A clock whose sleeper wakes when a test has moved it far enough.

    *at_rest* is called whenever it sleeps again.
    """

    def __init__(self, utc_seconds: float = START) -> None:
        super().__init__(utc_seconds)
        self.at_rest: Callable[[], None] = lambda: None
        self._deadline = 0.0
        self._asleep = asyncio.Event()
        self._woken = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self._deadline = self.moment.elapsed_seconds + seconds
        self._woken.clear()
        self._asleep.set()
        await self._woken.wait()

    async def run(self, seconds: float) -> None:
        """Let time pass as on a machine that is awake, and return when all that is due is done."""
        end = self.moment.elapsed_seconds + seconds
        while True:
            await self._asleep.wait()
            self.at_rest()
            if self._deadline > end:
                break
            self.advance(max(0.0, self._deadline - self.moment.elapsed_seconds))
            self._wake()
        self.advance(end - self.moment.elapsed_seconds)

    async def suspend(self, seconds: float) -> None:
        """Let time pass while nothing runs, wake, and return when all that is due is done."""
        await self._asleep.wait()
        self.advance(seconds)
        await self.run(0)

    def _wake(self) -> None:
        self._asleep.clear()
        self._woken.set()


class Running:
    """A reader that runs: its clock, what it released, and how it is told of other rules."""

    def __init__(self, clock: HandClock, links: list[LinkSockets]) -> None:
        self.clock = clock
        listener, self._exporter_end = connected_releases()
        self._address = listener.getsockname()
        self._exporter_end.setblocking(False)
        self._texts, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._there = there
        self._lifeline = Lifeline(there)
        self._reader = Reader(configuration(), surroundings(links, listener, clock, self._lifeline))

    async def work_until(self, stop: asyncio.Event) -> None:
        """Run its workers."""
        await run_until(stop, self._reader.workers())

    async def start(self) -> None:
        """Start it; the exporter has been answered when this returns."""
        self._lifeline.listen(lambda: None)
        await self._reader.start()
        await self._answers()

    async def _answers(self) -> None:
        for _ in range(100_000):
            with contextlib.suppress(BlockingIOError):
                if self._exporter_end.recv(1, socket.MSG_PEEK):
                    return
            await asyncio.sleep(0)
        raise AssertionError("not answered")

    def close(self) -> None:
        """Close its sockets and what is at their other ends."""
        asyncio.get_running_loop().remove_reader(self._there)
        for each in (self._reader, self._exporter_end, self._texts, self._there):
            each.close()

    def hand_down(self, links: str = "") -> None:
        """Tell it of other rules, as the agent does at SIGHUP."""
        self._texts.send(text_message(text_of(links)))

    def loses_its_exporter(self) -> None:
        """Have the exporter be gone."""
        self._exporter_end.close()

    async def gets_an_exporter(self) -> None:
        """Have another exporter connect, and be answered."""
        self._exporter_end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._exporter_end.connect(self._address)
        self._exporter_end.setblocking(False)
        await self._answers()

    def frames(self) -> Iterator[bytes]:
        """Yield what has arrived at the exporter since the last call."""
        with contextlib.suppress(BlockingIOError):
            while frame := self._exporter_end.recv(2 * FRAME_BYTES):
                yield frame

    def releases(self) -> Iterator[Release]:
        """Yield the releases that have arrived at the exporter since the last call."""
        return map(decode_frame, self.frames())

    async def knows_link(self, ifindex: int) -> None:
        """Return when the reader has found the link *ifindex* in its only namespace."""
        for _ in range(100_000):
            if ifindex in self._reader._watches[0]._table.ifindexes:
                return
            await asyncio.sleep(0)
        raise AssertionError("not found")

    def last(self) -> Release:
        """Return the newest release."""
        *_, last = self.releases()
        return last


class Said(logging.Handler):
    """What was logged, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self._news = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self._news.set()

    async def wait_for(self, message: Message) -> None:
        """Return when *message* was said since the last wait for it."""
        while message.value not in self.messages:
            self._news.clear()
            await self._news.wait()
        self.messages.remove(message.value)


@pytest.fixture
def said() -> Iterator[Said]:
    """What is logged from now on."""
    handler, logger = Said(), logging.getLogger("trafficd")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def text_of(links: str = "") -> str:
    return f"window: 5m\n{links}"


def configuration() -> Configuration:
    return Configuration(parse_config(text_of()), text_of())


def surroundings(
    links: list[LinkSockets], releases: socket.socket, clock: HandClock, lifeline: Lifeline
) -> Surroundings:
    """What a reader works with that nothing has to outlive."""
    keeper, manager = Keeper(state_in_memory()), ServiceManager({})
    return Surroundings(links, releases, clock, keeper, lifeline, manager)


@contextlib.asynccontextmanager
async def running(
    *namespaces: Namespace, event_buffer_bytes: int = 0, utc_seconds: float = START
) -> AsyncIterator[Running]:
    """A reader of *namespaces* at work; it ends with the block."""
    links = [open_link_sockets(each.name) for each in namespaces]
    for each in links:
        if event_buffer_bytes:
            each.events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, event_buffer_bytes)
    found = Running(HandClock(utc_seconds), links)
    stop = asyncio.Event()
    async with asyncio.timeout(60), contextlib.AsyncExitStack() as ladder:
        ladder.callback(found.close)
        await found.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(found.work_until(stop))
            try:
                yield found
            finally:
                stop.set()


async def test_the_exporter_gets_a_page_of_zeros_at_once(namespace: Namespace) -> None:
    with TunSession(namespace.name, "tun0", rx_bytes=5 * MIB):
        async with running(namespace) as reader:
            releases = list(reader.releases())

    assert [release.at for release in releases] == [0]
    assert releases[0].tunnel == Totals()
    assert releases[0].started_at == START - 200
    assert dict(releases[0].classes)["openvpn"] == Totals()


async def test_releases_come_on_grid_points_only_and_the_first_after_a_whole_window(
    namespace: Namespace,
) -> None:
    instants: list[tuple[float, int]] = []

    async with running(namespace) as reader:
        for _ in range(1300):
            await reader.clock.run(1)
            now = reader.clock.now().utc_seconds - START
            instants.extend((now, release.at - START) for release in reader.releases())

    assert instants == [(1, -START), (400, 400), (700, 700), (1000, 1000), (1300, 1300)]


async def test_a_release_holds_all_that_moved_before_it_and_nothing_that_moved_later(
    namespace: Namespace,
) -> None:
    async with running(namespace) as reader:
        await reader.clock.run(95)
        with TunSession(namespace.name, "tun0", rx_bytes=3 * MIB) as session:
            await reader.clock.run(304.9)
            session.receive(4 * MIB)
            await reader.clock.run(0.1)
            first = reader.last()
            session.receive(MIB)
            session.transmit(namespace.name, 1000)
        open_and_close_sessions(namespace.name, [MIB] * 20)
        await reader.clock.run(300)
        second = reader.last()

    assert (first.at, second.at) == (START + 400, START + 700)
    assert first.tunnel == Totals(7 * MIB, 0)
    assert second.tunnel == Totals(28 * MIB, 0)
    assert dict(second.classes)["openvpn"] == Totals(28 * MIB, 0)


async def test_published_totals_are_whole_mebibytes_and_what_is_left_over_comes_later(
    namespace: Namespace,
) -> None:
    async with running(namespace) as reader:
        with TunSession(namespace.name, "tun0", rx_bytes=2 * MIB - 100) as session:
            await reader.clock.run(400)
            first = reader.last()
            session.receive(100)
            await reader.clock.run(300)
            second = reader.last()

    assert [first.tunnel.rx_bytes, second.tunnel.rx_bytes] == [MIB, 2 * MIB]


async def test_several_namespaces_come_together_in_one_release(
    namespace: Namespace, other_namespace: Namespace
) -> None:
    async with running(namespace, other_namespace) as reader:
        with TunSession(namespace.name, "tun0", rx_bytes=3 * MIB) as session:
            namespace.ip("link", "set", "tun0", "netns", other_namespace.name)
            session.bring_up(other_namespace.name)
            session.receive(2 * MIB)
            open_and_close_sessions(namespace.name, [MIB] * 5)
            await reader.clock.run(400)

        assert reader.last().tunnel == Totals(10 * MIB, 0)


# ---- rules ----


async def test_new_rules_count_from_then_on_and_lose_no_byte(
    namespace: Namespace, said: Said
) -> None:
    new_rules = "links: [{name: tun*, class: other, population: shared}]"

    async with running(namespace) as reader:
        with TunSession(namespace.name, "tun0", rx_bytes=3 * MIB - 7) as session:
            reader.hand_down(new_rules)
            await said.wait_for(Message.RULES_REREAD)
            session.receive(2 * MIB + 7)
            open_and_close_sessions(namespace.name, [MIB] * 5)
            await reader.clock.run(400)
            release = reader.last()

    # 7 bytes were short of a mebibyte in each class, and of none in their sum.
    assert release.tunnel == Totals(10 * MIB, 0)
    assert release.classes == (("other", Totals(7 * MIB, 0)),)


async def test_rules_that_come_back_find_their_class_as_they_left_it(
    namespace: Namespace, said: Said
) -> None:
    new_rules = "links: [{name: tun*, class: other, population: shared}]"

    async with running(namespace) as reader:
        with TunSession(namespace.name, "tun0", rx_bytes=3 * MIB) as session:
            reader.hand_down(new_rules)
            await said.wait_for(Message.RULES_REREAD)
            session.receive(20 * MIB)
            reader.hand_down()
            await said.wait_for(Message.RULES_REREAD)
            session.receive(MIB)
            await reader.clock.run(400)
            release = reader.last()

    assert dict(release.classes)["openvpn"] == Totals(4 * MIB, 0)
    assert release.tunnel == Totals(24 * MIB, 0)


async def test_rules_that_change_under_many_sessions_lose_no_byte(
    namespace: Namespace, said: Said
) -> None:
    sizes = random.Random(5).choices(range(20, 50_000), k=150)
    rules = [
        "links: [{name: tun*, class: other, population: shared}]",
        "links: [{name: tun*, class: openvpn, population: shared}]",
    ]
    changes, moved = 0, sum(sizes)

    async with running(namespace) as reader:
        async with asyncio.TaskGroup() as group:
            sessions = group.create_task(
                asyncio.to_thread(open_and_close_sessions, namespace.name, sizes)
            )
            while not sessions.done():
                changes += 1
                reader.hand_down(rules[changes % 2])
                await said.wait_for(Message.RULES_REREAD)
                if sessions.done() and changes < 3:
                    # A slow machine changes rules more slowly than it opens sessions.
                    moved += sum(sizes)
                    sessions = group.create_task(
                        asyncio.to_thread(open_and_close_sessions, namespace.name, sizes)
                    )
        # What is short of a mebibyte is rounded away.
        open_and_close_sessions(namespace.name, [MIB - moved % MIB])
        await reader.clock.run(400)
        release = reader.last()

    assert release.tunnel == Totals(moved + MIB - moved % MIB, 0)
    assert changes > 2


async def test_a_bad_file_keeps_the_rules_that_are(namespace: Namespace, said: Said) -> None:
    async with running(namespace) as reader:
        with TunSession(namespace.name, "tun0", rx_bytes=3 * MIB) as session:
            reader.hand_down("links: [{name: tun*, clas: other}]")
            await said.wait_for(Message.RULES_REFUSED)
            session.receive(MIB)
            await reader.clock.run(400)
            release = reader.last()
            reader.hand_down()
            await said.wait_for(Message.RULES_REREAD)

    assert dict(release.classes)["openvpn"] == Totals(4 * MIB, 0)


async def test_other_keys_that_changed_are_said_to_need_a_restart(
    namespace: Namespace, said: Said
) -> None:
    async with running(namespace) as reader:
        reader.hand_down("node: {location: elsewhere}")
        await said.wait_for(Message.RESTART_NEEDED)
        await reader.clock.run(400)

        assert reader.last().at == START + 400


# ---- clocks that are stepped ----


async def test_a_clock_set_forward_never_makes_a_window_short(namespace: Namespace) -> None:
    async with running(namespace) as reader:
        await reader.clock.run(50)
        reader.clock.step(+50)  # onto a grid point
        await reader.clock.run(249)
        early = [release.at for release in reader.releases()]
        await reader.clock.run(300)
        later = [release.at for release in reader.releases()]

    assert early == [0]
    assert later == [START + 400]


async def test_a_clock_set_back_never_publishes_a_grid_point_again(namespace: Namespace) -> None:
    async with running(namespace) as reader:
        await reader.clock.run(400)
        first = reader.last().at
        reader.clock.step(-300)
        await reader.clock.run(300)
        again = [release.at for release in reader.releases()]
        await reader.clock.run(300)
        next_one = [release.at for release in reader.releases()]

    assert first == START + 400
    assert again == []
    assert next_one == [START + 700]


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_is_done_to_the_clock_windows_are_whole_and_grid_points_come_once(
    namespace: Namespace, seed: int
) -> None:
    chance = random.Random(seed)
    points: list[int] = []
    moved = 0

    async with running(namespace) as reader:
        moments = [reader.clock.now().elapsed_seconds]
        list(reader.releases())

        def note() -> None:
            for release in reader.releases():
                points.append(release.at)
                moments.append(reader.clock.now().elapsed_seconds)

        reader.clock.at_rest = note
        with TunSession(namespace.name, "tun0") as session:
            for _ in range(200):
                session.receive(MIB)
                moved += MIB
                match chance.choice(["run", "run", "suspend", "step"]):
                    case "run":
                        await reader.clock.run(chance.choice([0.25, 1, 30, 299.5, 300, 1000]))
                    case "suspend":
                        await reader.clock.suspend(chance.choice([1, 9, 30, 299, 300, 5000]))
                    case _:
                        reader.clock.step(chance.choice([-3600, -300, -7, -0.5, 0.5, 7, 300, 3600]))
            reader.clock.at_rest = lambda: None
            # Past every grid point that was ever decided.
            reader.clock.step(+(200 * 3600))
            await reader.clock.run(2 * WINDOW_SECONDS)
            last = reader.last()

    windows = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(points) > 20
    assert {at % WINDOW_SECONDS for at in points} == {0}
    assert len(set(points)) == len(points)
    assert min(windows) >= WINDOW_SECONDS - SLACK_SECONDS
    assert last.tunnel == Totals(moved, 0)


async def test_a_machine_that_slept_through_a_grid_point_leaves_it_out_and_loses_nothing(
    namespace: Namespace,
) -> None:
    async with running(namespace) as reader:
        with TunSession(namespace.name, "tun0", rx_bytes=MIB) as session:
            await reader.clock.run(390)
            await reader.clock.suspend(60)  # over the grid point at 400
            slept_through = [release.at for release in reader.releases()]
            session.receive(2 * MIB)
            await reader.clock.run(250)
            releases = list(reader.releases())

    assert slept_through == [0]
    assert [release.at for release in releases] == [START + 700]
    assert releases[0].tunnel == Totals(3 * MIB, 0)


# ---- overruns, and the end ----


async def test_an_overrun_is_mended_at_once_and_told_at_the_next_grid_point(
    namespace: Namespace, said: Said
) -> None:
    with TunSession(namespace.name, "wg0") as known:
        async with running(namespace, event_buffer_bytes=16_384) as reader:
            known.receive(3 * MIB)
            queue_link_events(namespace.name, 400)
            unseen = TunSession(namespace.name, "tun-unseen", ifindex=4242, rx_bytes=50 * MIB)
            with unseen:
                # No time passes on the clock: this does not wait for the next sample.
                await reader.knows_link(4242)
                told_early = [m for m in said.messages if m == Message.OVERRUN.value]
                unseen.receive(MIB)
                known.receive(MIB)
            await reader.clock.run(400)
            release = reader.last()

    assert told_early == []
    assert said.messages.count(Message.OVERRUN.value) == 1
    assert release.faults.overruns == 1
    assert dict(release.classes)["wireguard"] == Totals(4 * MIB, 0)
    assert dict(release.classes)["openvpn"] == Totals(MIB, 0)


async def test_no_log_line_names_a_link(namespace: Namespace, said: Said) -> None:
    async with running(namespace, event_buffer_bytes=16_384) as reader:
        queue_link_events(namespace.name, 400)
        open_and_close_sessions(namespace.name, [54_321])
        reader.hand_down()
        await said.wait_for(Message.RULES_REREAD)
        await reader.clock.run(400)

    text = "\n".join(said.messages)
    assert "counting" in text
    assert not [word for word in ("tun0", "noise", "54321", "54_321") if word in text]


async def test_run_reader_ends_on_sigterm_and_closes_every_socket(
    namespace: Namespace, said: Said
) -> None:
    listener, exporter_end = connected_releases()
    sockets = open_link_sockets(namespace.name)
    clock = HandClock()
    given = surroundings([sockets], listener, clock, Lifeline(None))

    async def terminate() -> None:
        await clock.run(1)
        os.kill(os.getpid(), signal.SIGTERM)

    with exporter_end:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(terminate())
            await run_reader(configuration(), given, lock=lambda: None)
        frames = [exporter_end.recv(2 * FRAME_BYTES), exporter_end.recv(1)]

    assert decode_frame(frames[0]).at == 0
    assert frames[1] == b""
    assert [each.fileno() for each in (sockets.events, sockets.dumps, listener)] == [-1, -1, -1]
    assert said.messages[-1] == Message.READER_STOPPED.value


async def test_a_reader_whose_exporter_is_gone_counts_on_and_tells_the_next_one_all(
    namespace: Namespace,
) -> None:
    async with running(namespace) as reader:
        with TunSession(namespace.name, "tun0", rx_bytes=3 * MIB) as session:
            reader.loses_its_exporter()
            await reader.clock.run(400)
            session.receive(MIB)
            await reader.clock.run(600)
            await reader.gets_an_exporter()
            frames = list(reader.frames())

    releases = [decode_frame(each) for each in frames]
    assert [release.at - START for release in releases] == [1000, 400, 700]
    assert [is_past(each) for each in frames] == [False, True, True]
    assert [release.tunnel for release in releases] == [
        Totals(4 * MIB, 0), Totals(3 * MIB, 0), Totals(4 * MIB, 0),
    ]  # fmt: skip


async def test_a_kernel_that_keeps_a_sample_waiting_makes_no_window_short(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(namespace) as node:
        prompt = NamespaceWatch.sample

        async def late(watch: NamespaceWatch) -> None:
            await prompt(watch)
            # As long as the kernel may hold its lock while it takes thousands of links away.
            node.clock.advance(55)

        await node.clock.run(390)
        monkeypatch.setattr(NamespaceWatch, "sample", late)
        await node.clock.run(60)
        monkeypatch.undo()
        missed = [release.at for release in node.releases() if release.at]
        await node.clock.run(900)
        later = [release.at for release in node.releases()]

    # The point at 400 s was answered at 455 s, too late to be its own; the next are whole.
    assert missed == []
    assert later[0] == START + 700
