"""One sample of 10,000 links, dump and ledger, against the floor on the same links."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Self

from bench.laboratory import LINKS, Laboratory, UnsoundError, entered, inside, run
from bench.table import Row
from bench.watched import Watched, watched
from trafficd.rules import Role

MOST_FLOORS = 2.5
_AIMED_FLOORS = 1.5

# Floor and sample take turns, so that both see the same moods of the machine: so many pairs, each
# of the medians of so many runs. Traffic makes both slower, and comes before each run of either.
_RESTING = (21, 7)
_MOVING = (61, 1)
_PAYLOAD_BYTES = 1_000
# Counters of links that never moved are zeros, which cost Python less than others.
_ROUNDS_BEFORE = 3


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Milliseconds, medians; *ratio* is the median of the pairs' own ratios."""

    sample_ms: float
    floor_ms: float
    ratio: float


def measure(laboratory: Laboratory) -> list[Row]:
    """Return the rows of a sample with links at rest, and with every link moving."""
    return asyncio.run(_measure(laboratory))


async def _measure(laboratory: Laboratory) -> list[Row]:
    namespace = laboratory.many_links()
    floor = inside(namespace, str(laboratory.built("netlink_floor")))
    _set_up(namespace)
    with _Traffic(namespace) as traffic, watched(namespace) as at_work:
        await at_work.watch.resynchronise()
        for _ in range(_ROUNDS_BEFORE):
            traffic.move()
        resting = await _compare(floor, at_work, lambda: None, *_RESTING)
        moving = await _compare(floor, at_work, traffic.move, *_MOVING)
        moved = at_work.ledger.standing().total(Role.TUNNEL).rx_bytes
        if moved != traffic.moved_bytes:
            raise UnsoundError(f"{moved} bytes counted of {traffic.moved_bytes} sent")
    return [_row("links at rest", resting), _row("every link moved since the last", moving)]


def _row(case: str, found: _Comparison) -> Row:
    return Row.held(
        f"sample of {LINKS:,} links, {case}",
        f"{found.sample_ms:.1f} ms, {found.ratio:.2f} x floor",
        f"<= {MOST_FLOORS} x floor, aim {_AIMED_FLOORS}",
        is_held=found.ratio <= MOST_FLOORS,
        beside=f"floor {found.floor_ms:.1f} ms",
    )


async def _compare(
    floor: list[str], at_work: Watched, before_each: Callable[[], None], pairs: int, runs: int
) -> _Comparison:
    floors, samples = [], []
    for _ in range(pairs):
        before_each()
        floors.append(_floor_ms([*floor, str(runs)]))
        taken = []
        for _ in range(runs):
            before_each()
            started = time.perf_counter()
            await at_work.watch.sample()
            taken.append((time.perf_counter() - started) * 1e3)
        samples.append(median(taken))
    ratios = [sample / least for sample, least in zip(samples, floors, strict=True)]
    return _Comparison(median(samples), median(floors), median(ratios))


def _floor_ms(command: list[str]) -> float:
    """Run the floor once; it prints names and values in turn, the median in ms at the end."""
    words = run(*command).split()
    printed = dict(zip(words[::2], words[1::2], strict=True))
    if int(printed["links"]) < LINKS:
        raise UnsoundError(f"the floor saw {printed['links']} links")
    return float(printed["median_ms"])


def _set_up(namespace: str) -> None:
    """Set every link up, without the packets that IPv6 would send on each of its own accord."""
    run(*inside(namespace, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"))
    with entered(namespace):
        names = [name for _, name in socket.if_nameindex() if name != "lo"]
    batch = "".join(f"link set {name} up\n" for name in names)
    run("ip", "-n", namespace, "-batch", "-", given=batch)


class _Traffic:
    """Sends one packet into every link, so that both counters of each move."""

    def __init__(self, namespace: str) -> None:
        with entered(namespace):
            self._names = [name for _, name in socket.if_nameindex() if name != "lo"]
            # Protocol 0: this socket hears nothing of what it sends.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._packet = bytes(12) + b"\x88\xb5" + bytes(_PAYLOAD_BYTES)  # a local experiment's type
        self.moved_bytes = 0

    def move(self) -> None:
        """Move every counter once."""
        for name in self._names:
            self.moved_bytes += self._socket.sendto(self._packet, (name, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
