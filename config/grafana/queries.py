"""What the dashboards ask Prometheus.

What takes 30 days is recorded by config/prometheus/rules.yml, and looked back for, however seldom
it was; the rest is asked of the totals themselves, so it is right for releases that came late too.
"""

# ruff: noqa: INP001  # Read by dashboards.py beside it, a program.

HERE_ONLY = 'location=~"$location"'
# Two windows of 1 h and a quarter of an hour, as in alerts.yml.
LATE_SECONDS = 8100
# The mark that is ordered for, as in alerts.yml.
MARK = "0.8"


def moved(what: str, by: str = "location") -> str:
    """Return the query for the bytes of a day; what comes by two ways is taken once."""
    own = ", class" if what.startswith("class") else ""
    each = f"increase(trafficd_{what}_bytes_total{{{HERE_ONLY}}}[1d])"
    return f"sum by ({by}) (max by (node, location{own}) ({each}))"


def last(series: str, matchers: str = HERE_ONLY) -> str:
    """Return the query for what was recorded last, of a day."""
    return f"last_over_time({series}{{{matchers}}}[1d])"


def mean(direction: str, by: str) -> str:
    """Return the query for the mean rate of a day."""
    return f"{moved(f'uplink_{direction}', by)} * 8 / 86400"


def slots(direction: str) -> str:
    """Return the query for the 5-minute slots of a day by utilisation."""
    matchers = f'{HERE_ONLY}, direction="{direction}"'
    each = f"increase(trafficd_uplink_utilisation_ratio_bucket{{{matchers}}}[1d])"
    return f"sum by (le) (max by (node, location, le) ({each}))"


def grown() -> str:
    """Return the query for how much more was moved in 30 days than in those before."""

    def month(ago: str) -> str:
        each = [
            f"max by (node, location) "
            f"(increase(trafficd_uplink_{way}_bytes_total{{{HERE_ONLY}}}[30d]{ago}))"
            for way in ("receive", "transmit")
        ]
        return f"sum by (location) ({each[0]} + {each[1]})"

    return f"{month('')} / {month(' offset 30d')} - 1"


BOTH_WAYS = f"{moved('uplink_receive')} + {moved('uplink_transmit')}"
CLASSES = f"{moved('class_receive', 'class')} + {moved('class_transmit', 'class')}"
RECORDED_P95 = f"max by (location) ({last('location:trafficd_uplink_bits_per_second:p95_30d')})"
# The planner's own where there is a collector.
P95 = f"(max by (location) (trafficd_plan_p95_bits_per_second{{{HERE_ONLY}}}) or {RECORDED_P95})"
CAPACITY = (
    f"(max by (location) (trafficd_plan_capacity_bits_per_second{{{HERE_ONLY}}}) > 0 or "
    f"max by (location) ({last('location:trafficd_uplink_capacity_bits_per_second:sum')}))"
)
COMMIT = f"max by (location) ({last('location:trafficd_commit_bits_per_second')})"
AGE = f"node:trafficd_release_age_seconds:max{{{HERE_ONLY}}}"
AT_MARK = f'{HERE_ONLY}, threshold="{MARK}"'
ORDER_BY = f"min by (location) (trafficd_plan_order_by_timestamp_seconds{{{AT_MARK}}})"
DAYS_TO_ORDER = f"({ORDER_BY} - time()) / 86400"
FILLED = f"min by (location) (trafficd_plan_saturation_first_timestamp_seconds{{{AT_MARK}}})"
# At every mark that the planner is asked about.
FILLED_AT_ANY = (
    "min by (location, threshold) "
    f"(trafficd_plan_saturation_first_timestamp_seconds{{{HERE_ONLY}}})"
)
ORDER_BY_AT_ANY = (
    f"min by (location, threshold) (trafficd_plan_order_by_timestamp_seconds{{{HERE_ONLY}}})"
)
