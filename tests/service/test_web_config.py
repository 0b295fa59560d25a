import asyncio
import datetime
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from trafficd.errors import ConfigError
from trafficd.service.web_config import WebConfig, load_web_config

TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
MUTUAL = f"{TLS}  client_ca_file: clients.crt\n  client_auth_type:"
REQUIRED = f"{MUTUAL} RequireAndVerifyClientCert\n"
LOCALHOST = x509.DNSName("localhost")
AES, CHACHA = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"


class Authority:
    """A certificate authority that writes what it issues into one folder."""

    def __init__(self, folder: Path, name: str, issuer: "Authority | None" = None) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = (issuer or self)._sign(self.key, name, (), is_authority=True)
        self._write(name, self.certificate, self.key)

    def issue(self, name: str, *sans: x509.GeneralName) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, self._sign(key, name, sans), key)

    def _sign(
        self,
        key: ec.EllipticCurvePrivateKey,
        name: str,
        sans: tuple[x509.GeneralName, ...],
        *,
        is_authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self.folder / f"{name}.crt").write_bytes(pem)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self.folder / f"{name}.key").write_bytes(pem)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Hold a server's certificate by `servers`, and the authority `clients`."""
    Authority(tmp_path, "servers").issue("server", LOCALHOST)
    Authority(tmp_path, "clients").issue("client", x509.DNSName("scraper.example"))
    return tmp_path


def load(folder: Path, text: str) -> WebConfig:
    """Load *text* from among files of long ago: a change is never within the clock's tick."""
    (folder / "web.yml").write_text(text)
    for file in folder.rglob("*"):
        os.utime(file, (0, 0))
    return load_web_config(folder / "web.yml")


@dataclass(frozen=True)
class Answer:
    status: int
    cipher: str
    serial: object


@asynccontextmanager
async def serving(config: WebConfig) -> AsyncIterator[int]:
    """Serve *config* as the exporter does; gives the port."""

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        if not config.peer_is_allowed(request.transport.get_extra_info("ssl_object")):
            return web.Response(status=403)
        authorization = request.headers.get("Authorization")
        if config.credentials and not await config.credentials.allow(authorization):
            return web.Response(status=401)
        return web.Response(text="served", headers=config.headers)

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=config.ssl_context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def client(folder: Path, certificate: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "servers.crt")
    if certificate:
        context.load_cert_chain(folder / f"{certificate}.crt", folder / f"{certificate}.key")
    return context


async def ask(port: int, context: ssl.SSLContext) -> Answer | None:
    """Return what the server answers, or None when it ends the connection instead.

    In TLS 1.3 a client learns only from its first read that its certificate was refused.
    """
    async with asyncio.timeout(10):
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost"
            )
        except OSError:
            return None
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            text = await reader.read()
            tls = writer.get_extra_info("ssl_object")
            if not text:
                return None
            serial = tls.getpeercert()["serialNumber"]
            return Answer(int(text.split()[1]), tls.cipher()[0], serial)
        except OSError:
            return None
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


async def status(config: WebConfig, context: ssl.SSLContext) -> int | None:
    async with serving(config) as port:
        answer = await ask(port, context)
    return answer.status if answer else None


@pytest.mark.parametrize("text", ["", "# nothing\n", "tls_server_config:\nbasic_auth_users:\n"])
def test_an_empty_file_means_no_tls_no_users_and_no_headers(folder: Path, text: str) -> None:
    config = load(folder, text)

    assert (config.ssl_context, config.credentials, dict(config.headers)) == (None, None, {})
    assert config.peer_is_allowed(None)
    assert not config.is_stale()


