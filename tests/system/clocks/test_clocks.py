"""Clocks that are set and a machine that is suspended, on Debian's kernel and under its systemd."""

import sys

import pytest

from tests.system.debian_kernel import run_in_debian_kernel

SECONDS = 600


def test_no_step_of_the_clock_and_no_suspend_loses_a_byte_or_makes_a_window_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    inside = (
        "python3 -m pytest -p no:cacheprovider -x -o faulthandler_timeout=200"
        " tests/system/clocks/in_the_machine.py"
    )

    with capsys.disabled():
        outcome = run_in_debian_kernel(
            ["sh", "-c", inside], seconds=SECONDS, is_booted=True, shown_on=sys.stdout
        )

    assert outcome.status == 0
    assert "skipped" not in outcome.output
