"""Tables for people: every number with its unit, and every reason."""

import re
from datetime import date

import msgspec
import numpy as np
import pytest

from tests.planning.series import growing, series
from trafficd.planning import document
from trafficd.planning.answers import Asked
from trafficd.planning.document import Band, Bill, Crossing, Growth, Ranking, Summary, Threshold
from trafficd.planning.report import Found
from trafficd.planning.table import (
    show_forecasts,
    show_percentiles,
    show_ranking,
    show_rows,
    show_thresholds,
    show_what_if,
    sparkline,
    working,
)

CROSSING = Crossing(
    threshold=0.8,
    threshold_bits_per_second=8e9,
    first=date(2027, 1, 1),
    last=date(2027, 3, 1),
    order_by=date(2026, 11, 2),
    reason=None,
)
FRA = Summary(
    level="location",
    name="fra",
    location="fra",
    nodes=2,
    capacity_bits_per_second=10e9,
    p95_bits_per_second=7.5e9,
    mean_bits_per_second=5e9,
    utilisation=0.75,
    growth=Growth(days=365, point=0.2, low_80=0.1, high_80=0.3),
    growth_reason=None,
    crossings=[CROSSING],
    order_by=date(2026, 11, 2),
    last_release=None,
    sentence="75 % of 10.0 Gbit/s now; why",
    notes=["not here any more: fra-3"],
)
AMS = msgspec.structs.replace(
    FRA, name="ams", growth=None, growth_reason="new", crossings=[], order_by=None, notes=[]
)
PERCENTILES = document.Percentiles(
    begin="2026-11-01T00:00:00Z",
    end="2026-12-01T00:00:00Z",
    receive_bits_per_second=3e9,
    transmit_bits_per_second=2e9,
    highest_bits_per_second=3e9,
    both_bits_per_second=None,
    error_bits_per_second=2e8,
    upper_bound_bits_per_second=3e9,
    slots_seen=8352,
    slots_expected=8640,
    resolution="daily histogram",
    notes=["a note"],
)
BILL = Bill(
    commit_bits_per_second=1e9,
    room_bits_per_second=-2e9,
    share=3.0,
    slots_above_least=10,
    slots_above_most=20,
    to_date=1500.0,
    projected=3000.0,
)
BAND = Band(date=date(2026, 11, 24), point=2e9, low_80=1e9, high_80=4e9, low_95=5e8, high_95=8e9)

Printed = pytest.CaptureFixture[str]


def ranking(*summaries: Summary) -> Ranking:
    return Ranking(
        as_of=date(2026, 11, 23),
        lead_days=60,
        thresholds=[0.8],
        order_at=0.8,
        ranking=list(summaries),
        reason=None,
    )


def test_a_ranking_has_a_row_and_a_sentence_a_location(capsys: Printed) -> None:
    show_ranking(ranking(FRA, AMS))

    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.strip().startswith("fra"))
    assert "10.0 Gbit/s" in row
    assert "7.50 Gbit/s" in row
    assert "75 %" in row
    assert "+20 % in 365 d (+10 % to +30 %)" in row
    assert "2027-01-01 and 2027-03-01" in row
    assert "2026-11-02" in row
    assert "1. fra: 75 % of 10.0 Gbit/s now; why" in out
    assert "   not here any more: fra-3" in out
    assert "As of the end of 2026-11-23, UTC; an order takes 60 days" in out


def test_no_ranking_has_the_reason(capsys: Printed) -> None:
    show_ranking(msgspec.structs.replace(ranking(), as_of=None, reason="no node [yet]"))

    assert capsys.readouterr().out == "no node [yet]\n"


def test_a_supposition_has_both_rankings_and_the_sentences(capsys: Printed) -> None:
    found = document.WhatIf(supposed=["+20 % a year"], before=[FRA], after=[AMS])

    show_what_if(found, 0.8)
    show_what_if(msgspec.structs.replace(found, supposed=[]), 0.8)

    some, nothing = capsys.readouterr().out.split("Supposed: nothing.")
    assert some.index("Supposed: +20 % a year.") < some.index("as it is") < some.index("fra")
    assert some.index("as it would be") < some.index("ams: 75 % of")
    assert "as it is" in nothing


