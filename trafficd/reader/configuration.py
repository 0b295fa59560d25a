"""The text that the reader is configured by: the file's, the last good one, or one handed down."""

from pathlib import Path
from typing import Self

from trafficd.config import AgentSettings, parse_config
from trafficd.errors import ConfigError
from trafficd.service.lifeline import Lifeline
from trafficd.settings import read_text


class Configuration:
    """The text in force and its settings.

    *is_refused* says that the newest one was not taken.
    """

    def __init__(self, settings: AgentSettings, text: str) -> None:
        self.settings = settings
        self.text = text
        self.is_refused = False

    @classmethod
    def at_start(cls, file: Path, last_good: str | None) -> Self:
        """Return the configuration of *file*, or the last good one if it is refused.

        Raises: ConfigError if it is refused and there is none.
        """
        try:
            text = read_text(file)
            return cls(parse_config(text, source=str(file)), text)
        except ConfigError:
            if last_good is None:
                raise
        configuration = cls(parse_config(last_good), last_good)
        configuration.is_refused = True
        return configuration

    def reread(self, lifeline: Lifeline) -> AgentSettings:
        """Take the newest text that was handed down, and return its settings.

        Raises: ConfigError with its mistakes; then the old one stays in force.
        """
        self.is_refused = True
        text = lifeline.text()
        self.settings = parse_config(text)
        self.text = text
        self.is_refused = False
        return self.settings
