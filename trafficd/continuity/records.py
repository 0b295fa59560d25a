"""A link event as a record of fixed size: what it did to a link table, and no name."""

import struct
from collections.abc import Sequence

from trafficd.accounting.classify import Group
from trafficd.accounting.table import LinkTable
from trafficd.links import LinkChanged, LinkCounters, LinkEvent
from trafficd.rules import Population, Role

# Table, ifindex; what happened, whether there are counters; of the group its role, population,
# whether it is rated, and its class; the counters.
_RECORD = struct.Struct("=HI2?BB?32sQQ")
RECORD_BYTES = _RECORD.size

_ROLES = tuple(Role)
_POPULATIONS = tuple(Population)


def encode_event(table: int, event: LinkEvent, group: Group) -> bytes:
    """Return *event* on the table with the number *table*, whose link counts towards *group*."""
    counters = event.counters or LinkCounters(0, 0)
    return _RECORD.pack(
        table,
        event.ifindex,
        isinstance(event, LinkChanged),
        event.counters is not None,
        _ROLES.index(group.role),
        _POPULATIONS.index(group.population),
        group.is_rated,
        group.class_name.encode("ascii"),
        counters.rx_bytes,
        counters.tx_bytes,
    )


def replay_event(record: bytes, tables: Sequence[LinkTable]) -> None:
    """Do to one of *tables* what *record* says."""
    table, ifindex, is_change, has_counters, role, population, is_rated, name, rx, tx = (
        _RECORD.unpack(record)
    )
    group = Group(
        _ROLES[role], name.rstrip(b"\0").decode("ascii"), _POPULATIONS[population], is_rated
    )
    counters = LinkCounters(rx, tx) if has_counters else None
    act = tables[table].change if is_change else tables[table].remove
    act(ifindex, group, counters)
