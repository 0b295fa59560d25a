"""Fixtures of the locked: they are nobody, and pytest's own folders are their maker's alone."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A directory of which anybody may do anything."""
    with tempfile.TemporaryDirectory(prefix="trafficd-test-") as name:
        Path(name).chmod(0o777)
        yield Path(name)
