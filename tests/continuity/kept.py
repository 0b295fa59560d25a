"""What a state file holds, looked at from outside and without touching it."""

from pathlib import Path

import msgspec

from trafficd.clock import SystemClock
from trafficd.config import parse_config
from trafficd.continuity import keeper as keeper_module
from trafficd.continuity.checkpoint import Checkpoint
from trafficd.continuity.journal import STATE_BYTES, Journal
from trafficd.continuity.keeper import Keeper
from trafficd.reader.run import Run
from trafficd.sandbox.libc import map_memory


def kept_run(state: Path) -> Run:
    """Return the run that a successor would go on with, up to the last event logged."""
    # A copy: to look at it must not change it, nor keep the next reader out.
    memory = map_memory(STATE_BYTES)
    with state.open("rb") as file:
        file.readinto(memory)
    keeper = Keeper(memory)
    if keeper.found is None:
        # Kept where the boot cannot be told (continuity/keeper.py).
        recovered = Journal(memory).recover()
        assert recovered is not None, f"{state}: no whole checkpoint"
        keeper.found = msgspec.msgpack.decode(recovered.checkpoint, type=Checkpoint)
        keeper._records = recovered.records
        assert keeper.found.boot_id in ("", keeper_module._boot_id())
    run = Run.found(keeper, parse_config(keeper.found.configuration), SystemClock())
    assert run.is_resumed
    return run
