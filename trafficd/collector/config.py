"""The collector's configuration: one YAML file, with a default for every key."""

from pathlib import Path
from typing import Self

import msgspec

from trafficd.collector.retention import FEWEST_RAW_DAYS
from trafficd.settings import read_settings
from trafficd.units import Duration, ListenAddress, Share

_DAY_SECONDS = 24 * 60 * 60


class Days(Duration):
    """A length of time in whole days, written ``400d``."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* in seconds.

        Raises: ValueError if it is not some whole days.
        """
        try:
            seconds = Duration.parse(value)
        except ValueError:
            seconds = Duration(0)
        if not seconds or seconds % _DAY_SECONDS:
            raise ValueError("write whole days, like 400d; null is for ever")
        return cls(seconds)

    @property
    def days(self) -> int:
        """How many days they are."""
        return self // _DAY_SECONDS


class RetentionSettings(msgspec.Struct, frozen=True):
    """How long history is kept; None is for ever."""

    raw: Days | None = Days(400 * _DAY_SECONDS)
    daily: Days | None = None

    def __post_init__(self) -> None:
        """Refuse releases that go before all have come, and days that go before their releases.

        Raises: ValueError with the mend.
        """
        if self.raw is not None and self.raw.days < FEWEST_RAW_DAYS:
            raise ValueError(
                f"raw: {self.raw.written}: at least {FEWEST_RAW_DAYS}d; nodes keep a month of"
                " releases for a collector that was away"
            )
        if self.daily is None or (self.raw is not None and self.raw <= self.daily):
            return
        raw = "for ever" if self.raw is None else self.raw.written
        raise ValueError(f"daily: {self.daily.written}: shorter than raw, which is {raw}")


class PlanningSettings(msgspec.Struct, frozen=True):
    """What the planning page is asked of every location."""

    lead_time: Days = Days(60 * _DAY_SECONDS)
    thresholds: tuple[Share, ...] = (Share(0.5), Share(0.7), Share(0.8), Share(1.0))
    order_at: Share = Share(0.8)


class CollectorSettings(msgspec.Struct, frozen=True):
    """The whole file; every key has a default."""

    listen: tuple[ListenAddress, ...] = (ListenAddress("127.0.0.1:9788"),)
    database: str = "/var/lib/trafficd/collector.db"
    web_config: str | None = None
    retention: RetentionSettings = RetentionSettings()
    planning: PlanningSettings = PlanningSettings()

    def __post_init__(self) -> None:
        """Refuse a collector that nobody can reach.

        Raises: ValueError with every mistake.
        """
        mistakes = []
        if not self.listen:
            mistakes.append("listen: needs at least one address")
        twice = next((each for each in self.listen if self.listen.count(each) > 1), None)
        if twice is not None:
            mistakes.append(f"listen: {twice}: stands here twice; keep one")
        if not self.database or self.database.endswith("/") or "\0" in self.database:
            mistakes.append(f"database: {self.database}: write the path of a file")
        if mistakes:
            raise ValueError(*mistakes)


def read_collector_config(path: Path) -> CollectorSettings:
    """Return the configuration in the file at *path*.

    Raises: ConfigError with a line for every mistake.
    """
    return read_settings(path, CollectorSettings)
