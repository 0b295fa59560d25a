"""Credentials in files: what is refused at a start, and what a rotation does."""

import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.exporter.receiver import (
    HOUR,
    MIDNIGHT,
    Heard,
    Pause,
    Says,
    destination,
    frame,
    pushing,
    receiving,
    send_all,
)
from tests.service.test_web_config import Authority
from trafficd.destinations import AbsolutePath, BasicAuth, ClientCertificate
from trafficd.errors import ConfigError
from trafficd.exporter.credentials import Credentials

HTTPS = "https://localhost:1/"


def named(file: Path) -> AbsolutePath:
    return AbsolutePath.parse(str(file))


async def test_a_rotated_token_is_sent_from_the_next_look_on(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    clock = Pause(MIDNIGHT + 20 * HOUR)
    async with (
        receiving() as receiver,
        pushing(destination(receiver.url, bearer_token_file=named(token)), clock=clock) as pusher,
    ):
        for number, text in enumerate(("first", "second", None, "broken\x00", "third"), start=1):
            if text is None:
                token.unlink()
            else:
                token.write_text(text)
            clock.advance(5)
            at = MIDNIGHT + number * HOUR
            pusher.keep(at, frame(at))
            await send_all(pusher)

    sent = [each.headers["Authorization"].split()[1] for each in receiver.heard]
    # While there is none, or none that could be, the one before is sent.
    assert sent == ["first", "second", "second", "second", "third"]


@pytest.mark.parametrize("status", [401, 403])
async def test_no_release_is_lost_to_a_rotation_while_a_backlog_is_sent(
    tmp_path: Path, status: int
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    valid = ["first"]

    def judge(heard: Heard) -> Says | None:
        if len(receiver.heard) == 3:
            # As who rotates does: the new one is in the file before the old one ends.
            token.write_text("second")
            valid[:] = ["second"]
        return None if heard.headers["Authorization"].split()[1] in valid else Says(status)

    hours = [MIDNIGHT + number * HOUR for number in range(1, 9)]
    async with (
        receiving() as receiver,
        pushing(destination(receiver.url, bearer_token_file=named(token))) as pusher,
    ):
        receiver.judge = judge
        for at in hours:
            pusher.keep(at, frame(at))
        await send_all(pusher)
        health = pusher.health(before=1 << 40)

    assert (health.sent, health.dropped) == (8, 0)
    assert [each.at for each in receiver.heard] == sorted([*hours, hours[2]])


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("later", ["first", "half of\x00"])
async def test_who_is_refused_with_the_newest_token_does_not_ask_again(
    tmp_path: Path, status: int, later: str
) -> None:
    (tmp_path / "token").write_text("first")

    def judge(_: Heard) -> None:
        (tmp_path / "token").write_text(later)

    async with (
        receiving(Says(status)) as receiver,
        pushing(destination(receiver.url, bearer_token_file=named(tmp_path / "token"))) as pusher,
    ):
        receiver.judge = judge
        for at in (MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR):
            pusher.keep(at, frame(at))
        await send_all(pusher)

    assert [each.at for each in receiver.heard] == [MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR]


def test_a_rotated_certificate_is_used_and_half_of_one_is_not(tmp_path: Path) -> None:
    Authority(tmp_path, "clients").issue("node", x509.DNSName("fra-17"))
    shown = ClientCertificate(named(tmp_path / "node.crt"), named(tmp_path / "node.key"))
    credentials = Credentials(
        destination(HTTPS, client_certificate=shown, ca_file=named(tmp_path / "clients.crt"))
    )
    first = credentials.tls

    credentials.look()
    unchanged = credentials.tls
    shutil.copy(tmp_path / "node.key", tmp_path / "old.key")
    Authority(tmp_path, "clients").issue("node", x509.DNSName("fra-17"))
    shutil.copy(tmp_path / "node.key", tmp_path / "new.key")
    shutil.copy(tmp_path / "old.key", tmp_path / "node.key")
    credentials.look()
    with_half = credentials.tls
    shutil.copy(tmp_path / "new.key", tmp_path / "node.key")
    credentials.look()

    assert unchanged is first
    assert with_half is first
    assert credentials.tls is not first


def test_a_rotated_certificate_goes_with_the_systems_authorities_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority(tmp_path, "system")
    Authority(tmp_path, "clients").issue("node", x509.DNSName("fra-17"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.crt"))
    shown = ClientCertificate(named(tmp_path / "node.crt"), named(tmp_path / "node.key"))
    credentials = Credentials(destination(HTTPS, client_certificate=shown))
    first = credentials.tls
    # As good as gone: a locked process may not look for it.
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "clients.crt"))
    Authority(tmp_path, "clients").issue("node", x509.DNSName("fra-17"))

    assert credentials.look()

    assert first is not None
    assert credentials.tls is not None
    assert credentials.tls is not first
    assert credentials.tls.get_ca_certs() == first.get_ca_certs()
    assert credentials.tls.verify_mode is first.verify_mode is ssl.CERT_REQUIRED
    assert credentials.tls.check_hostname


def test_a_token_is_rotated_whatever_the_system_trusts_and_a_certificate_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file of the system's that names a server and no authority.
    Authority(tmp_path, "clients").issue("node", x509.DNSName("fra-17"))
    Authority(tmp_path, "servers").issue("server", x509.DNSName("localhost"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.crt"))
    (tmp_path / "token").write_text("first")
    token = Credentials(destination(HTTPS, bearer_token_file=named(tmp_path / "token")))
    shown = ClientCertificate(named(tmp_path / "node.crt"), named(tmp_path / "node.key"))
    certificate = Credentials(destination(HTTPS, client_certificate=shown))
    contexts = token.tls, certificate.tls

    (tmp_path / "token").write_text("second")
    Authority(tmp_path, "clients").issue("node", x509.DNSName("fra-17"))

    assert token.look()
    assert token.authorization == {"Authorization": "Bearer second"}
    # Its authorities cannot be taken over, and without any nobody would be trusted.
    assert not certificate.look()
    assert (token.tls, certificate.tls) == contexts


def test_a_system_without_authorities_asks_for_a_file_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setattr("trafficd.exporter.credentials._AUTHORITIES", ())

    with pytest.raises(ConfigError) as refused:
        Credentials(destination(HTTPS))

    assert refused.value.mistakes == [
        "push: centre: ca_file: this system has no file of authorities; name one"
    ]


def test_files_that_a_locked_process_cannot_read_stay_as_they_were(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    credentials = Credentials(destination("http://h/", bearer_token_file=named(token)))
    token.rename(tmp_path / "hidden")

    credentials.locked()
    token.write_text("second")
    credentials.look()

    assert credentials.authorization == {"Authorization": "Bearer first"}


def test_directories_are_those_of_the_files_and_of_what_links_lead_to(tmp_path: Path) -> None:
    for name in ("real", "linked"):
        (tmp_path / name).mkdir()
    (tmp_path / "real" / "token").write_text("x")
    (tmp_path / "linked" / "token").symlink_to("../real/token")

    credentials = Credentials(
        destination("http://h/", bearer_token_file=named(tmp_path / "linked" / "token"))
    )

    assert credentials.directories == [tmp_path / "linked", tmp_path / "real"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "expected one token of plain ASCII"),
        (b"two words", "expected one token of plain ASCII"),
        (b"a\nb", "expected one token of plain ASCII"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_token_that_cannot_be_sent_is_refused_at_the_start(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)

    with pytest.raises(ConfigError) as refused:
        Credentials(destination("http://h/", bearer_token_file=named(token)))

    assert refused.value.mistakes[0] == f"push: centre: bearer_token_file: {token}: {told}"
    assert "two" not in str(refused.value)


def test_every_mistake_is_told_and_no_secret(tmp_path: Path) -> None:
    Authority(tmp_path, "one").issue("node", x509.DNSName("fra-17"))
    Authority(tmp_path, "two").issue("other", x509.DNSName("fra-18"))
    (tmp_path / "password").write_text("one\ntwo")
    (tmp_path / "no.pem").write_text("nothing")

    with pytest.raises(ConfigError) as refused:
        Credentials(
            destination(
                HTTPS,
                basic_auth=BasicAuth("node", named(tmp_path / "password")),
                client_certificate=ClientCertificate(
                    named(tmp_path / "node.crt"), named(tmp_path / "other.key")
                ),
                ca_file=named(tmp_path / "no.pem"),
            )
        )

    keys = [each.split(": ")[2] for each in refused.value.mistakes]
    assert sorted(keys) == ["basic_auth.password_file", "ca_file", "client_certificate"]
    assert "one\ntwo" not in str(refused.value)


def test_an_encrypted_key_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "clients")
    authority.issue("node", x509.DNSName("fra-17"))
    key = serialization.load_pem_private_key((tmp_path / "node.key").read_bytes(), None)
    (tmp_path / "node.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    shown = ClientCertificate(named(tmp_path / "node.crt"), named(tmp_path / "node.key"))

    with pytest.raises(ConfigError, match="encrypted, with nobody there to ask"):
        Credentials(
            destination(HTTPS, client_certificate=shown, ca_file=named(tmp_path / "clients.crt"))
        )
