"""Documents for machines: what stands in them, whatever is known."""

import csv
import io
import json
from dataclasses import replace
from datetime import date, timedelta

import msgspec
import numpy as np

from tests.planning.fleets import FIRST, node
from tests.planning.series import growing
from trafficd.planning import billing
from trafficd.planning.document import Band, Bill, PlacePercentiles
from trafficd.planning.outlook import Outlook, Terms
from trafficd.planning.percentile import Estimate
from trafficd.planning.period import Period
from trafficd.planning.places import places
from trafficd.planning.report import (
    Found,
    as_csv,
    as_json,
    csv_lines,
    flat,
    flat_percentiles,
    percentiles_document,
)

BAND = Band(date=date(2026, 11, 24), point=1.0, low_80=0.5, high_80=2.0, low_95=0.25, high_95=4.0)
MEASURED = billing.Percentiles(
    Estimate(3e9, 1e8),
    Estimate(2e9, 2e8),
    None,
    billing.Bound(3e9, 2e9, 5e9),
    10,
    8640,
    billing.Resolution.HISTOGRAM,
    300,
    ("a note",),
)


def test_answers_and_reasons_stand_apart() -> None:
    found: Found[Band] = {
        "fra": [BAND],
        "ams": "9 days with traffic; a forecast takes 28 at the least",
    }

    document = json.loads(as_json(found))
    (row,) = csv.DictReader(io.StringIO(as_csv(found)))

    assert document == {
        "series": {"fra": [msgspec.to_builtins(BAND)]},
        "refused": {"ams": found["ams"]},
    }
    assert list(row) == ["series", "date", "point", "low_80", "high_80", "low_95", "high_95"]
    assert (row["series"], row["date"], row["low_95"]) == ("fra", "2026-11-24", "0.25")


def test_no_lines_have_no_heading() -> None:
    assert csv_lines([]) == as_csv({"ams": "no"}) == ""


def test_lines_have_the_same_names_whatever_is_known() -> None:
    last = FIRST + timedelta(days=199)
    found = places([node("fra-1", 1e7 * growing(200)), node("ams-1", np.ones(200))], last)
    said = [Outlook.of(each).summary(Terms()) for each in found[1:3]]
    silent = Outlook.of(replace(found[2], capacity=0.0)).summary(Terms())

    rows = [flat(each) for each in (*said, silent)]

    assert said[1].growth is not None
    assert silent.growth is None
    assert rows[0].keys() == rows[1].keys() == rows[2].keys()
    assert not {"growth", "crossings", "notes"} & rows[0].keys()
    assert len(csv_lines(rows).splitlines()) == 4


def test_percentiles_have_the_error_of_the_worse_direction_if_both_are_known() -> None:
    period = Period(0, 30 * 24 * 60 * 60)

    made = percentiles_document(period, MEASURED)
    unsure = percentiles_document(period, replace(MEASURED, transmit=Estimate(2e9, None)))
    nothing = percentiles_document(
        period,
        replace(
            MEASURED,
            receive=None,
            transmit=None,
            upper=None,
            resolution=billing.Resolution.WINDOWS,
            window_seconds=3600,
        ),
    )

    assert (made.begin, made.end) == ("1970-01-01T00:00:00Z", "1970-01-31T00:00:00Z")
    assert made.receive_bits_per_second == made.highest_bits_per_second == 3e9
    assert (made.error_bits_per_second, made.upper_bound_bits_per_second) == (2e8, 3e9)
    assert made.resolution == "daily histogram of five-minute slots"
    assert unsure.error_bits_per_second is None
    assert nothing.highest_bits_per_second is nothing.error_bits_per_second is None
    assert nothing.upper_bound_bits_per_second is None
    assert nothing.resolution == "summed windows of 60 minutes"


def test_a_line_of_percentiles_has_the_bill_s_names_with_and_without_one() -> None:
    bill = Bill(
        commit_bits_per_second=1e9,
        room_bits_per_second=-2e9,
        share=3.0,
        slots_above_least=1,
        slots_above_most=2,
        to_date=None,
        projected=None,
    )
    plain = PlacePercentiles(
        name="fra",
        level="location",
        percentiles=percentiles_document(Period(0, 86400), MEASURED),
        bill=None,
    )

    without, with_bill = (
        flat_percentiles(each) for each in (plain, msgspec.structs.replace(plain, bill=bill))
    )

    assert without.keys() == with_bill.keys()
    assert without["slots_above_most"] is None
    assert with_bill["slots_above_most"] == 2
