"""What a form or an address supposes, as the planner's pairs of a kind and a value.

A pair stands in an address as it is: `growth=20`, `add=fra:10Gbit`, `lose_node=fra-1`,
`lose_location=fra`, `capacity=fra-1:20Gbit`, `move=fra:ams:25`, each but growth as often as one
likes. The form's fields that belong together make one of these; what is left empty is not supposed.
"""

from collections.abc import Sequence

from trafficd.errors import HistoryError

# Fields that make one value: in their order, with what follows the last.
_TOGETHER = {
    "add": (("add_to", "add_gbit"), "Gbit"),
    "capacity": (("capacity_of", "capacity_gbit"), "Gbit"),
    "move": (("move_from", "move_to", "move_percent"), ""),
}
_FIELDS = {field for fields, _ in _TOGETHER.values() for field in fields}
_LABELS = {
    "add": "added capacity: choose a location and say how many Gbit/s",
    "capacity": "another capacity: choose a node and say how many Gbit/s",
    "move": "moved traffic: choose where from and where to, and say how many percent",
}
# As many as anybody thinks of at a time; each is work for the planner.
_MOST = 50

Query = Sequence[tuple[str, str]]


def given(query: Query) -> list[tuple[str, str]]:
    """Return the pairs that *query* has as the planner takes them."""
    return [(name, value) for name, value in _filled(query) if name not in _FIELDS]


def composed(query: Query) -> list[tuple[str, str]]:
    """Return the pairs that the form's fields in *query* make.

    Raises: HistoryError where fields that belong together are not all filled in, or where it is
    more in all than can be supposed.
    """
    fields = {name: value for name, value in _filled(query) if name in _FIELDS}
    made = []
    for kind, (names, unit) in _TOGETHER.items():
        values = [fields[name] for name in names if name in fields]
        if values and len(values) < len(names):
            raise HistoryError(_LABELS[kind])
        if values:
            made.append((kind, f"{':'.join(values)}{unit}"))
    others = given(query)
    if len(made) + len(others) > _MOST:
        raise HistoryError(f"{len(made) + len(others)} suppositions: at most {_MOST} at a time")
    if sum(kind == "growth" for kind, _ in others) > 1:
        raise HistoryError("growth: it stands there twice; say it once")
    return made


def _filled(query: Query) -> list[tuple[str, str]]:
    return [(name, value.strip()) for name, value in query if value.strip()]
