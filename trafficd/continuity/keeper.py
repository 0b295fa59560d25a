"""Keeps a run in the state's memory: what was found there, and what is put there."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from trafficd.accounting.classify import Group
from trafficd.accounting.table import LinkTable
from trafficd.continuity.checkpoint import Checkpoint
from trafficd.continuity.journal import Journal
from trafficd.continuity.records import encode_event, replay_event
from trafficd.errors import StateError
from trafficd.links import LinkEvent
from trafficd.sandbox.libc import overwrite

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Keeper:
    """The state of one reader.

    *found* is the newest whole checkpoint of this boot that stood there, if there was one.
    """

    def __init__(self, memory: memoryview) -> None:
        """Look at *memory*, of continuity/state_file.py; called while files can be opened still.

        Raises: StateError if another version wrote it.
        """
        self._journal = Journal(memory)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
        self.boot_id = _boot_id()
        self.found: Checkpoint | None = None
        self._records: Sequence[bytes] = ()
        recovered = self._journal.recover()
        if recovered is None:
            return
        try:
            found = msgspec.msgpack.decode(recovered.checkpoint, type=Checkpoint)
        except msgspec.DecodeError as error:
            raise StateError("state: of another version; remove it to begin a new run") from error
        if found.boot_id == self.boot_id:
            self.found, self._records = found, recovered.records

    def replay(self, tables: Sequence[LinkTable]) -> None:
        """Do to *tables*, those of the checkpoint that was found, what was logged since."""
        for record in self._records:
            replay_event(record, tables)
        self._records = ()

    def log(self, table: int, event: LinkEvent, group: Group) -> bool:
        """Note what is about to be done to the table with that number.

        Returns False if there is no room, which ``keep`` makes.
        """
        record = encode_event(table, event, group)
        try:
            return self._journal.log(record)
        finally:
            overwrite(record)

    def keep(self, checkpoint: Checkpoint) -> bool:
        """Have *checkpoint* be what the next reader finds.

        Its columns of ifindexes are zeros afterwards: nothing of it is to be found but there.
        Where it is too large nothing is kept: what is there would lack what came since.
        """
        content = self._encoder.encode(checkpoint)
        is_kept = self._journal.checkpoint(content)
        for spent in (content, *(table.ifindexes for table in checkpoint.ledger.tables)):
            overwrite(spent)
        if not is_kept:
            self._journal.forget()
        return is_kept


def _plain(value: object) -> str | int:
    """Return a word or a number of the configuration as what it is to everybody else."""
    return int(value) if isinstance(value, int) else str(value)


def _boot_id() -> str:
    """Return what tells this boot from every other (random(4)).

    It cannot be seen where /proc shows processes alone, as in a unit; but no tmpfs outlives a boot.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
