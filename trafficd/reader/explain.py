"""Why each cell of a decision passed or was held: for a terminal, and never for an exporter."""

from collections.abc import Mapping

from trafficd.accounting.disclosure import Judgement
from trafficd.accounting.release import Decision


def explanation(decision: Decision) -> Mapping[str, object]:
    """Return what was decided of each cell, and why, as what JSON can hold."""
    return {
        "node": _cell(decision.releases_node, {**_group(decision.node), **_held_for(decision)}),
        "classes": _cell(
            decision.releases_classes,
            {name: _group(judgement) for name, judgement in decision.classes.items()},
            _why_classes(decision),
        ),
    }


def _cell(is_released: bool, groups: Mapping[str, object], why: str = "") -> dict[str, object]:
    cell: dict[str, object] = {"cell": "released" if is_released else "withheld"}
    return {**cell, "why": why, "groups": groups} if why else {**cell, **groups}


def _held_for(decision: Decision) -> dict[str, object]:
    if decision.told_class and decision.node.passes:
        return {"why": f"nearly all of it is of class {decision.told_class}, which is held"}
    return {}


def _why_classes(decision: Decision) -> str:
    held = [name for name, judgement in decision.classes.items() if not judgement.passes]
    if held:
        return f"held by {', '.join(held)}"
    if not decision.releases_node:
        return "held with the node cell, whose tunnel total the classes add up to"
    return "every class passed"


def _group(judgement: Judgement) -> dict[str, object]:
    return {
        "why": judgement.reason,
        "contributors": judgement.contributors,
        "population": "unknown" if judgement.pool.shared_bytes else "counted",
        "moved": {
            "receive": judgement.pool.moved.rx_bytes,
            "transmit": judgement.pool.moved.tx_bytes,
        },
    }
