"""A namespace under watch as the reader watches it: the same sockets, decoders and ledger."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trafficd.accounting.classify import Classifier
from trafficd.accounting.ledger import Ledger, LinkTable
from trafficd.kernel.dump import LinkReader
from trafficd.kernel.events import EventSocket
from trafficd.kernel.sockets import open_link_sockets
from trafficd.reader.faults import FaultCounter
from trafficd.reader.watch import NamespaceWatch
from trafficd.rules import BUILT_IN_RULES, HOST_NAMESPACE


@dataclass(frozen=True, slots=True)
class Watched:
    """A watch and what it fills."""

    watch: NamespaceWatch
    table: LinkTable
    ledger: Ledger
    faults: FaultCounter


@contextlib.contextmanager
def watched(namespace: str, events: Callable[..., EventSocket] = EventSocket) -> Iterator[Watched]:
    """Watch *namespace* meanwhile, by the built-in rules; call it inside a running loop."""
    sockets = open_link_sockets(namespace)
    ledger, faults = Ledger(), FaultCounter()
    table = ledger.open_table()
    watch = NamespaceWatch(
        HOST_NAMESPACE,
        events(sockets.events),
        LinkReader(sockets.dumps),
        table,
        Classifier(BUILT_IN_RULES),
        faults,
    )
    try:
        yield Watched(watch, table, ledger, faults)
    finally:
        watch.close()
