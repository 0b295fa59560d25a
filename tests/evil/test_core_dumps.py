"""A half that dies leaves no core dump, whatever core_pattern says; without the sandbox it does."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Namespace
from tests.evil.memory import BY_ABORT, BY_FAULT, FROM_OUTSIDE
from tests.evil.outside import run_evil
from tests.evil.planted import Planted, planted

pytestmark = pytest.mark.kernel

_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
_HANDLER = """#!/bin/sh
exec cat > {folder}/core.$1
"""
_WAYS = (BY_ABORT, BY_FAULT, FROM_OUTSIDE)


@dataclass(frozen=True, slots=True)
class Net:
    """Where dumps land."""

    folder: Path

    def caught(self, process: int) -> bool:
        """Return whether *process* was dumped, or begun to be."""
        return any((self.folder / name).exists() for name in (f"core.{process}", "core"))


@pytest.fixture
def place(namespace: Namespace) -> Iterator[Planted]:
    with planted(namespace) as made:
        yield made


@pytest.fixture
def net(place: Planted) -> Iterator[Net]:
    """Catch dumps by a program behind a pipe; where that is not for us to set, in a folder."""
    before = _CORE_PATTERN.read_text()
    folder = place.folder / "open"
    handler = place.folder / "catch"
    handler.write_text(_HANDLER.format(folder=folder))
    handler.chmod(0o755)
    try:
        _CORE_PATTERN.write_text(f"|{handler} %p")
    except OSError:
        if before.startswith(("|", "/")):
            pytest.skip("core_pattern is not for this test to set, and dumps go elsewhere")
        yield Net(folder)
        return
    try:
        yield Net(folder)
    finally:
        _CORE_PATTERN.write_text(before)


@pytest.mark.parametrize("half", ["reader", "exporter"])
@pytest.mark.parametrize("way", _WAYS)
def test_a_locked_half_that_dies_is_not_dumped(
    place: Planted, net: Net, half: str, way: str
) -> None:
    run = run_evil(place, half, attempts=way)

    assert run.tried == [way]
    assert not run.is_done
    # The kernel dumps a process before it is gone.
    assert not net.caught(run.half)


@pytest.mark.parametrize("half", ["reader", "exporter"])
@pytest.mark.parametrize("way", _WAYS)
def test_without_the_sandbox_a_half_that_dies_is_dumped(
    place: Planted, net: Net, half: str, way: str
) -> None:
    run = run_evil(place, half, attempts=way, is_control=True)

    assert not run.is_done
    deadline = time.monotonic() + 20
    while not net.caught(run.half):
        assert time.monotonic() < deadline, f"no dump; {shutil.disk_usage(net.folder)}"
        os.sched_yield()
