"""Each version's state is read by every later one: what was written then stands beside this file.

`pytest --update-golden` writes that of the present version, where there is none yet.
"""

import os
import tempfile
from pathlib import Path

import pytest

from tests.continuity.kept import kept_run
from trafficd.accounting.classify import Group
from trafficd.clock import SystemClock
from trafficd.config import parse_config
from trafficd.continuity.checkpoint import SocketsState
from trafficd.continuity.journal import STATE_BYTES, VERSION
from trafficd.continuity.keeper import Keeper
from trafficd.continuity.state_file import open_state
from trafficd.errors import StateError
from trafficd.links import LinkChanged, LinkCounters, LinkIdentity, LinkRemoved
from trafficd.reader.run import Run
from trafficd.releases import Totals
from trafficd.rules import Population, Role
from trafficd.sandbox.libc import map_memory

GOLDEN = Path(__file__).parent.parent / "golden"
CONFIGURATION = "links: [{name: a*, class: alpha}, {name: e*, role: uplink, capacity: 1Gbit}]\n"
SESSION = Group(Role.TUNNEL, "alpha", Population.PER_SESSION)
UPLINK = Group(Role.UPLINK, is_rated=True)
_PAGE_BYTES = 4096


def write_state(memory: memoryview) -> None:
    """Have a run of two sessions, one of which has ended since the checkpoint, and an uplink."""
    keeper = Keeper(memory)
    run = Run(parse_config(CONFIGURATION), SystemClock())
    sockets = SocketsState("host", 11, 22, 33)
    table, _ = run.claim(sockets)
    for ifindex, group in ((5, SESSION), (6, SESSION), (2, UPLINK)):
        table.change(ifindex, group, LinkCounters(0, 0))
        table.change(ifindex, group, LinkCounters(1_000 * ifindex, 70))
    run.ledger.settle()
    keeper.keep(run.checkpoint("", [sockets], CONFIGURATION))
    identity = LinkIdentity(b"alpha5", 65534, is_slave=False)
    keeper.log(0, LinkChanged(5, identity, LinkCounters(5_400, 70)), SESSION)
    keeper.log(0, LinkRemoved(5, identity, LinkCounters(5_500, 71)), SESSION)


def packed(memory: memoryview) -> str:
    """Return the pages that are not zeros, each behind its place."""
    pieces = []
    for start in range(0, len(memory), _PAGE_BYTES):
        page = bytes(memory[start : start + _PAGE_BYTES])
        if page.strip(b"\0"):
            pieces.append(f"{start} {page.rstrip(bytes(1)).hex()}")
    return "\n".join(pieces) + "\n"


def unpack(text: str, memory: memoryview) -> None:
    for line in text.splitlines():
        start, content = int(line.split()[0]), bytes.fromhex(line.split()[1])
        memory[start : start + len(content)] = content


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_the_state_of_each_version_is_gone_on_with(
    version: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    golden = GOLDEN / f"state-{version}.txt"
    if request.config.getoption("--update-golden") and not golden.exists():
        memory = map_memory(STATE_BYTES)
        write_state(memory)
        golden.write_text(packed(memory))
    memory = map_memory(STATE_BYTES)
    unpack(golden.read_text(), memory)
    state = tmp_path / "state"
    state.write_bytes(memory)

    run = kept_run(state)

    assert run.ledger.standing().total(Role.TUNNEL) == Totals(11_500, 141)
    assert run.ledger.standing().total(Role.UPLINK) == Totals(2_000, 70)
    assert run.ledger.rated_uplink() == Totals(2_000, 70)
    assert sorted(run.ledger.tables[0].ifindexes) == [2, 6]
    # The session that ended left its seat with what it moved, 5,500 and 71 bytes; the other sits.
    run.ledger.settle()
    seats = run.ledger.node_seats
    assert sorted(seats.rx_bytes) == [5_500, 6_000]
    assert seats.rx_bytes[seats.take()] == 5_500
    _, before = run.claim(SocketsState("host", 11, 0, 0))
    assert before == SocketsState("host", 11, 22, 33)


def test_a_state_file_of_another_length_is_refused_and_left_alone() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        state = Path(folder, "state")
        state.touch(mode=0o600)
        os.truncate(state, STATE_BYTES - 4096)

        with pytest.raises(StateError, match="of another version"):
            open_state(state)
        assert state.stat().st_size == STATE_BYTES - 4096