async def test_curl_reads_over_tls_with_a_password_and_sees_the_headers(folder: Path) -> None:
    password = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4))
    config = load(
        folder,
        f"{TLS}http_server_config:\n  http2: false\n  headers:\n"
        f"    X-Frame-Options: deny\n    X-XSS-Protection: 0\n    Content-Security-Policy: ''\n"
        f"basic_auth_users:\n  prom: {password.decode()}\n",
    )
    said = []

    async with serving(config) as port:
        for login in ("prom:open sesame", "prom:wrong"):
            curl = await asyncio.create_subprocess_exec(
                *("curl", "--silent", "--include", "--cacert", str(folder / "servers.crt")),
                *("--user", login, "--resolve", f"localhost:{port}:127.0.0.1"),
                f"https://localhost:{port}/",
                stdout=asyncio.subprocess.PIPE,
            )
            said.append((await curl.communicate())[0].decode())

    assert said[0].startswith("HTTP/1.1 200 ")
    assert "\r\nX-Frame-Options: deny\r\nX-XSS-Protection: 0\r\n" in said[0]
    assert "Content-Security-Policy" not in said[0]
    assert said[0].endswith("served")
    assert said[1].startswith("HTTP/1.1 401 ")


async def test_a_required_client_certificate_is_required_and_verified(folder: Path) -> None:
    Authority(folder, "strangers").issue("stranger", x509.DNSName("scraper.example"))
    config = load(folder, REQUIRED)

    assert await status(config, client(folder, "client")) == 200
    assert await status(config, client(folder)) is None
    assert await status(config, client(folder, "stranger")) is None
    assert await status(config, client(folder, "server")) is None


async def test_an_optional_client_certificate_is_verified_if_given(folder: Path) -> None:
    config = load(folder, f"{MUTUAL} VerifyClientCertIfGiven\n")

    assert await status(config, client(folder, "client")) == 200
    assert await status(config, client(folder)) == 200
    assert await status(config, client(folder, "server")) is None


async def test_an_intermediate_authority_is_trusted_without_its_root(folder: Path) -> None:
    root = Authority(folder, "root")
    root.issue("sibling")
    Authority(folder, "clients", root).issue("client")
    config = load(folder, REQUIRED)

    assert await status(config, client(folder, "client")) == 200
    assert await status(config, client(folder, "sibling")) is None


