"""A namespace under watch as the reader watches it: sockets, decoders, log, ledger, checkpoints."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trafficd.accounting.classify import Classifier, Group
from trafficd.accounting.ledger import Ledger
from trafficd.accounting.table import LinkTable
from trafficd.clock import SystemClock
from trafficd.config import parse_config
from trafficd.continuity.keeper import Keeper
from trafficd.continuity.state_file import state_in_memory
from trafficd.kernel.dump import LinkReader
from trafficd.kernel.events import EventSocket
from trafficd.kernel.sockets import open_link_sockets
from trafficd.links import LinkEvent
from trafficd.reader.faults import FaultCounter
from trafficd.reader.run import Run
from trafficd.reader.source import Source
from trafficd.reader.watch import NamespaceWatch
from trafficd.rules import BUILT_IN_RULES, HOST_NAMESPACE


@dataclass(frozen=True, slots=True)
class Watched:
    """A watch and what it fills; *keep* writes a checkpoint."""

    watch: NamespaceWatch
    table: LinkTable
    ledger: Ledger
    faults: FaultCounter
    keep: Callable[[], object]


@contextlib.contextmanager
def watched(namespace: str, events: Callable[..., EventSocket] = EventSocket) -> Iterator[Watched]:
    """Watch *namespace* meanwhile, by the built-in rules; call it inside a running loop."""
    sockets = open_link_sockets(namespace)
    run, keeper = Run(parse_config(""), SystemClock()), Keeper(state_in_memory())
    source = Source(run, sockets)

    def log(event: LinkEvent, group: Group) -> None:
        if not keeper.log(0, event, group):
            keep()
            keeper.log(0, event, group)

    def keep() -> None:
        keeper.keep(run.checkpoint(keeper.boot_id, [source.state(watch.drops)], ""))

    watch = NamespaceWatch(
        HOST_NAMESPACE,
        events(sockets.events),
        LinkReader(sockets.dumps),
        source.table,
        Classifier(BUILT_IN_RULES),
        run.faults,
        log,
    )
    try:
        keep()
        yield Watched(watch, source.table, run.ledger, run.faults, keep)
    finally:
        watch.close()
