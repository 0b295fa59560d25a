"""Whether two histories say the same, to the bit."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass

import numpy as np

from trafficd.planning.node_history import NodeDays, NodeWindows


def assert_same_days(found: Sequence[NodeDays], expected: Sequence[NodeDays]) -> None:
    """Check that they are the same, where NaN is the same as NaN."""
    _assert_same(list(found), list(expected), "days")


def assert_same_windows(found: Sequence[NodeWindows], expected: Sequence[NodeWindows]) -> None:
    """Check that they are the same, where NaN is the same as NaN."""
    _assert_same(list(found), list(expected), "windows")


def _assert_same(found: object, expected: object, where: str) -> None:
    assert type(found) is type(expected), where
    if is_dataclass(found):
        for field in fields(found):
            one, other = getattr(found, field.name), getattr(expected, field.name)
            _assert_same(one, other, f"{where}.{field.name}")
    elif isinstance(found, list) and isinstance(expected, list):
        assert len(found) == len(expected), where
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            _assert_same(one, other, f"{where}[{number}]")
    elif isinstance(found, dict) and isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in found:
            _assert_same(found[key], expected[key], f"{where}[{key}]")
    elif isinstance(found, np.ndarray) and isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, where
        np.testing.assert_array_equal(found, expected, where)
    else:
        assert found == expected, where