@pytest.mark.parametrize(
    ("allowed", "san", "expected"),
    [
        ("scraper.example", x509.DNSName("scraper.example"), 200),
        ("scraper.example", x509.DNSName("sub.scraper.example"), 403),
        ("'*.example'", x509.DNSName("scraper.example"), 403),
        ("1.2.3.4", x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")), 403),
        ("ops@example.org", x509.RFC822Name("ops@example.org"), 200),
        ("spiffe://x/prom", x509.UniformResourceIdentifier("spiffe://x/prom"), 200),
        ("192.0.2.7", x509.IPAddress(ipaddress.ip_address("192.0.2.7")), 200),
        ("'2001:db8::7'", x509.IPAddress(ipaddress.ip_address("2001:db8::7")), 200),
        ("'2001:DB8:0::7'", x509.IPAddress(ipaddress.ip_address("2001:db8::7")), 200),
        ("'2001:db8::7'", x509.IPAddress(ipaddress.ip_address("2001:db8::8")), 403),
        ("client", None, 403),
    ],
)
async def test_only_allowed_names_of_a_verified_certificate_are_served(
    folder: Path, allowed: str, san: x509.GeneralName | None, expected: int
) -> None:
    Authority(folder, "clients").issue("client", *([san] if san else []))

    config = load(folder, f"{REQUIRED}  client_allowed_sans: [other.example, {allowed}]\n")

    assert await status(config, client(folder, "client")) == expected
    assert not config.peer_is_allowed(None)


async def test_the_versions_bound_the_handshake(folder: Path) -> None:
    at_most_12, at_least_13 = client(folder), client(folder)
    at_most_12.maximum_version = ssl.TLSVersion.TLSv1_2
    at_least_13.minimum_version = ssl.TLSVersion.TLSv1_3
    only_13 = load(folder, f"{TLS}  min_version: TLS13\n")
    only_12 = load(folder, f"{TLS}  max_version: TLS12\n")
    default = load(folder, TLS)

    servers = (only_13, only_12, default)
    assert [await status(server, at_most_12) for server in servers] == [None, 200, 200]
    assert [await status(server, at_least_13) for server in servers] == [200, None, 200]
    assert default.ssl_context is not None
    assert default.ssl_context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(("server_prefers", "expected"), [("true", CHACHA), ("false", AES)])
async def test_the_order_of_cipher_suites_counts_if_the_server_prefers(
    folder: Path, server_prefers: str, expected: str
) -> None:
    config = load(
        folder,
        f"{TLS}  prefer_server_cipher_suites: {server_prefers}\n"
        "  cipher_suites:\n    - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\n"
        "    - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n",
    )
    both, neither = client(folder), client(folder)
    both.maximum_version = neither.maximum_version = ssl.TLSVersion.TLSv1_2
    both.set_ciphers(f"{AES}:{CHACHA}")
    neither.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")

    async with serving(config) as port:
        answer = await ask(port, both)
        refusal = await ask(port, neither)

    assert answer is not None
    assert answer.cipher == expected
    assert refusal is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_chosen_curve_is_the_only_one(folder: Path, version: ssl.TLSVersion) -> None:
    config = load(folder, f"{TLS}  curve_preferences: [CurveP384]\n")
    every, other = client(folder), client(folder)
    every.minimum_version = other.minimum_version = version
    every.maximum_version = other.maximum_version = version
    other.set_ecdh_curve("prime256v1")

    assert await status(config, every) == 200
    assert await status(config, other) is None
    assert await status(load(folder, TLS), other) == 200


def rename_over(folder: Path) -> None:
    """Replace the certificate and the key as certbot and most package scripts do."""
    (folder / "fresh").mkdir()
    Authority(folder / "fresh", "servers").issue("server", LOCALHOST)
    for name in ("servers.crt", "server.key", "server.crt"):
        (folder / "fresh" / name).replace(folder / name)


def write_in_place(folder: Path) -> None:
    Authority(folder, "servers").issue("server", LOCALHOST)


def turn_link(folder: Path) -> None:
    """Replace the directory that the files lie in, as Kubernetes does for a mounted secret."""
    (folder / "fresh").mkdir()
    Authority(folder / "fresh", "servers").issue("server", LOCALHOST)
    (folder / "next").symlink_to("fresh")
    (folder / "next").replace(folder / "data")


@pytest.mark.parametrize("rotate", [rename_over, write_in_place, turn_link])
async def test_a_rotated_certificate_is_seen_and_served(
    folder: Path, rotate: Callable[[Path], None]
) -> None:
    (folder / "mounted").mkdir()
    (folder / "data").symlink_to("mounted")
    for name in ("servers.crt", "server.crt", "server.key"):
        (folder / name).rename(folder / "mounted" / name)
        (folder / name).symlink_to(f"data/{name}")
    before = load(folder, TLS)
    async with serving(before) as port:
        old = await ask(port, client(folder))
        is_stale_before = before.is_stale()

        rotate(folder)
        is_stale_after = before.is_stale()
    after = load_web_config(folder / "web.yml")
    async with serving(after) as port:
        new = await ask(port, client(folder))

    assert (is_stale_before, is_stale_after, after.is_stale()) == (False, True, False)
    assert old is not None
    assert new is not None
    assert (old.status, new.status) == (200, 200)
    assert old.serial != new.serial


@pytest.mark.parametrize("name", ["web.yml", "server.crt", "server.key", "clients.crt"])
def test_every_file_that_is_named_makes_the_reading_stale(folder: Path, name: str) -> None:
    config = load(folder, REQUIRED)

    (folder / name).rename(folder / "aside")

    assert {path.name for path in config.fingerprint} == {
        "web.yml",
        "server.crt",
        "server.key",
        "clients.crt",
    }
    assert config.is_stale()


def test_a_pair_that_is_half_rotated_is_refused_until_the_other_half_comes(folder: Path) -> None:
    config = load(folder, TLS)
    old_key = (folder / "server.key").read_bytes()
    write_in_place(folder)
    new_key = (folder / "server.key").read_bytes()

    (folder / "server.key").write_bytes(old_key)
    with pytest.raises(ConfigError, match="not the key of the certificate in cert_file"):
        load(folder, TLS)
    assert config.is_stale()
    (folder / "server.key").write_bytes(new_key)
    assert not load(folder, TLS).is_stale()
