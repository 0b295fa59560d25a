"""A run that is ended anywhere and resumed decides what a run that never ended decides.

The oracle is the same recording through the same accounting without an end; what is tested is that
checkpoint and log hold all of it.
"""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.accounting.plans import Plan, plans, play, windows
from tests.accounting.recordings import Naming, Recording, configured
from trafficd.accounting.classify import Group
from trafficd.accounting.release import Decision
from trafficd.accounting.table import LinkTable
from trafficd.clock import Moment
from trafficd.config import AgentSettings
from trafficd.continuity import keeper as keeper_module
from trafficd.continuity.checkpoint import Checkpoint, SocketsState
from trafficd.continuity.journal import STATE_BYTES
from trafficd.continuity.keeper import Keeper
from trafficd.errors import StateError
from trafficd.kernel.recorded import RecordedEvent
from trafficd.links import LinkChanged, LinkRemoved
from trafficd.reader import replay as replay_module
from trafficd.reader.replay import replay
from trafficd.reader.run import Run
from trafficd.releases import Release, Utilisation
from trafficd.sandbox.libc import map_memory
from trafficd.wire.frame import decode_frame, encode_frame, past_frame


class StandingClock:
    """A clock that nobody asks for more than the present."""

    speed = 1.0

    def now(self) -> Moment:
        return Moment(1_700_000_000.0, 1000.0)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")


class MortalNode(replay_module._ReplayedNode):
    """The accounting of a node whose process is killed now and then, between any two events.

    It keeps itself as the reader does: a checkpoint after each sample and each decision, a record
    before each event.
    """

    def __init__(
        self, configured: AgentSettings, first_at: float, mortality: random.Random
    ) -> None:
        super().__init__(configured, first_at)
        self.configured = configured
        self.mortality = mortality
        self.deaths = 0
        self.memory = map_memory(STATE_BYTES)
        self.keeper = Keeper(self.memory)
        self.run = Run(configured, StandingClock())
        self._adopt()
        self._keep()

    def apply(self, event: RecordedEvent) -> None:
        if event.namespace not in self._tables:
            self._tables[event.namespace] = self._ledger.open_table()
            self._keep()
        if isinstance(event.said, LinkChanged | LinkRemoved):
            group = self._classifier.group(event.namespace, event.said.identity)
            number = list(self._tables).index(event.namespace)
            assert self.keeper.log(number, event.said, group)
            if self._may_die():
                # Killed before it was taken from the queue: it comes again.
                self._resume()
            super().apply(event)
            if self._may_die():
                self._resume()
                # And so it does if it was applied and not taken.
                super().apply(event)
        else:
            super().apply(event)
            self._keep()
        if self._may_die():
            self._resume()

    def decisions(self, until: float, *, is_included: bool) -> "list[Decision]":  # type: ignore[override]
        found = []
        for decision in super().decisions(until, is_included=is_included):
            found.append(decision)
            self.run.keep_release(encode_frame(decision.release))
            self._keep()
            if self._may_die():
                self._resume()
        return found

    def _may_die(self) -> bool:
        return self.mortality.random() < 0.2

    def _adopt(self) -> None:
        self._ledger, self._slots = self.run.ledger, self.run.slots
        if self.deaths:
            self._publisher = self.run.publisher
        else:
            self.run.publisher = self._publisher

    def _keep(self) -> None:
        sockets = [SocketsState(name, 1, 2, 3) for name in self._tables]
        self.run.slots = self._slots
        assert self.keeper.keep(self.run.checkpoint(self.keeper.boot_id, sockets, "text"))

    def _resume(self) -> None:
        self.deaths += 1
        self.keeper = Keeper(self.memory)
        self.run = Run.found(self.keeper, self.configured, StandingClock())
        assert self.run.is_resumed
        assert self.keeper.found is not None
        names = [each.namespace for each in self.keeper.found.sockets]
        self._tables = dict(zip(names, self.run.ledger.tables, strict=True))
        self._adopt()


def releases_of_mortal(
    recording: Recording, mortality: random.Random
) -> tuple[list[Decision], MortalNode]:
    nodes = []

    def mortal(configured: AgentSettings, first_at: float) -> MortalNode:
        nodes.append(MortalNode(configured, first_at, mortality))
        return nodes[0]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(replay_module, "_ReplayedNode", mortal)
        return list(replay(recording.settings, iter(recording.events))), nodes[0]


