"""A release as one JSON line, for people and programs at a terminal."""

import json

from trafficd.releases import Release, Totals


def release_line(release: Release) -> str:
    """Return *release* as JSON: its grid point, the node's totals, and those of each class."""
    line = {
        "at": release.at,
        "node": {"uplink": _shown(release.uplink), "tunnel": _shown(release.tunnel)},
        "classes": {name: _shown(totals) for name, totals in release.classes},
    }
    return json.dumps(line, separators=(",", ":"))


def _shown(totals: Totals) -> dict[str, int]:
    return {"receive": totals.rx_bytes, "transmit": totals.tx_bytes}
