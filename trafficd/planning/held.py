"""What was held back: a total that stood still and then moved had moved all along."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Number = TypeVar("Number", np.float64, np.int64)


def spread_held(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """Return *values* with what was held back spread over the windows it was held back in.

    Those are the windows of nothing before one of something, and that one. The sum stays the same,
    to the byte where the values are whole; windows of nothing at the end stay, and so do those
    before one of which nothing is known.
    Shape: values[window], NaN where nothing is known of it.
    """
    # NaN is unequal to 0: it ends a run as well, and has nothing to spread.
    stops = np.flatnonzero(values != 0)
    lengths = np.diff(stops, prepend=-1)
    (held,) = np.nonzero((lengths > 1) & ~np.isnan(values[stops]))
    spread = values.copy()
    if not len(held):
        return spread
    stops, lengths = stops[held], lengths[held]
    each, rest = np.divmod(values[stops], lengths.astype(values.dtype))
    # What is not whole is no count of bytes: there is no unit to keep together.
    is_whole = values[stops] == np.floor(values[stops])
    each = np.where(is_whole, each, values[stops] / lengths)
    rest = np.where(is_whole, rest, 0)
    ends = np.cumsum(lengths)
    within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    windows = np.repeat(stops + 1 - lengths, lengths) + within
    # The first windows of a run take one more, until nothing is left.
    spread[windows] = np.repeat(each, lengths) + (within < np.repeat(rest, lengths))
    return spread
