"""Judges whether the code is what was published, and is what runs."""

from collections.abc import Iterator, Sequence

from trafficd.audit.facts import Code, Process, Startup
from trafficd.audit.finding import Finding, Unread, judge, unread

_RECORD = "RECORD of trafficd (importlib.metadata), sha256"
_MOST_NAMED = 8
_REINSTALL = "install trafficd anew, from a wheel whose digest you know"


def code_findings(code: Code | Unread) -> Iterator[Finding]:
    """Judge the installed files."""
    if isinstance(code, Unread):
        for each in ("code.files", "code.nothing_beside", "code.owner"):
            yield unread(each, _RECORD, code, mend=_REINSTALL)
        return
    told = f"version {code.version}, sources sha256:{code.digest}"
    if code.is_editable:
        why = f"{told}; an editable installation has no digests of its files"
        yield judge("code.files", None, _RECORD, why, mend=_REINSTALL)
        yield judge("code.nothing_beside", None, _RECORD, why, mend=_REINSTALL)
    else:
        wrong = [*code.changed, *(f"{each} is missing" for each in code.missing)]
        if code.version != code.recorded_version:
            wrong.append(f"the record is of version {code.recorded_version}")
        evidence = _named(wrong, f"{told}; {code.files} files as recorded")
        yield judge("code.files", not wrong, _RECORD, evidence, mend=_REINSTALL)
        evidence = _named(code.extra, "none")
        yield judge("code.nothing_beside", not code.extra, _RECORD, evidence, mend=_REINSTALL)
    evidence = _named(code.unwritten_by_root, "owner root, not writable by group or others")
    mend = "chown root and chmod go-w them, and the directories above"
    yield judge("code.owner", not code.unwritten_by_root, "stat(2)", evidence, mend=mend)


def startup_findings(startup: Startup | Unread) -> Iterator[Finding]:
    """Judge what the interpreter loads besides."""
    source = "RECORD of each library, *.pth and sitecustomize of the interpreter"
    if isinstance(startup, Unread):
        yield unread("code.start", source, startup, mend=_REINSTALL)
        return
    wrong = [*startup.changed, *startup.unrecorded]
    good = (
        f"{startup.distributions} libraries as recorded; {startup.interpreter} and its standard"
        " library have no record here: see dpkg --verify"
    )
    mend = "install the libraries anew; take away what no package brought"
    yield judge("code.start", not wrong, source, _named(wrong, good), mend=mend)


def program_finding(process: Process, code: Code | Unread, startup: Startup | Unread) -> Finding:
    """Judge whether *process* was started from this package, and runs what lies there now."""
    wrong = []
    unknown = [
        each.reason for each in (code, startup, process.injected) if isinstance(each, Unread)
    ]
    if not process.executable:
        unknown.append("its program cannot be read")
    elif isinstance(startup, Startup) and process.executable != startup.interpreter:
        wrong.append(f"its program is {process.executable}, not {startup.interpreter}")
    if not isinstance(process.injected, Unread):
        wrong += [f"{each} was set when it was started" for each in process.injected]
    wrong += [f"{each} in its working directory would be imported first" for each in process.beside]
    if isinstance(code, Code) and code.newest_at > process.started_at:
        wrong.append("files of the package changed after it was started")
    if not isinstance(process.mappings, Unread):
        gone = {each.path for each in process.mappings if each.path.endswith(" (deleted)")}
        wrong += [f"{each.removesuffix(' (deleted)')} was replaced since" for each in sorted(gone)]
    source = f"/proc/{process.number}/exe, environ, cwd, stat, maps"
    mend = "restart trafficd from a clean environment, with / as its directory"
    good = f"{process.executable}, started after the last change of any file"
    evidence = _named(wrong or unknown, good)
    holds = False if wrong else (None if unknown else True)
    return judge(f"{process.half}.program", holds, source, evidence, mend=mend)


def _named(wrong: Sequence[str], good: str) -> str:
    if not wrong:
        return good
    more = len(wrong) - _MOST_NAMED
    return "; ".join(wrong[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
