"""Judges whether what leaves holds what it may, and nothing else."""

from collections.abc import Iterator

from trafficd.audit.facts import Configuration
from trafficd.audit.finding import Finding, Unread, judge, unread
from trafficd.audit.page import Expected, Message, expected_series, wrong_values
from trafficd.schema import ROUNDING_BYTES

_SOURCE = "GET of the metrics path, from the exporter's own listener"
_MEND = "this is no page of this trafficd; restart it, and see what answers at its address"


def message_findings(
    message: Message | Unread, expected: Expected, settings: Configuration
) -> Iterator[Finding]:
    """Judge the page of the running exporter."""
    if isinstance(message, Unread):
        for each in ("message.series", "message.values"):
            yield unread(each, _SOURCE, message, mend="run the audit where the page can be had")
    else:
        yield _series(message, expected)
        wrong = wrong_values(message, expected)
        evidence = "; ".join(wrong[:8]) or (
            f"bytes are multiples of {ROUNDING_BYTES}; both times of {expected.window} s"
        )
        yield judge("message.values", not wrong, f"{_SOURCE}; schema.py", evidence, mend=_MEND)
    shared = settings.shared_classes
    yield judge(
        "message.populations",
        True,
        "the parsed file, links[].population",
        f"shared: {', '.join(shared)}; there the window is the protection"
        if shared
        else "no class is shared: each link of a class is one client",
    )


def _series(message: Message, expected: Expected) -> Finding:
    wanted = expected_series(expected)
    strange = [
        f"unexpected: {name}{_labels(labels)}"
        for name, labels in sorted(message.series.keys() - wanted)
    ]
    strange += [
        f"missing: {name}{_labels(labels)}"
        for name, labels in sorted(wanted - message.series.keys())
    ]
    strange += [f"not of the schema: {line[:80]}" for line in message.strange]
    more = f"; and {len(strange) - 8} more" if strange[8:] else ""
    evidence = "; ".join(strange[:8]) + more or f"{len(wanted)} series, as the schema says"
    mend = f"{_MEND}; after a change of the link rules, SIGHUP brings the classes up to date"
    return judge("message.series", not strange, f"{_SOURCE}; schema.py", evidence, mend=mend)


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""
