"""config/prometheus: what Prometheus' own tool says of it, and what an alert has to tell."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from trafficd import schema
from trafficd.audit.claims import CLAIMS
from trafficd.audit.finding import Finding, Verdict
from trafficd.audit.report import Report, text_lines
from trafficd.collector import metrics
from trafficd.collector.answers import Result
from trafficd.schema import Kind

FOLDER = Path(__file__).parent.parent / "config" / "prometheus"
PROMTOOL = shutil.which("promtool")
# What the line in alerts.yml writes.
AUDITED = {"trafficd_audit_failing_claims"}
NAME = re.compile(r"\b(?:(?:node|location|fleet):)?trafficd_[a-z0-9_]+(?::[a-z0-9_]+)?")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is missing; on Debian: apt install prometheus"
)


def groups(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load((FOLDER / name).read_text())["groups"])


def rules(*names: str) -> list[dict[str, Any]]:
    return [rule for name in names for group in groups(name) for rule in group["rules"]]


ALERTS = rules("alerts.yml")
RECORDED = {rule["record"] for rule in rules("rules.yml", "commits.yml")}


def promtool(*words: str) -> None:
    done = subprocess.run(
        [str(PROMTOOL), *words],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_likes_the_configuration_and_the_rules() -> None:
    promtool("check", "config", "scrape.yml")


@needs_promtool
@pytest.mark.parametrize("name", ["tests.yml", "tests-days.yml"])
def test_rules_record_and_alerts_fire_as_they_should(name: str) -> None:
    promtool("test", "rules", name)


def test_every_rule_and_alert_is_tested() -> None:
    tested = "".join((FOLDER / name).read_text() for name in ("tests.yml", "tests-days.yml"))

    assert {name for name in RECORDED if name not in tested} == set()
    assert {each["alert"] for each in ALERTS if f'"{each["alert"]}"' not in tested} == set()


def test_recorded_series_are_named_by_level_metric_and_operations() -> None:
    commits = {rule["record"] for rule in rules("commits.yml")}

    named = re.compile(r"(node|location|fleet):trafficd_[a-z_]+:[a-z0-9_]+")
    assert [each for each in RECORDED - commits if not named.fullmatch(each)] == []
    # Nothing is done to it: somebody writes it in.
    assert commits == {"location:trafficd_commit_bits_per_second"}


def test_rules_ask_for_series_that_there_are() -> None:
    exported = {
        name
        for metric in (*schema.METRICS, *schema.PUSH_METRICS, *metrics.METRICS)
        for name in (
            [f"{metric.name}_bucket", f"{metric.name}_count"]
            if metric.kind is Kind.HISTOGRAM
            else [metric.sample_name]
        )
    }

    asked = {
        name for each in rules("rules.yml", "alerts.yml") for name in NAME.findall(each["expr"])
    }
    assert asked - exported - AUDITED - RECORDED == set()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_alert_says_what_is_wrong_and_what_to_do(alert: dict[str, Any]) -> None:
    said = alert["annotations"]

    assert alert["labels"]["severity"] in ("warning", "critical")
    assert re.match(r"[^\n]{20,110}$", said["summary"])
    assert "What to do: " in said["description"]
    # What the alert's own series are about, and no more: neither a link nor a client.
    labels = set(re.findall(r"\$labels\.(\w+)", said["summary"] + said["description"]))
    assert labels <= {"node", "location", "destination", "fault", "result", "instance", "job"}


def test_no_refusal_of_the_collector_goes_unexplained() -> None:
    (alert,) = (each for each in ALERTS if each["alert"] == "TrafficdCollectorRefuses")

    told = {
        each for each in Result if re.search(rf"\b{each}\b", alert["annotations"]["description"])
    }
    assert told == set(Result) - {Result.STORED, Result.BUSY, Result.FULL}
    assert f'result!~"{Result.STORED}|{Result.BUSY}|{Result.FULL}"' in alert["expr"]


@pytest.mark.parametrize(
    ("verdicts", "claims"),
    [
        ([Verdict.PASS], 0),
        ([Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN, Verdict.FAIL], 3),
        # It could not be made.
        ([], 1),
    ],
)
def test_the_line_that_keeps_an_audit_counts_what_is_not_passed(
    verdicts: list[Verdict], claims: int, tmp_path: Path
) -> None:
    (line,) = re.findall(r"(?m)^ +#   (trafficd audit .*)$", (FOLDER / "alerts.yml").read_text())
    found = tuple(
        Finding(name, verdict, "7 PASS, 7 FAIL", "evidence", "mend")
        for name, verdict in zip(CLAIMS, verdicts, strict=False)
    )
    text = list(text_lines(Report("1.0.0", found, "# HELP x\nx 1\n"), with_details=False))
    (tmp_path / "said").write_text("".join(f"{each}\n" for each in text) if found else "")
    trafficd = tmp_path / "trafficd"
    trafficd.write_text(f"#!/bin/sh\ncat {tmp_path}/said\nexit 1\n")
    trafficd.chmod(0o755)
    mine = line.replace("/run/trafficd-audit", str(tmp_path)).replace(
        "trafficd audit", f"{trafficd}", 1
    )

    subprocess.run(["sh", "-euc", mine], check=True, timeout=20)

    kept = (tmp_path / "audit.prom").read_text()
    assert kept == f"trafficd_audit_failing_claims {claims}\n"
