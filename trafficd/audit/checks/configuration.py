"""Judges whether the settings are what the operator says, and above the floors."""

from collections.abc import Iterator, Sequence

from trafficd.audit.facts import Configuration, Process
from trafficd.audit.finding import Finding, judge
from trafficd.config import Layer
from trafficd.schema import (
    FEWEST_SESSIONS,
    LARGEST_PERCENT,
    MINIMUM_WINDOW_SECONDS,
    P_PERCENT,
    ROUNDING_BYTES,
)


def configuration_findings(
    settings: Configuration, processes: Sequence[Process]
) -> Iterator[Finding]:
    """Judge the settings that the *processes* were started with."""
    is_older = all(settings.changed_at <= each.started_at for each in processes)
    told = f"sha256:{settings.digest}"
    if not settings.is_as_given:
        told += "; the copies that systemd made for the services at their start hold another text"
    elif not is_older:
        told += "; the file changed after the start, so that others may be in force"
    yield judge(
        "configuration.settings",
        (is_older and settings.is_as_given) or None,
        "the parsed file as canonical JSON, without node; the file that each half was given;"
        " stat(2); /proc/PID/stat",
        told,
        mend="restart trafficd",
    )
    yield judge(
        "configuration.floors",
        settings.window >= MINIMUM_WINDOW_SECONDS and settings.min_sessions >= FEWEST_SESSIONS,
        "the parsed file; schema.py",
        f"window {settings.window} s, at least {MINIMUM_WINDOW_SECONDS};"
        f" sessions {settings.min_sessions}, at least {FEWEST_SESSIONS};"
        f" compiled in: p {P_PERCENT} %, largest {LARGEST_PERCENT} %, rounding {ROUNDING_BYTES} B",
        mend="this file is not in force: trafficd refuses it; see: trafficd check-config",
    )
    for layer in Layer:
        is_there = layer not in settings.absent
        yield judge(
            f"configuration.{layer}",
            is_there,
            "the parsed file, sandbox.absent",
            "not absent" if is_there else f"{layer} is named absent: trafficd runs without it",
            mend=f"take {layer} out of sandbox.absent, on a kernel that has it",
        )
