"""The report: for a terminal, and for a machine."""

import json

from trafficd.audit.finding import judge
from trafficd.audit.report import Report, as_json, text_lines

GOOD = judge("code.files", True, "RECORD", "as recorded", mend="nothing to do", details=["more"])
BAD = judge("outside.capture", False, "/proc", "tcpdump\x1b[2J\nPASS", mend="stop it")


def test_a_process_that_calls_itself_anything_moves_no_terminal() -> None:
    lines = [*text_lines(Report("1", (GOOD, BAD), ""), with_details=False)]

    assert len(lines) == 3
    assert "tcpdump?[2J?PASS" in lines[1]
    assert lines[2] == "1 PASS, 1 FAIL, 0 UNKNOWN"


def test_a_mend_is_told_where_something_is_to_mend() -> None:
    lines = [*text_lines(Report("1", (GOOD, BAD), "page\n"), with_details=True)]

    assert "mend" not in lines[0]
    assert lines[0].startswith("PASS    code.files: the installed files are those")
    assert lines[1] == "    more"
    assert lines[2].endswith("| mend: stop it")
    assert lines[4] == "    page"


def test_a_machine_gets_the_same_keys_always() -> None:
    told = json.loads(as_json(Report("1", (GOOD, BAD), "page\n"), nonce=None))

    assert [*told] == ["version", "nonce", "passed", "claims", "message"]
    keys = ["id", "claim", "source", "evidence", "verdict", "mend", "details"]
    assert [[*each] for each in told["claims"]] == [keys, keys]
    assert told["nonce"] is None
    assert told["passed"] is False
    assert as_json(Report("1", (GOOD,), ""), nonce="x").count('"nonce": "x"') == 1
