"""What a plan says: the nouns that page, terminal and JSON have in common, with stable names.

Units stand in the names; rates are bits per second, shares and growth are parts of one (0.12 is
12 %). A date is a UTC day. What cannot be told is null, and a `reason` beside it says why.
"""

from datetime import date

import msgspec


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What all of them are."""


class Band(Document, frozen=True, kw_only=True):
    """One day of a forecast; bands hold 80 and 95 % of what comes."""

    date: date
    point: float
    low_80: float
    high_80: float
    low_95: float
    high_95: float


class Day(Document, frozen=True, kw_only=True):
    """One day of a history: the busier direction's."""

    date: date
    p95_bits_per_second: float | None
    mean_bits_per_second: float | None


class Growth(Document, frozen=True, kw_only=True):
    """What is expected to be added within so many days, of what there is now."""

    days: int
    point: float
    low_80: float
    high_80: float


class Crossing(Document, frozen=True, kw_only=True):
    """The days between which a part of the capacity is reached, four times in five."""

    threshold: float
    threshold_bits_per_second: float
    first: date | None
    last: date | None
    order_by: date | None
    reason: str | None


class Threshold(Document, frozen=True, kw_only=True):
    """The same of a series in a unit of its own."""

    threshold: float
    first: date | None
    last: date | None
    order_by: date | None
    reason: str | None


class Score(Document, frozen=True, kw_only=True):
    """How the method did so many days ahead, in this history's own past."""

    horizon_days: int
    forecasts: int
    smape_percent: float
    covered_80: float
    covered_95: float
    width_80: float


class Percentiles(Document, frozen=True, kw_only=True):
    """95th percentiles of a period, with what they rest on.

    *highest* is the greater of both directions', *both* that of their sum; *upper_bound* is the sum
    of the nodes' own. *error* is how far off each may be.
    """

    begin: str
    end: str
    receive_bits_per_second: float | None
    transmit_bits_per_second: float | None
    highest_bits_per_second: float | None
    both_bits_per_second: float | None
    error_bits_per_second: float | None
    upper_bound_bits_per_second: float | None
    slots_seen: int
    slots_expected: int
    resolution: str
    notes: list[str]


class Usage(Document, frozen=True, kw_only=True):
    """How a period's capacity was used.

    *slots_above* has a share for 0.5, 0.7, 0.8 and 0.9 of the capacity, of the busier direction;
    *uplink_bytes_per_tunnel_byte* is 2 and what the encapsulation adds, where what clients send and
    get passes the same uplinks twice; *classes* has shares of bytes.
    """

    slots_above: dict[str, float] | None
    busy_hour_utc: int | None
    peak_to_mean: float | None
    uplink_bytes_per_tunnel_byte: float | None
    classes: dict[str, float]


class Summary(Document, frozen=True, kw_only=True):
    """One line about a place.

    *p95* is of the last 30 days, of the busier direction: the sum of the uplinks' own.
    *utilisation* is its part of the capacity. *order_by* is of the threshold that is ordered at.
    """

    level: str
    name: str
    location: str
    nodes: int
    capacity_bits_per_second: float | None
    p95_bits_per_second: float | None
    mean_bits_per_second: float | None
    utilisation: float | None
    growth: Growth | None
    growth_reason: str | None
    crossings: list[Crossing]
    order_by: date | None
    last_release: str | None
    sentence: str
    notes: list[str]


class Detail(Document, frozen=True, kw_only=True):
    """All that is said of a place."""

    summary: Summary
    history: list[Day]
    forecast: list[Band]
    forecast_reason: str | None
    scores: list[Score]
    scores_reason: str | None
    percentiles: Percentiles | None
    usage: Usage | None
    uplinks: list[Summary]


class Bill(Document, frozen=True, kw_only=True):
    """What a percentile is to a commit, and what it costs in the unit of the price.

    *room* is what the commit leaves, below 0 above it; *slots_above* it are told between a least
    and a most. *projected* is for the whole period if it goes on like this, *to_date* its part so
    far.
    """

    commit_bits_per_second: float
    room_bits_per_second: float
    share: float | None
    slots_above_least: int
    slots_above_most: int
    to_date: float | None
    projected: float | None


class PlacePercentiles(Document, frozen=True, kw_only=True):
    """The percentiles of a place in a billing period, and its bill where a commit is given."""

    name: str
    level: str
    percentiles: Percentiles
    bill: Bill | None


class Ranking(Document, frozen=True, kw_only=True):
    """The locations, the one to expand next first; and on which terms it is so."""

    as_of: date | None
    lead_days: int
    thresholds: list[float]
    order_at: float
    ranking: list[Summary]
    reason: str | None


class Plan(Document, frozen=True, kw_only=True):
    """The whole; *ranking* has the locations, the one to expand next first."""

    as_of: date | None
    history_begins: date | None
    lead_days: int
    thresholds: list[float]
    order_at: float
    ranking: list[Summary]
    fleet: Detail | None
    locations: dict[str, Detail]
    reason: str | None


class WhatIf(Document, frozen=True, kw_only=True):
    """The ranking as it would be, with what was supposed."""

    supposed: list[str]
    before: list[Summary]
    after: list[Summary]


def as_json(document: Document) -> bytes:
    """Return *document* as JSON, with the names above."""
    return msgspec.json.encode(document)
