"""Nouns of the collector: who may write, and what was said of a grid time."""

from dataclasses import dataclass

from trafficd.series import Series

# Chosen: at one time. A release of 32 classes has some 150, and 5 more for each destination.
MOST_SERIES = 1024


@dataclass(frozen=True, slots=True)
class Node:
    """A node that may write; *number* is its row in the database."""

    number: int
    name: str
    location: str


@dataclass(frozen=True, slots=True)
class Slice:
    """What one node said of one grid time.

    Units: *at* is UTC seconds.
    Shape: *series* in schema order, none twice; a finite value from 0 on for each.
    """

    at: int
    series: tuple[Series, ...]
    values: tuple[float, ...]