@settings(max_examples=150)
@given(plans, windows, st.randoms(use_true_random=False))
def test_a_run_killed_between_any_two_steps_decides_as_if_it_had_never_ended(
    plan: Plan, window: str, mortality: random.Random
) -> None:
    naming = Naming(namespaces=("green", "host", "blue"), reuses_ifindexes=True)
    recording = Recording(configured(window, 5), naming=naming)
    play(plan, recording)

    decisions, node = releases_of_mortal(recording, mortality)

    assert decisions == recording.decisions()
    kept = [decode_frame(past_frame(each)) for each in node.run.past()]
    assert kept == [decision.release for decision in decisions][:-1]


def test_what_is_resumed_is_tested_with_deaths() -> None:
    recording = Recording(configured("1h", 5))
    for _ in range(30):
        recording.close(recording.open("alpha", 1 << 20, 5))
    recording.next_point()

    _, node = releases_of_mortal(recording, random.Random(1))

    assert node.deaths > 10


def run_of(settings: AgentSettings) -> Run:
    return Run(settings, StandingClock())


def test_no_name_of_a_link_is_in_the_memory() -> None:
    recording = Recording(configured("1h", 5), naming=Naming(name="{}-mallory-{}".format))
    recording.open("alpha", 1 << 20, 5)
    recording.next_point()

    _, node = releases_of_mortal(recording, random.Random(1))

    written = bytes(node.memory)
    assert b"mallory" not in written
    # What is there is what the operator calls things.
    assert b"alpha" in written


def test_a_checkpoint_of_another_boot_is_not_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = map_memory(STATE_BYTES)
    keeper = Keeper(memory)
    assert keeper.boot_id
    keeper.keep(run_of(configured()).checkpoint(keeper.boot_id, (), "text"))
    assert Keeper(memory).found is not None

    monkeypatch.setattr(keeper_module, "_boot_id", lambda: "another")

    assert Keeper(memory).found is None


def test_a_checkpoint_that_is_whole_and_makes_no_sense_is_refused() -> None:
    memory = map_memory(STATE_BYTES)
    Keeper(memory)._journal.checkpoint(b"\x81\xa1x\x01")

    with pytest.raises(StateError, match="of another version; remove it"):
        Keeper(memory)


def test_fields_of_a_later_checkpoint_are_no_hindrance_to_this_one() -> None:
    """A checkpoint with a field more, as the version after this may write, is read."""
    import msgspec

    keeper = Keeper(map_memory(STATE_BYTES))
    content = keeper._encoder.encode(run_of(configured()).checkpoint("boot", (), "text"))
    document = msgspec.msgpack.decode(content)

    found = msgspec.msgpack.decode(
        msgspec.msgpack.encode({**document, "later": 1}), type=Checkpoint
    )

    assert found.configuration == "text"


def test_tables_of_namespaces_that_are_not_read_any_more_are_closed_with_their_bytes() -> None:
    run = run_of(configured())
    table, before = run.claim(SocketsState("green", 1, 2, 3))
    assert before is None
    keep_one_session(table)
    memory = map_memory(STATE_BYTES)
    keeper = Keeper(memory)
    keeper.keep(run.checkpoint(keeper.boot_id, [SocketsState("green", 1, 2, 3)], ""))

    for namespace, cookie in (("green", 9), ("blue", 1)):
        resumed = Run.found(Keeper(memory), configured(), StandingClock())
        fresh, before = resumed.claim(SocketsState(namespace, cookie, 2, 3))
        resumed.close_unclaimed()
        assert before is None
        assert fresh.ifindexes == []
        assert resumed.ledger.tables == [fresh]
        assert [totals.rx_bytes for totals in resumed.ledger.standing().groups.values()] == [500]


def keep_one_session(table: LinkTable) -> None:
    from trafficd.links import LinkCounters
    from trafficd.rules import Population, Role

    group = Group(Role.TUNNEL, "alpha", Population.PER_SESSION)
    table.change(7, group, LinkCounters(0, 0))
    table.change(7, group, LinkCounters(500, 0))


def test_new_classes_and_capacity_apply_to_a_run_that_is_resumed() -> None:
    memory = map_memory(STATE_BYTES)
    keeper = Keeper(memory)
    run = run_of(configured())
    assert isinstance(run.publisher.latest, Release)
    assert run.publisher.latest.utilisation == Utilisation()
    keeper.keep(run.checkpoint(keeper.boot_id, (), ""))
    from trafficd.config import parse_config

    other = parse_config(
        "links: [{name: e*, role: uplink, capacity: 3Gbit}, {name: t*, class: new}]"
    )

    latest = Run.found(Keeper(memory), other, StandingClock()).publisher.latest

    assert [name for name, _ in latest.classes] == ["new"]
    assert latest.capacity_bits_per_second == 3_000_000_000
