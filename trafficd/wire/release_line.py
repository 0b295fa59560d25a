"""A release as one JSON line, for people and programs at a terminal."""

import json
from collections.abc import Mapping, Sequence

from trafficd.releases import Release, Totals
from trafficd.schema import UTILISATION_BOUNDS


def release_line(release: Release, **further: Mapping[str, object]) -> str:
    """Return *release* as JSON: its grid point, the node's totals, and those of each class.

    Shape: ``utilisation`` holds the counts of slots that are not 0, by their upper bound.
    """
    line = {
        "at": release.at,
        "node": {"uplink": _shown(release.uplink), "tunnel": _shown(release.tunnel)},
        "classes": {name: _shown(totals) for name, totals in release.classes},
        "utilisation": {
            "receive": _counted(release.utilisation.receive),
            "transmit": _counted(release.utilisation.transmit),
        },
        **further,
    }
    return json.dumps(line, separators=(",", ":"))


def _shown(totals: Totals) -> dict[str, int]:
    return {"receive": totals.rx_bytes, "transmit": totals.tx_bytes}


def _counted(slots: Sequence[int]) -> dict[str, int]:
    return {bound: count for bound, count in zip(UTILISATION_BOUNDS, slots, strict=True) if count}
