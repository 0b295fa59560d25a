"""What Debian's promtool says of config/prometheus."""

import pytest

from tests.system.container import Container
from tests.system.prometheus.conftest import FOLDER


def test_the_configuration_is_valid_with_the_rules_that_it_names(machine: Container) -> None:
    said = machine.run("promtool", "check", "config", f"{FOLDER}/scrape.yml").stdout

    assert said.count("SUCCESS") == 5


@pytest.mark.parametrize("name", ["rules.yml", "commits.yml", "alerts.yml", "tests-commits.yml"])
def test_rules_are_valid_and_none_is_there_twice(machine: Container, name: str) -> None:
    machine.run("promtool", "check", "rules", "--lint=all", "--lint-fatal", f"{FOLDER}/{name}")


@pytest.mark.parametrize("name", ["tests.yml", "tests-days.yml"])
def test_rules_record_and_alerts_fire_as_they_should(machine: Container, name: str) -> None:
    machine.run("promtool", "test", "rules", f"{FOLDER}/{name}")
