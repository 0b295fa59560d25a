"""README, sample configuration and code say the same."""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from trafficd import schema
from trafficd.audit.claims import CLAIMS
from trafficd.cli import COMMANDS
from trafficd.config import AgentSettings, Layer, parse_config
from trafficd.log import Message
from trafficd.rules import LinkRule
from trafficd.sandbox import seccomp

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SAMPLE = (ROOT / "config" / "agent.yml").read_text()


def keys(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from keys(field.type, f"{prefix}{field.encode_name}.")
        else:
            yield f"{prefix}{field.encode_name}"


def uncommented(sample: str) -> str:
    """Return the sample with every key put into force; prose begins with a hash and one space."""
    keys_only = re.findall(r"^#(?! \S|$)(.*)$", sample, re.MULTILINE)
    return "\n".join(keys_only)


def test_the_sample_configuration_is_every_default() -> None:
    settings = parse_config(uncommented(SAMPLE))

    defaults = AgentSettings()
    assert settings.node.location == defaults.node.location
    assert msgspec.structs.replace(settings, node=defaults.node) == defaults


def test_the_sample_configuration_in_force_as_it_is_is_every_default() -> None:
    assert parse_config(SAMPLE) == AgentSettings()


@pytest.mark.parametrize("key", list(keys(AgentSettings)))
def test_every_key_stands_in_the_sample_and_in_the_readme(key: str) -> None:
    assert re.search(rf"^#\s*{key.split('.')[-1]}:", SAMPLE, re.MULTILINE)
    assert f"`{key}`" in README


def test_every_key_of_a_rule_stands_in_the_readme_and_the_sample() -> None:
    for field in msgspec.structs.fields(LinkRule):
        name = field.encode_name
        assert f"`links[].{name}`" in README or f"`.{name}`" in README
        assert f"{name}:" in SAMPLE or f"`{name}`" in SAMPLE


def test_the_readme_lists_exactly_the_metrics() -> None:
    rows = re.findall(r"^\| `(trafficd_\w+)` \|([^|]*)\|", README, re.MULTILINE)

    listed = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    known = (*schema.METRICS, *schema.PUSH_METRICS)
    assert listed == {metric.sample_name: set(metric.labels) for metric in known}


def test_the_readme_lists_exactly_the_commands() -> None:
    assert re.findall(r"^\| `trafficd ([\w-]+)", README, re.MULTILINE) == list(COMMANDS)


def test_the_readme_lists_exactly_the_sentences_of_the_log() -> None:
    (block,) = re.findall(r"## What is logged.*?```text\n(.*?)```", README, re.DOTALL)

    assert block.splitlines() == [str(message) for message in Message]


def test_the_readme_counts_the_system_calls_that_are_let_through() -> None:
    reader, exporter = (
        len({call.name for call in calls if not call.error})
        for calls in (seccomp.READER, seccomp.EXPORTER)
    )

    assert f"an allow-list of {reader} system calls" in README
    assert f"| {exporter}, with `accept4`" in README


def test_the_readme_names_every_layer_and_every_line_of_the_audit() -> None:
    assert all(f"`{layer}`" in README for layer in Layer)
    told = " ".join(re.findall(r"^\| (`[^|]+) \|", README, re.MULTILINE))
    for claim in CLAIMS:
        room, _, name = claim.partition(".")
        names = (claim, f"{room}.*", f"*.{name}", f"*.{name.partition('.')[0]}.*")
        assert any(f"`{each}`" in told for each in names), claim


def test_files_the_readme_names_are_there() -> None:
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`((?:tests|bench|config|systemd|requirements)/[\w./-]+)`", README):
        assert (ROOT / name).exists(), name


def test_requirement_files_are_hashed_and_name_no_index() -> None:
    for file in (ROOT / "requirements").glob("*.txt"):
        text = file.read_text()
        assert "://" not in text
        pinned = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
        assert len(pinned) == len(
            re.findall(r"^[\w.-]+==.*(?:\\\n    --hash=sha256:\w{64} ?)+", text, re.MULTILINE)
        )
