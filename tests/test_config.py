"""The configuration: every mistake at once, each with its place and its mend."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trafficd.config import AgentSettings, parse_config, read_config
from trafficd.errors import ConfigError
from trafficd.rules import BUILT_IN_RULES, Population, Role


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, source="agent.yml")
    return caught.value.mistakes


def parsed_or_none(text: str) -> AgentSettings | None:
    """Return the configuration, or None if it was refused with at least one mistake."""
    try:
        return parse_config(text)
    except ConfigError as error:
        if not error.mistakes:
            raise
        return None


def test_an_empty_file_is_every_default() -> None:
    settings = parse_config("")

    assert settings.window == 3600
    assert settings.release.min_sessions == 10
    assert settings.links == BUILT_IN_RULES
    assert settings.metrics.listen == ("127.0.0.1:9787",)


def test_the_file_of_the_documentation_is_read() -> None:
    settings = parse_config(
        """
        node: {name: fra-17, location: fra}
        window: 1h
        release: {min_sessions: 10}
        links:                      # first match wins
          - {name: "eth*", role: uplink, capacity: 10Gbit}
          - {name: "wg*", class: wireguard, population: shared}
          - {name: "ppp*", class: l2tp, population: per-session}
          - {name: "*", role: ignored}
        """
    )

    assert (settings.node.name, settings.node.location) == ("fra-17", "fra")
    assert settings.classes == ("wireguard", "l2tp")
    assert settings.capacity_bits_per_second == 10_000_000_000
    assert [rule.counts_as for rule in settings.links] == [
        Role.UPLINK, Role.TUNNEL, Role.TUNNEL, Role.IGNORED,
    ]  # fmt: skip
    assert settings.links[1].clients is Population.SHARED


def test_every_mistake_is_told_at_once_with_its_line() -> None:
    told = mistakes(
        "node: {name: Fra 17, location: 10.0.0.1}\n"
        "window: 5s\n"
        "release: {min_sessions: 4}\n"
        "links:\n"
        '  - {name: "eth*", role: uplink, capacity: 10Gb}\n'
        '  - {name: "wg*", clas: wireguard}\n'
        '  - {name: "ppp*", class: l2tp, role: uplink}\n'
        '  - {name: "x*"}\n'
        "metrics: {listen: [9787]}\n"
        "windows: 1h\n"
    )

    assert [line.split(": ", 2)[:2] for line in told] == [
        ["agent.yml:1", "node.name"],
        ["agent.yml:1", "node.location"],
        ["agent.yml:2", "window"],
        ["agent.yml:3", "release.min_sessions"],
        ["agent.yml:5", "links[0].capacity"],
        ["agent.yml:6", "links[1].clas"],
        ["agent.yml:7", "links[2]"],
        ["agent.yml:8", "links[3]"],
        ["agent.yml:9", "metrics.listen[0]"],
        ["agent.yml:10", "windows"],
    ]
    assert told[2] == "agent.yml:2: window: 5s: at least 5m"
    assert told[5] == "agent.yml:6: links[1].clas: unknown key; did you mean class?"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("window: 299s", "window: 299s: at least 5m"),
        ("window: 25h", "window: 25h: at most 24h"),
        ("window: 7m", "window: 7m: must divide a day, like 5m, 15m, 1h or 6h"),
        ("window: 3600", "window: 3600: write a whole number and s, m, h or d, like 1h"),
        ("window: 1 hour", "window: 1 hour: write a whole number and s, m, h or d, like 1h"),
        ("window: -1h", "window: -1h: write a whole number and s, m, h or d, like 1h"),
        ("links: []", "links: counts nothing; leave the key out for the built-in rules"),
        ("links: yes", "links: expected a list, like `[...]`"),
        ("metrics: {path: metrics}", "metrics.path: metrics: write a path like /metrics"),
        (
            "namespaces: [host]",
            "namespaces[0]: host: host is the namespace trafficd runs in; it is always read",
        ),
        (
            'links: [{name: "a", class: x, population: shared}, {name: "b", class: x}]',
            "links[1]: class x: both shared and per-session; give one of them a name of its own",
        ),
        (
            "links: [{role: ignored, namespace: blue}]",
            "links[0]: namespace blue: not read; add it to namespaces",
        ),
        ("links: [{role: ignored, role: uplink}]", "links[0].role: stands here twice; keep one"),
        ("links: [{role: ignored, capacity: 1Gbit}]", "links[0]: capacity belongs to role: uplink"),
        ("links: [{role: tunnel}]", "links[0].role: tunnel needs a class to count towards"),
        (
            "release: {min_sessions: ten}",
            "release.min_sessions: ten: expected a whole number, got text",
        ),
        ("links: [", "did not find expected node content"),
        ("links: [{role: nope}]", "links[0].role: nope: write one of uplink, tunnel, ignored"),
        ("namespaces: [blue, blue]", "namespaces: blue: stands here twice; keep one"),
        (
            "namespaces: ['a:b']",
            "namespaces[0]: a:b: write the name of a namespace, as `ip netns` lists it",
        ),
        (
            "metrics: {listen: [':9787', ':9787']}",
            "metrics.listen: :9787: stands here twice; keep one",
        ),
        (
            "links: [{role: uplink, capacity: 1001Tbit}]",
            "links[0].capacity: 1001Tbit: at most 1000Tbit",
        ),
        ("[a]: b", "a key is a word, not a list or a mapping"),
        ("links: " + "[" * 100_000, "nested more than 20 deep"),
    ],
)
def test_a_mistake_is_told_with_its_mend(text: str, told: str) -> None:
    (line,) = mistakes(text)

    assert line.partition(": ")[2] == told


@pytest.mark.parametrize("value", ['!!int ""', "!!bool maybe", "!!timestamp foo", "!!python/x y"])
def test_a_tag_that_does_not_fit_its_value_is_a_mistake(value: str) -> None:
    assert len(mistakes(f"release: {{min_sessions: {value}}}")) == 1


def test_what_keys_owe_each_other_is_told_beside_other_mistakes() -> None:
    told = mistakes(
        "window: 5s\n"
        "windo: 1h\n"
        "links: [{name: a, class: x, population: shared}, {name: b, class: x}]\n"
    )

    assert [line.split(": ")[1] for line in told] == ["window", "windo", "links[1]"]


def test_a_window_at_either_floor_is_taken() -> None:
    assert parse_config("window: 5m").window == 300
    assert parse_config("window: 24h").window == 86400
    assert parse_config("window: 1d").window == 86400


def test_too_many_classes_are_refused_because_a_frame_has_room_for_so_many() -> None:
    rules = ", ".join(f"{{name: a{number}, class: c{number}}}" for number in range(33))

    assert mistakes(f"links: [{rules}]") == ["agent.yml:1: links: 33 classes: at most 32"]


def test_capacities_of_uplink_rules_add_up() -> None:
    settings = parse_config(
        "links:\n"
        "  - {name: a, role: uplink, capacity: 2.5Gbit}\n"
        "  - {name: b, role: uplink, capacity: 1Gbit}\n"
    )

    assert settings.capacity_bits_per_second == 3_500_000_000


def test_a_file_that_is_not_there_or_not_text_is_one_line(tmp_path: Path) -> None:
    binary = tmp_path / "agent.yml"
    binary.write_bytes(b"node: \xff")

    with pytest.raises(ConfigError, match="not UTF-8 at byte 6"):
        read_config(binary)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_config(tmp_path / "none.yml")


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_list_of_mistakes(text: str) -> None:
    settings = parsed_or_none(text)

    assert settings is None or isinstance(settings, AgentSettings)


_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
        st.sampled_from(["1h", "5m", "eth*", "uplink", "10Gbit", "shared"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["node", "name", "location", "window", "links", "role", "class", "capacity",
                 "metrics", "listen", "namespaces", "release", "min_sessions", "slave", "type"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@given(_values)
def test_any_structure_is_a_configuration_or_a_list_of_mistakes(value: object) -> None:
    settings = parsed_or_none(yaml.safe_dump(value))

    assert settings is None or (
        300 <= settings.window <= 86400 and settings.release.min_sessions >= 5
    )
