"""The fast clock: sixty times the world's, and kept away from real links."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trafficd
from trafficd.clock import Clock
from trafficd.demo.clock import FastClock

_SECONDS = st.floats(min_value=0, max_value=10**6)


@given(speed=st.floats(min_value=1, max_value=3600), before=_SECONDS, passed=_SECONDS)
def test_both_of_its_clocks_run_at_the_same_speed(
    speed: float, before: float, passed: float
) -> None:
    clock = FastClock(utc_start=1_700_000_100.0, boot_start=50.0, speed=speed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "clock_gettime", lambda _: 50.0 + before)
        first = clock.now()
        patch.setattr(time, "clock_gettime", lambda _: 50.0 + before + passed)
        second = clock.now()

    expected = pytest.approx(passed * speed, rel=1e-9, abs=1e-4)
    assert second.utc_seconds - first.utc_seconds == expected
    assert second.elapsed_seconds - first.elapsed_seconds == expected


@given(window_seconds=st.sampled_from([300, 900, 3600]), lead=st.floats(0, 10))
def test_it_starts_at_the_grid_point_before_the_true_time(window_seconds: int, lead: float) -> None:
    true = 1_700_000_123.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: true)
        patch.setattr(time, "clock_gettime", lambda _: 77.0)
        clock = FastClock.starting_in(lead, window_seconds=window_seconds, speed=60.0)
        patch.setattr(time, "clock_gettime", lambda _: 77.0 + lead)
        start = clock.now().utc_seconds

    assert start % window_seconds == 0
    assert start <= true < start + window_seconds


async def test_its_sleep_is_as_short_as_it_is_fast() -> None:
    clock: Clock = FastClock.starting_in(0, window_seconds=300, speed=3600.0)
    before, world_before = clock.now(), time.monotonic()

    await clock.sleep(180)

    assert clock.now().elapsed_seconds - before.elapsed_seconds >= 180
    assert time.monotonic() - world_before < 5


def test_nothing_but_the_demo_uses_it() -> None:
    package = Path(trafficd.__file__).parent
    users = {
        source.relative_to(package).parts[0]
        for source in package.rglob("*.py")
        if re.search(r"FastClock|demo\.clock", source.read_text(encoding="utf-8"))
    }

    assert users == {"demo"}
