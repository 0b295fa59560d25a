"""A Debian with Prometheus for the tests of a module here."""

from collections.abc import Iterator

import pytest

from tests.system.container import Container, debian_container
from tests.system.debian_packages import ROOT

FOLDER = "/etc/prometheus"


@pytest.fixture(scope="module")
def machine() -> Iterator[Container]:
    # The file system that tests/system/push has as well, so that it is made once.
    packages = ("prometheus", "victoria-metrics")
    with debian_container(packages=packages, requirements="collector.txt") as container:
        container.run("systemctl", "stop", "prometheus", "victoria-metrics")
        for file in (ROOT / "config" / "prometheus").iterdir():
            container.write(f"{FOLDER}/{file.name}", file.read_bytes())
        yield container
