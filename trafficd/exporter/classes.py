"""The classes that an operator has configured until now: what a release may name."""

import contextlib
from collections.abc import Collection

from trafficd.config import AgentSettings, parse_config
from trafficd.errors import ConfigError
from trafficd.service.lifeline import Lifeline


class ConfiguredClasses:
    """The classes of the configuration at the start and of every text handed down since."""

    def __init__(self, settings: AgentSettings, lifeline: Lifeline, *, source: str) -> None:
        self._names = set(settings.classes)
        self._lifeline = lifeline
        self._source = source
        self._text = ""

    def __call__(self) -> Collection[str]:
        """Return their names.

        One that was taken out stays: the reader may have released it before it heard of that.
        """
        # Bad texts the reader refuses, which gets the same ones, and says so.
        with contextlib.suppress(ConfigError):
            text = self._lifeline.text()
            if text != self._text:
                self._text = text
                self._names.update(parse_config(text, source=self._source).classes)
        return self._names
