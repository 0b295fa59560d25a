"""Link events from a recording instead of a kernel: JSON lines in time order.

A line is ``{"at": UNIX_SECONDS, "event": "new"|"counters"|"gone", "ifindex": N, "link": NAME,
"rx_bytes": N, "tx_bytes": N}``. ``new`` is an RTM_NEWLINK and carries the counters to start from,
``counters`` is what a dump would say then, ``gone`` is an RTM_DELLINK with the final counters.
``link`` may be left out but for ``new``; a second ``new`` of a link is a rename. Rules on more than
a name see ``"type"`` (default ``none``), ``"namespace"`` (default ``host``) and ``"slave"``
(default false) of ``new``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from trafficd.errors import ScheduleError
from trafficd.links import LinkChanged, LinkCounters, LinkIdentity, LinkRemoved, Sample
from trafficd.rules import HOST_NAMESPACE, LinkType

# As wide as the kernel's, less the bit that JSON readers cannot be trusted with.
_MOST_BYTES = 2**63 - 1
_LATEST_SECONDS = 2**40


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at: Annotated[float, msgspec.Meta(ge=0, le=_LATEST_SECONDS)]
    event: Literal["new", "counters", "gone"]
    ifindex: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    rx_bytes: Annotated[int, msgspec.Meta(ge=0, le=_MOST_BYTES)]
    tx_bytes: Annotated[int, msgspec.Meta(ge=0, le=_MOST_BYTES)]
    link: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    type: LinkType = LinkType.parse("none")
    namespace: str = HOST_NAMESPACE
    slave: bool = False


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One line: when, in which namespace, and what the kernel would have said."""

    at: float
    namespace: str
    said: LinkChanged | LinkRemoved | Sample


def read_recording(lines: Iterable[bytes], *, source: str) -> Iterator[RecordedEvent]:
    """Yield the events of *lines* in order.

    Raises: ScheduleError with the number of a line that is malformed, out of order, or about a
    link that was never announced.
    """
    decoder = msgspec.json.Decoder(_Line, dec_hook=lambda _, value: LinkType.parse(value))
    announced: dict[tuple[str, int], LinkIdentity] = {}
    latest = 0.0
    for number, raw in enumerate(lines, start=1):
        # Some editors begin a file with a byte order mark.
        text = raw.removeprefix(b"\xef\xbb\xbf")
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            raise ScheduleError(f"{source}:{number}: {error}") from error
        if line.at < latest:
            raise ScheduleError(
                f"{source}:{number}: at {line.at:.15g} is before {latest:.15g}; sort it"
            )
        latest = line.at
        key = line.namespace, line.ifindex
        if line.event == "new":
            if line.link is None:
                raise ScheduleError(f"{source}:{number}: new needs the link's name in link")
            announced[key] = LinkIdentity(line.link.encode(), line.type, line.slave)
        elif key not in announced:
            raise ScheduleError(
                f"{source}:{number}: {line.event} of ifindex {line.ifindex}, which no line"
                " announced with new"
            )
        elif line.link not in (None, announced[key].shown_name):
            raise ScheduleError(
                f"{source}:{number}: ifindex {line.ifindex} is {announced[key].shown_name} here,"
                f" not {line.link}; a rename is a line with new"
            )
        yield RecordedEvent(line.at, line.namespace, _said(line, announced[key]))
        if line.event == "gone":
            del announced[key]


def _said(line: _Line, identity: LinkIdentity) -> LinkChanged | LinkRemoved | Sample:
    if line.event == "counters":
        return Sample([line.ifindex], [line.rx_bytes], [line.tx_bytes])
    counters = LinkCounters(line.rx_bytes, line.tx_bytes)
    kind = LinkChanged if line.event == "new" else LinkRemoved
    return kind(line.ifindex, identity, counters)
