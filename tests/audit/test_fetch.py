"""Where the page cannot be had, the reason is said; a running exporter answers in test_audit.py."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.audit.known import exporter, reader
from tests.service.test_web_config import REQUIRED, Authority
from trafficd.audit.facts import Process
from trafficd.audit.fetch import fetch_page
from trafficd.audit.finding import Unread
from trafficd.config import MetricsSettings
from trafficd.errors import TrafficdError

PLAIN = MetricsSettings()


def with_web_config(folder: Path, text: str) -> MetricsSettings:
    (folder / "web.yml").write_text(text)
    return msgspec.structs.replace(PLAIN, web_config=str(folder / "web.yml"))


def reason(settings: MetricsSettings, process: Process | None = None) -> str:
    found = fetch_page(process or exporter(), settings, credentials=None)
    assert isinstance(found, Unread)
    return found.reason


def test_client_certificates_are_left_to_who_has_one(tmp_path: Path) -> None:
    for name in ("server", "clients"):
        Authority(tmp_path, name)

    assert "client certificate" in reason(with_web_config(tmp_path, REQUIRED))


def test_a_web_config_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert "web.yml" in reason(with_web_config(tmp_path, "users: 7\n"))


def test_an_exporter_without_a_listener_is_not_asked() -> None:
    assert "no listener" in reason(PLAIN, reader())
    assert "no listener" in reason(PLAIN, replace(exporter(), descriptors=Unread("gone")))


def test_a_process_that_is_gone_has_no_network_to_be_in() -> None:
    assert reason(PLAIN, replace(exporter(), number=1 << 30))


@pytest.mark.parametrize("text", ["password\n", "a:b\nc:d\n"])
def test_credentials_that_are_none_are_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "login").write_text(text)

    with pytest.raises(TrafficdError, match="write one line, user:password"):
        fetch_page(exporter(), PLAIN, credentials=tmp_path / "login")
