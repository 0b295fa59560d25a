"""A fleet's releases of some weeks, and their way to whoever keeps them by the real messages."""

import random
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from trafficd.collector.ingest import Ingest
from trafficd.collector.slices import Node
from trafficd.collector.store import Store
from trafficd.releases import Release, Totals, Utilisation, beginning_of
from trafficd.schema import UTILISATION_BOUNDS
from trafficd.series import series_of
from trafficd.wire.remote_write import HEADERS, Layout, Protocol, stored_block

DAY, HOUR, MIB = 86_400, 3600, 1 << 20


@dataclass(frozen=True)
class Sender:
    """A node, its window, and the days and hours in which it is there.

    Units: *boots* are hours from the first, at each of which a run begins; *away* are hours that no
    release is of.
    """

    name: str
    location: str
    boots: tuple[int, ...]
    until: int
    away: tuple[range, ...] = ()
    window: int = HOUR
    capacity: int = 10**9
    classes: tuple[tuple[str, ...], ...] = (("openvpn", "wireguard"),)


def releases(sender: Sender, begin: int) -> Iterator[Release]:
    """Yield what a node releases, in time order, with the zeros before each run."""
    chance = random.Random(sender.name)
    ends = [*sender.boots[1:], sender.until]
    for number, (boot, end) in enumerate(zip(sender.boots, ends, strict=True)):
        names = sender.classes[min(number, len(sender.classes) - 1)]
        start = begin + boot * HOUR
        moved = dict.fromkeys(("uplink", "tunnel", *names), Totals())
        counts = ([0] * len(UTILISATION_BOUNDS), [0] * len(UTILISATION_BOUNDS))
        is_first = True
        for at in range(start // sender.window * sender.window, begin + end * HOUR, sender.window):
            if at < start + sender.window:
                continue
            for name, total in moved.items():
                # Some move nothing at times, as a cell that is withheld does.
                grown = chance.choice((0, 1, 1)) * chance.randrange(1 << 16)
                moved[name] = Totals(
                    total.rx_bytes + grown * MIB, total.tx_bytes + (grown + 3) * MIB
                )
            if at % DAY == 0:
                for direction in counts:
                    for _ in range(288):
                        direction[chance.randrange(len(direction))] += 1
            if any(at - begin in _seconds(each) for each in sender.away):
                continue
            release = Release(
                at,
                start // sender.window * sender.window,
                sender.capacity,
                moved["uplink"],
                moved["tunnel"],
                tuple((name, moved[name]) for name in names),
                Utilisation(*map(tuple, counts)),
            )
            if is_first and (zeros := beginning_of(release, sender.window)) is not None:
                yield zeros
            is_first = False
            yield release


def _seconds(hours: range) -> range:
    return range(hours.start * HOUR, hours.stop * HOUR)


def messages(sender: Sender, begin: int) -> Iterator[bytes]:
    """Yield the messages of a node, in the order in which it pushes them."""
    layouts: dict[tuple[object, ...], Layout] = {}
    for release in releases(sender, begin):
        pairs = series_of(release)
        series = tuple(each for each, _ in pairs)
        layout = layouts.get(series)
        if layout is None:
            layout = Layout(sender.name, sender.location, series, Protocol.V1)
            layouts[series] = layout
        yield layout.pack(release.at, [value for _, value in pairs])


def bundles(sent: list[bytes]) -> Iterator[bytes]:
    """Yield several messages as one: of the first version, one after the other are one."""
    for _, some in groupby(enumerate(sent), key=lambda each: each[0] // 50):
        yield b"".join(each for _, each in some)


def push(url: str, message: bytes) -> None:
    """Push a message to an engine."""
    request = urllib.request.Request(  # of the test
        url, data=stored_block(message), headers=dict(HEADERS[Protocol.V1])
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status in (200, 204)


def store(kept: Store, number: int, sender: Sender, sent: list[bytes], now: float) -> None:
    """Have a collector take a node's messages."""
    ingest, node = Ingest(), Node(number, sender.name, sender.location)
    arrivals = [(number, ingest.read(node, each, Protocol.V1, now)) for each in sent]
    answers = kept.append(arrivals)
    assert set(answers) == {None}, next(each for each in answers if each is not None)
