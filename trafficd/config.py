"""The agent's configuration: one YAML file, the same for reader and exporter."""

import re
import socket
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from trafficd.destinations import Destination
from trafficd.rules import BUILT_IN_RULES, HOST_NAMESPACE, LinkRule, Population, Role
from trafficd.schema import (
    FEWEST_SESSIONS,
    MAXIMUM_WINDOW_SECONDS,
    MINIMUM_WINDOW_SECONDS,
    MOST_CLASSES,
)
from trafficd.settings import parse_settings, read_settings
from trafficd.units import Duration, ListenAddress, NodeName, Word

# Each takes two descriptors, and a process has a thousand.
_MOST_NAMESPACES = 100
_DAY_SECONDS = 24 * 60 * 60


class Window(Duration):
    """The distance of the grid: a duration that divides a day, within the floors."""

    @classmethod
    def parse(cls, value: object) -> "Window":
        """Return *value* in seconds.

        Raises: ValueError if it is outside the floors or its grid would not meet midnight.
        """
        window = cls(Duration.parse(value))
        if window < MINIMUM_WINDOW_SECONDS:
            raise ValueError("at least 5m")
        if window > MAXIMUM_WINDOW_SECONDS:
            raise ValueError("at most 24h")
        if _DAY_SECONDS % window:
            raise ValueError("must divide a day, like 5m, 15m, 1h or 6h")
        return window


class NamespaceName(str):
    """A network namespace, by its name under /run/netns."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> "NamespaceName":
        """Return *value* itself.

        Raises: ValueError if no such file name can be.
        """
        if not isinstance(value, str) or not re.fullmatch(r"(?!\.)[^/:\s]{1,255}", value):
            raise ValueError("write the name of a namespace, as `ip netns` lists it")
        if value == HOST_NAMESPACE:
            raise ValueError(
                f"{HOST_NAMESPACE} is the namespace trafficd runs in; it is always read"
            )
        return cls(value)


class MetricsPath(str):
    """The path that Prometheus scrapes."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> "MetricsPath":
        """Return *value* itself.

        Raises: ValueError if it is no path, or /healthz.
        """
        if not isinstance(value, str) or not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value):
            raise ValueError("write a path like /metrics")
        if value == "/healthz":
            raise ValueError("/healthz answers load balancers; choose another path")
        return cls(value)


def _host_name() -> NodeName:
    """Return this machine's name as a node name, or a plain word where it is not one."""
    try:
        return NodeName.parse(socket.gethostname().split(".")[0].lower())
    except ValueError:
        return NodeName("node")


class NodeSettings(msgspec.Struct, frozen=True):
    """Who this node is."""

    name: NodeName = msgspec.field(default_factory=_host_name)
    location: Word = Word("unknown")


class ReleaseSettings(msgspec.Struct, frozen=True):
    """When totals may be published."""

    min_sessions: int = 10

    def __post_init__(self) -> None:
        """Hold the floor.

        Raises: ValueError below it.
        """
        if self.min_sessions < FEWEST_SESSIONS:
            raise ValueError(f"min_sessions: {self.min_sessions}: at least {FEWEST_SESSIONS}")


class MetricsSettings(msgspec.Struct, frozen=True):
    """Where /metrics is served."""

    listen: tuple[ListenAddress, ...] = (ListenAddress("127.0.0.1:9787"),)
    path: MetricsPath = MetricsPath("/metrics")
    web_config: str | None = None

    def __post_init__(self) -> None:
        """Refuse an exporter that nobody can reach.

        Raises: ValueError if no address is left.
        """
        if not self.listen:
            raise ValueError("listen: needs at least one address")


class Layer(StrEnum):
    """What of the sandbox a kernel or a container can lack; the rest is never done without."""

    LANDLOCK = "landlock"  # Linux 5.13, and among the security modules started at boot
    SECCOMP = "seccomp"
    SWAP = "swap"  # memory kept out of swap: a limit of locked memory, or of swap by cgroup


class SandboxSettings(msgspec.Struct, frozen=True):
    """What the kernel forbids the halves, and as whom they run where root starts them."""

    user: str = "nobody"
    absent: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a name that no user can have, and root.

        Raises: ValueError with the mend.
        """
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", self.user):
            raise ValueError(f"user: {self.user}: write the name of a user of this system")
        if self.user == "root":
            raise ValueError("user: root: the halves give up what root may; name another user")


class AgentSettings(msgspec.Struct, frozen=True):
    """The whole file; every key has a default."""

    node: NodeSettings = NodeSettings()
    window: Window = Window(3600)
    release: ReleaseSettings = ReleaseSettings()
    links: tuple[LinkRule, ...] = BUILT_IN_RULES
    namespaces: tuple[NamespaceName, ...] = ()
    metrics: MetricsSettings = MetricsSettings()
    push: tuple[Destination, ...] = ()
    sandbox: SandboxSettings = SandboxSettings()

    def __post_init__(self) -> None:
        """Check what several keys owe each other.

        Raises: ValueError with every mistake.
        """
        mistakes = [*self._mistakes_of_rules()]
        if not self.links:
            mistakes.append("links: counts nothing; leave the key out for the built-in rules")
        for key, names in (
            ("namespaces", self.namespaces),
            ("metrics.listen", self.metrics.listen),
            ("push", tuple(each.name for each in self.push)),
        ):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                mistakes.append(f"{key}: {twice}: stands here twice; keep one")
        if len(self.namespaces) > _MOST_NAMESPACES:
            mistakes.append(f"namespaces: {len(self.namespaces)}: at most {_MOST_NAMESPACES}")
        if len(self.classes) > MOST_CLASSES:
            mistakes.append(f"links: {len(self.classes)} classes: at most {MOST_CLASSES}")
        if mistakes:
            raise ValueError(*mistakes)

    def _mistakes_of_rules(self) -> Iterator[str]:
        populations: dict[str, Population] = {}
        known = {HOST_NAMESPACE, *self.namespaces}
        for number, rule in enumerate(self.links):
            if rule.namespace is not None and rule.namespace not in known:
                yield f"links[{number}]: namespace {rule.namespace}: not read; add it to namespaces"
            if rule.class_ is None:
                continue
            if populations.setdefault(rule.class_, rule.clients) is not rule.clients:
                yield (
                    f"links[{number}]: class {rule.class_}: both shared and per-session;"
                    " give one of them a name of its own"
                )

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order in which the rules first name them."""
        return tuple(dict.fromkeys(rule.class_ for rule in self.links if rule.class_ is not None))

    @property
    def capacity_bits_per_second(self) -> int:
        """What the uplinks can carry together; 0 where no rule states it."""
        return sum(
            rule.capacity
            for rule in self.links
            if rule.counts_as is Role.UPLINK and rule.capacity is not None
        )


def read_config(path: Path) -> AgentSettings:
    """Return the configuration in the file at *path*.

    Raises: ConfigError with a line for every mistake.
    """
    return read_settings(path, AgentSettings)


def parse_config(text: str, *, source: str = "configuration") -> AgentSettings:
    """Return the configuration that *text* states.

    Raises: ConfigError with a line for every mistake.
    """
    return parse_settings(text, AgentSettings, source=source)
