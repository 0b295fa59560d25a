"""What an audit says: one finding a claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Whether a claim holds."""

    PASS = "PASS"  # noqa: S105  # not a password
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"  # it could not be found out here; the evidence says why


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim, what the kernel said about it, and where.

    *identity* is a key of claims.py; *mend* says what to do where it is not PASS; *details* are
    further lines of evidence.
    """

    identity: str
    verdict: Verdict
    source: str
    evidence: str
    mend: str = ""
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """What stands in the place of a fact that could not be had: the reason."""

    reason: str


def judge(
    identity: str,
    holds: bool | None,
    source: str,
    evidence: str,
    *,
    mend: str = "",
    details: Sequence[str] = (),
) -> Finding:
    """Return a finding: PASS if the claim *holds*, UNKNOWN for None."""
    verdict = {True: Verdict.PASS, False: Verdict.FAIL, None: Verdict.UNKNOWN}[holds]
    shown = "" if verdict is Verdict.PASS else mend
    return Finding(identity, verdict, source, evidence, shown, tuple(details))


def unread(identity: str, source: str, problem: Unread, *, mend: str = "") -> Finding:
    """Return the finding for a fact that could not be had."""
    return judge(identity, None, source, f"cannot be read: {problem.reason}", mend=mend)
