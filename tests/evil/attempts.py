"""All attempts of all themes."""

from tests.evil import (
    descriptors,
    files,
    interfaces,
    memory,
    own_netlink,
    processes,
    sockets,
    traces,
)
from tests.evil.world import ATTEMPTS, Attempt

__all__ = ["chosen", "names"]

# Each enters its attempts when it is imported.
THEMES = (
    own_netlink,
    descriptors,
    sockets,
    files,
    traces,
    processes,
    interfaces,
    memory,
)

ALL_THAT_SURVIVE = "all"


def chosen(half: str, which: str) -> list[Attempt]:
    """Return the attempts of *half* that one process makes: one by its name, or all the others."""
    if which != ALL_THAT_SURVIVE:
        return [ATTEMPTS[which]]
    return [each for each in ATTEMPTS.values() if half in each.halves and not each.is_deadly]


def names(half: str, *, is_deadly: bool) -> list[str]:
    """Return the names of what *half* tries."""
    return [
        each.name
        for each in ATTEMPTS.values()
        if half in each.halves and each.is_deadly == is_deadly
    ]
