"""The collector's file, and the sample of it."""

import re
from pathlib import Path

import msgspec
import pytest

from trafficd.collector.config import (
    CollectorSettings,
    PlanningSettings,
    RetentionSettings,
    read_collector_config,
)
from trafficd.errors import ConfigError
from trafficd.settings import parse_settings

SAMPLE = Path(__file__).parents[2] / "config" / "collector.yml"


def parsed(text: str) -> CollectorSettings:
    return parse_settings(text, CollectorSettings, source="collector.yml")


def test_the_sample_in_force_as_it_is_is_every_default() -> None:
    assert read_collector_config(SAMPLE) == CollectorSettings()


def test_the_sample_with_every_key_put_into_force_is_every_default() -> None:
    # Prose begins with a hash and one space.
    keys = "\n".join(re.findall(r"^#(?! \S|$)(.*)$", SAMPLE.read_text(), re.MULTILINE))

    assert parsed(keys) == CollectorSettings()


@pytest.mark.parametrize("kind", [CollectorSettings, RetentionSettings, PlanningSettings])
def test_every_key_stands_in_the_sample(kind: type[msgspec.Struct]) -> None:
    for name in kind.__struct_fields__:
        assert re.search(rf"^# *{name}:", SAMPLE.read_text(), re.MULTILINE)


def test_the_defaults_are_those_that_were_promised() -> None:
    defaults = CollectorSettings()

    assert defaults.listen == ("127.0.0.1:9788",)
    assert defaults.database == "/var/lib/trafficd/collector.db"
    assert (defaults.retention.raw, defaults.retention.daily) == (400 * 86400, None)


def test_thresholds_are_percentages() -> None:
    planning = parsed("planning: {lead_time: 90d, thresholds: [66.5%], order_at: 75 %}").planning

    assert planning.lead_time.days == 90
    assert planning.thresholds == (0.665,)
    assert planning.order_at == 0.75


def test_history_may_be_kept_for_ever_or_for_days() -> None:
    forever = parsed("retention: {raw: null, daily: null}").retention
    bounded = parsed("retention: {raw: 32d, daily: 800d}").retention

    assert (forever.raw, forever.daily) == (None, None)
    assert bounded.raw is not None
    assert bounded.daily is not None
    assert (bounded.raw.days, bounded.daily.days) == (32, 800)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("listen: []", "listen: needs at least one address"),
        ('listen: [":1", ":1"]', "listen: :1: stands here twice; keep one"),
        ("planning: {order_at: 0.8}", "order_at: 0.8: write a percentage above 0%, like 80%"),
        ("planning: {thresholds: [0%]}", "thresholds[0]: 0%: write a percentage above 0%"),
        ("planning: {lead_time: 3h}", "lead_time: 3h: write whole days"),
        ("listen: [here]", "listen[0]: here: write host:port"),
        ("database: /var/lib/", "database: /var/lib/: write the path of a file"),
        ("retention: {raw: 36h}", "retention.raw: 36h: write whole days, like 400d; null is"),
        ("retention: {raw: 31d}", "retention.raw: 31d: at least 32d; nodes keep a month"),
        ("retention: {raw: 0d}", "retention.raw: 0d: write whole days"),
        ("retention: {raw: 5}", "retention.raw: 5: write whole days"),
        ("retention: {daily: 30d}", "retention.daily: 30d: shorter than raw, which is 400d"),
        ("retention: {raw: null, daily: 9d}", "daily: 9d: shorter than raw, which is for ever"),
        ("databse: x", "databse: unknown key; did you mean database?"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_mend(text: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(text)

    (said,) = raised.value.mistakes
    assert said.startswith("collector.yml:1: ")
    assert mistake in said


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        parsed("listen: []\ndatabase: ''\nretention: {raw: never}")

    assert len(raised.value.mistakes) == 3
