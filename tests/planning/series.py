"""Series to plan with, made of a level, a growth, a week and chance."""

from datetime import date

import numpy as np

from trafficd.planning.daily import DailySeries, Floats

FIRST = date(2024, 1, 1)  # a Monday
WEEK = np.array([1.0, 1.02, 1.05, 1.03, 1.1, 0.9, 0.85])


def series(values: Floats, name: str = "fra") -> DailySeries:
    return DailySeries(name, FIRST, np.asarray(values, dtype=float))


def growing(
    days: int, *, a_year: float = 1.4, noise: float = 0.03, seed: int = 1, level: float = 100.0
) -> Floats:
    """Return a series that becomes *a_year* times as much in a year."""
    chance = np.random.default_rng(seed)
    number = np.arange(days)
    line = np.log(level) + np.log(a_year) / 365 * number + np.log(WEEK / WEEK.mean())[number % 7]
    grown: Floats = np.exp(line + noise * chance.standard_normal(days))
    return grown


def wandering(days: int, *, seed: int, step: float = 0.02) -> Floats:
    """Return a series whose logarithm goes up or down by chance each day."""
    chance = np.random.default_rng(seed)
    walk: Floats = np.exp(np.log(100.0) + np.cumsum(step * chance.standard_normal(days)))
    return walk


def with_holes(values: Floats, *, seed: int, share: float = 0.1) -> Floats:
    """Return *values* without some days, in the middle of it."""
    chance = np.random.default_rng(seed)
    holed = values.copy()
    holed[1:-1][chance.random(len(values) - 2) < share] = np.nan
    return holed