def test_percentiles_have_their_bills_and_what_they_rest_on(capsys: Printed) -> None:
    fra = document.PlacePercentiles(
        name="fra", level="location", percentiles=PERCENTILES, bill=BILL
    )
    exact = msgspec.structs.replace(BILL, slots_above_most=10, to_date=None, projected=None)
    ams = msgspec.structs.replace(fra, name="ams", bill=exact)
    sure = msgspec.structs.replace(PERCENTILES, error_bits_per_second=0.0)
    nyc = msgspec.structs.replace(fra, name="nyc", percentiles=sure, bill=None)

    show_percentiles([fra, ams, nyc])

    percentiles, bills = capsys.readouterr().out.split("bill to date")
    assert "8,352 of 8,640" in percentiles
    assert "10 to 20" in bills
    assert "-2.00 Gbit/s" in bills
    assert "1,500.00" in bills
    assert "3,000.00" in bills
    assert "From 2026-11-01T00:00:00Z to 2026-12-01T00:00:00Z." in bills
    assert "fra: daily histogram, to 200 Mbit/s." in bills
    assert "nyc: daily histogram.\n  a note" in bills


def test_percentiles_without_a_bill_have_no_table_of_them(capsys: Printed) -> None:
    plain = document.PlacePercentiles(
        name="fra", level="location", percentiles=PERCENTILES, bill=None
    )

    show_percentiles([plain])
    show_percentiles([])

    assert "commit" not in capsys.readouterr().out


def test_forecasts_of_rates_have_units_and_those_of_elsewhere_have_none(capsys: Printed) -> None:
    line = series(growing(60))
    asked = [
        Asked(line, 10e9, is_rate=True),
        Asked(series(growing(60), "csv")),
        Asked(series(growing(60), "new"), reason="new"),
    ]

    show_forecasts(asked, {"fra": [BAND] * 40, "csv": [BAND] * 40, "new": "it is [new]"})

    out = capsys.readouterr().out
    for heading in ("in 7 days (80 %)", "in 30 days (80 %)", "in 40 days (80 %)"):
        assert heading in out
    assert out.count("2.00 Gbit/s (1.00 Gbit/s to 4.00 Gbit/s)") == 3
    assert out.count("2e+09 (1e+09 to 4e+09)") == 3
    assert "new: it is [new]." in out


def test_a_horizon_of_a_day_has_one_column(capsys: Printed) -> None:
    show_forecasts([Asked(series(growing(60)))], {"fra": [BAND]})

    out = capsys.readouterr().out
    assert "in 1 day (80 %)" in out
    assert out.count("(80 %)") == 1


def test_thresholds_have_a_window_or_a_reason(capsys: Printed) -> None:
    told = Threshold(
        threshold=8e9,
        first=date(2027, 1, 1),
        last=date(2027, 3, 1),
        order_by=date(2026, 12, 2),
        reason=None,
    )
    refused = msgspec.structs.replace(
        told, threshold=1e10, first=None, last=None, order_by=None, reason="it is not reached"
    )
    asked = [Asked(series(growing(60)), 1e10, is_rate=True), Asked(series(growing(60), "csv"))]

    show_thresholds(asked, {"fra": [told, refused], "csv": "too short"}, 30)
    show_thresholds(asked[1:], {"csv": [refused]}, 30)

    out = capsys.readouterr().out
    assert "order by (30 days before)" in out
    row = next(line for line in out.splitlines() if "80 %, 8.00 Gbit/s" in line)
    assert row.split()[-3:] == ["2027-01-01", "2027-03-01", "2026-12-02"]
    assert "fra, 100 %, 10.0 Gbit/s: it is not reached." in out
    assert "csv: too short." in out
    # Nothing but reasons takes no table.
    assert out.endswith("csv: too short.\ncsv, 1e+10: it is not reached.\n")


def test_rows_are_under_their_headings(capsys: Printed) -> None:
    score = document.Score(
        horizon_days=7,
        forecasts=4,
        smape_percent=5.5555,
        covered_80=0.81,
        covered_95=0.95,
        width_80=0.4,
    )

    found: Found[document.Score] = {"fra": [score], "ams": "too short"}
    show_rows(found, {"horizon_days": "days", "smape_percent": "%"})

    out = capsys.readouterr().out
    assert ["fra", "7", "5.556"] in [line.split() for line in out.splitlines()]
    assert "ams: too short." in out


def test_a_terminal_has_its_width_and_folds_names(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    show_ranking(ranking(FRA))

    out = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    for day in ("2026-11-02", "2027-01-01", "2027-03-01"):
        assert day in out
    assert "…" not in out


def test_bars_show_weeks_against_the_highest() -> None:
    weeks = np.repeat([0.0, 50.0, np.nan, 100.0], 7)

    assert sparkline(weeks) == "▁▅ █"
    assert sparkline(np.zeros(14)) == "▁▁"
    assert sparkline(np.array([])) == ""


def test_what_goes_on_is_said_to_a_terminal_only(capsys: Printed) -> None:
    with working("reading"):
        pass

    assert capsys.readouterr() == ("", "")
