"""One audit as text for a terminal, or as one JSON object for a machine."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from trafficd.audit.claims import CLAIMS
from trafficd.audit.finding import Finding, Verdict

_WIDTH = max(len(verdict) for verdict in Verdict)


@dataclass(frozen=True, slots=True)
class Report:
    """The findings in the order of the claims, and the page that was fetched; empty if none."""

    version: str
    findings: tuple[Finding, ...]
    message: str

    @property
    def is_passed(self) -> bool:
        """Whether every claim holds."""
        return all(each.verdict is Verdict.PASS for each in self.findings)


def text_lines(report: Report, *, with_details: bool) -> Iterator[str]:
    """Yield the report for people: a line a claim, then the message.

    The message explains itself: its HELP lines are those of the schema, or it is strange.
    """
    for each in report.findings:
        words = [CLAIMS[each.identity], each.source, each.evidence]
        words += [f"mend: {each.mend}"] if each.mend else []
        line = f"{each.verdict:<{_WIDTH}} {each.identity}: {' | '.join(words)}"
        yield _printable(line)
        if with_details:
            yield from (f"    {_printable(detail)}" for detail in each.details)
    if report.message:
        yield "the next message, whole, as the exporter gives it to whoever asks:"
        yield from (f"    {_printable(line)}" for line in report.message.splitlines())
    counts = dict.fromkeys(Verdict, 0)
    for each in report.findings:
        counts[each.verdict] += 1
    yield ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def as_json(report: Report, *, nonce: str | None) -> str:
    """Return the report for machines.

    Shape: the same keys in the same order on every node; *nonce* as it was given.
    """
    return json.dumps(
        {
            "version": report.version,
            "nonce": nonce,
            "passed": report.is_passed,
            "claims": [
                {
                    "id": each.identity,
                    "claim": CLAIMS[each.identity],
                    "source": each.source,
                    "evidence": each.evidence,
                    "verdict": each.verdict,
                    "mend": each.mend,
                    "details": list(each.details),
                }
                for each in report.findings
            ],
            "message": report.message,
        },
        indent=1,
    )


def _printable(line: str) -> str:
    """Return *line* without what would move a terminal: a process may call itself anything."""
    return "".join(each if each.isprintable() else "?" for each in line)
