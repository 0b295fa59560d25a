"""What is judged of the installed files and of the settings."""

from dataclasses import replace

import pytest

from tests.audit.known import CODE, PYTHON, SETTINGS, STARTUP, but_pass, exporter, reader, verdict
from trafficd.audit.checks.code import code_findings, program_finding, startup_findings
from trafficd.audit.checks.configuration import configuration_findings
from trafficd.audit.facts import Code, Configuration, MemoryMapping, Process, Startup
from trafficd.audit.finding import Unread, Verdict
from trafficd.config import Layer

UNREAD = Unread("it was not installed")
REPLACED = MemoryMapping("r-xp", "/usr/lib/libssl.so.3 (deleted)", True, True, False)


def test_files_as_recorded_pass() -> None:
    assert but_pass([*code_findings(CODE), *startup_findings(STARTUP)]) == set()
    assert program_finding(reader(), CODE, STARTUP).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("code", "failing"),
    [
        (replace(CODE, changed=("trafficd/schema.py",)), {"code.files"}),
        (replace(CODE, missing=("trafficd/schema.py",)), {"code.files"}),
        (replace(CODE, recorded_version="0.0.9"), {"code.files"}),
        (replace(CODE, extra=("trafficd/tap.py",)), {"code.nothing_beside"}),
        (replace(CODE, unwritten_by_root=("trafficd",)), {"code.owner"}),
    ],
)
def test_files_that_are_not_as_recorded_fail(code: Code, failing: set[str]) -> None:
    findings = [*code_findings(code)]

    assert but_pass(findings) == failing
    assert {each.verdict for each in findings} == {Verdict.PASS, Verdict.FAIL}


def test_without_a_record_it_is_unknown() -> None:
    editable = [*code_findings(replace(CODE, is_editable=True))]

    assert but_pass(editable) == {"code.files", "code.nothing_beside"}
    assert verdict(editable, "code.files") is Verdict.UNKNOWN
    assert {each.verdict for each in code_findings(UNREAD)} == {Verdict.UNKNOWN}
    assert program_finding(reader(), UNREAD, STARTUP).verdict is Verdict.UNKNOWN
    for process in (replace(reader(), injected=UNREAD), replace(reader(), executable="")):
        assert program_finding(process, CODE, STARTUP).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "startup",
    [replace(STARTUP, changed=("yarl: _url.py",)), replace(STARTUP, unrecorded=("/x/more.pth",))],
)
def test_what_else_is_loaded_fails(startup: Startup) -> None:
    assert but_pass([*startup_findings(startup)]) == {"code.start"}


def test_many_files_are_not_all_named() -> None:
    (finding, *_) = code_findings(replace(CODE, changed=tuple(map(str, range(20)))))

    assert finding.evidence.endswith("; and 12 more")


@pytest.mark.parametrize(
    "process",
    [
        replace(reader(), executable="/tmp/python"),
        replace(reader(), injected=("LD_PRELOAD",)),
        replace(reader(), beside=("json.py",)),
        replace(reader(), started_at=999.0),
        replace(reader(), mappings=(REPLACED,)),
    ],
)
def test_another_program_than_this_package_fails(process: Process) -> None:
    assert program_finding(process, CODE, STARTUP).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("settings", "failing"),
    [
        (SETTINGS, set()),
        (replace(SETTINGS, window=60), {"configuration.floors"}),
        (replace(SETTINGS, min_sessions=4), {"configuration.floors"}),
        (replace(SETTINGS, absent=(Layer.SWAP,)), {"configuration.swap"}),
        (replace(SETTINGS, absent=(Layer.SECCOMP,)), {"configuration.seccomp"}),
        (replace(SETTINGS, absent=(Layer.LANDLOCK,)), {"configuration.landlock"}),
    ],
)
def test_settings_are_above_the_floors_and_do_without_nothing(
    settings: Configuration, failing: set[str]
) -> None:
    findings = [*configuration_findings(settings, (reader(), exporter()))]

    assert but_pass(findings) == failing
    assert Verdict.UNKNOWN not in {each.verdict for each in findings}


def test_a_file_younger_than_a_process_is_unknown() -> None:
    settings = replace(SETTINGS, changed_at=2500.0)

    findings = [*configuration_findings(settings, (reader(), exporter()))]

    assert verdict(findings, "configuration.settings") is Verdict.UNKNOWN
    assert PYTHON not in findings[0].evidence
