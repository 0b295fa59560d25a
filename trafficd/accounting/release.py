"""The release rule: what of the ledger may be published at a grid point.

Published totals are cumulative and rounded down; what rounding holds back comes with the next
release.
"""

from trafficd.accounting.ledger import Ledger
from trafficd.releases import Faults, Release, Totals
from trafficd.schema import ROUNDING_BYTES


class Publisher:
    """The releases of one run: what was published last, and what is published next."""

    def __init__(
        self, *, classes: tuple[str, ...], capacity_bits_per_second: int, started_at: int
    ) -> None:
        self.latest = Release(
            at=0,
            started_at=started_at,
            capacity_bits_per_second=capacity_bits_per_second,
            uplink=Totals(),
            tunnel=Totals(),
            classes=tuple((name, Totals()) for name in classes),
        )
        self._classes = classes
        self._capacity_bits_per_second = capacity_bits_per_second

    def reconfigure(self, *, classes: tuple[str, ...], capacity_bits_per_second: int) -> None:
        """Publish these classes and this capacity from the next release on."""
        self._classes = classes
        self._capacity_bits_per_second = capacity_bits_per_second

    def decide(self, at: int, ledger: Ledger, faults: Faults) -> Release:
        """Return the release of grid point *at*."""
        self.latest = Release(
            at=at,
            started_at=self.latest.started_at,
            capacity_bits_per_second=self._capacity_bits_per_second,
            uplink=_rounded(ledger.uplink()),
            tunnel=_rounded(ledger.tunnel()),
            classes=tuple((name, _rounded(ledger.class_totals(name))) for name in self._classes),
            faults=faults,
        )
        return self.latest


def _rounded(totals: Totals) -> Totals:
    return Totals(
        totals.rx_bytes - totals.rx_bytes % ROUNDING_BYTES,
        totals.tx_bytes - totals.tx_bytes % ROUNDING_BYTES,
    )
