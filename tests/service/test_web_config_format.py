import datetime
import textwrap
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from trafficd.errors import ConfigError
from trafficd.service import web_config_format
from trafficd.service.web_config import load_web_config

VERIFY = "client_auth_type: RequireAndVerifyClientCert"
IF_GIVEN = "client_auth_type: VerifyClientCertIfGiven"
CIPHER_SUITES = (  # https://pkg.go.dev/crypto/tls#CipherSuites without those of TLS 1.3
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"
)
NOW = datetime.datetime.now(datetime.UTC)
NAME = x509.Name([])
# 64 characters that must show up in no message.
SECRET = "correct-horse-battery-staple-" + "x" * 35

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def write_key(file: Path, key: Key, password: bytes = b"") -> None:
    lock = serialization.BestAvailableEncryption(password) if password else None
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            lock or serialization.NoEncryption(),
        )
    )


def write_certificate(file: Path, key: Key) -> None:
    builder = x509.CertificateBuilder(NAME, NAME, key.public_key(), 1, NOW, NOW)
    file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def write_revocation_list(file: Path, key: Key) -> None:
    builder = x509.CertificateRevocationListBuilder(NAME, NOW, NOW)
    file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    strong, weak = (rsa.generate_private_key(65537, bits) for bits in (2048, 1024))
    write_certificate(tmp_path / "server.crt", key)
    write_key(tmp_path / "server.key", key)
    write_key(tmp_path / "other.key", other)
    write_key(tmp_path / "rsa.key", strong)
    write_key(tmp_path / "locked.key", key, b"password")
    write_certificate(tmp_path / "weak.crt", weak)
    write_key(tmp_path / "weak.key", weak)
    write_revocation_list(tmp_path / "revoked.crl", key)
    (tmp_path / "sub").mkdir()
    (tmp_path / "broken.crt").write_bytes((tmp_path / "server.crt").read_bytes()[:200])
    return tmp_path


def mistakes(folder: Path, text: str) -> list[str]:
    (folder / "web.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_web_config(folder / "web.yml")
    assert SECRET not in str(caught.value)
    return [each.replace(f"{folder}/", "") for each in caught.value.mistakes]


def test_what_cannot_be_kept_is_refused_at_its_line_and_all_at_once(folder: Path) -> None:
    text = """\
        tls_server_config:
          cert: inline
          client_auth_type: RequestClientCert
          min_version: TLS10
          max_version: SSL3
          cipher_suites: [TLS_RSA_WITH_RC4_128_SHA, TLS_AES_128_GCM_SHA256]
          curve_preferences: [X25519MLKEM768]
        http_server_config:
          http2: true
          headers:
            Server: none
            X-Frame-Options: ALLOW
            X-Content-Type-Options: sniff
            X-XSS-Protection: "0\\r\\nSet-Cookie: a=b"
            Content-Security-Policy: [none]
        rate_limit: {interval: 1s}
        """

    assert mistakes(folder, textwrap.dedent(text)) == [
        "web.yml:2: tls_server_config.cert: unknown key; did you mean cert_file?",
        (
            "web.yml:3: tls_server_config.client_auth_type: RequestClientCert: "
            "cannot take what it does not verify; say VerifyClientCertIfGiven"
        ),
        (
            "web.yml:4: tls_server_config.min_version: TLS10: "
            "forbidden by RFC 8996 and refused by OpenSSL; say TLS12 or TLS13"
        ),
        "web.yml:5: tls_server_config.max_version: SSL3: unknown; known here: TLS12, TLS13",
        (
            "web.yml:6: tls_server_config.cipher_suites[0]: TLS_RSA_WITH_RC4_128_SHA: "
            f"unknown; known here: {CIPHER_SUITES}"
        ),
        (
            "web.yml:6: tls_server_config.cipher_suites[1]: TLS_AES_128_GCM_SHA256: "
            "a suite of TLS 1.3, where all are on and none can be chosen; take it out"
        ),
        (
            "web.yml:7: tls_server_config.curve_preferences[0]: X25519MLKEM768: "
            "unknown; known here: CurveP256, CurveP384, CurveP521, X25519"
        ),
        (
            "web.yml:9: http_server_config.http2: true: "
            "this server speaks HTTP/1.1; say false or leave the key out"
        ),
        (
            "web.yml:11: http_server_config.headers.Server: unknown key; known here: "
            "Content-Security-Policy, Strict-Transport-Security, X-Content-Type-Options, "
            "X-Frame-Options, X-XSS-Protection"
        ),
        (
            "web.yml:12: http_server_config.headers.X-Frame-Options: ALLOW: "
            "unknown; known here: deny, sameorigin"
        ),
        (
            "web.yml:13: http_server_config.headers.X-Content-Type-Options: sniff: "
            "unknown; known here: nosniff"
        ),
        (
            "web.yml:14: http_server_config.headers.X-XSS-Protection: 0\r\nSet-Cookie: a=b: "
            "expected one line of plain ASCII text"
        ),
        (
            "web.yml:15: http_server_config.headers.Content-Security-Policy: this: "
            "expected one line of plain ASCII text"
        ),
        (
            "web.yml:16: rate_limit: unknown key; "
            "known here: basic_auth_users, http_server_config, tls_server_config"
        ),
    ]


@pytest.mark.parametrize("word", ["RequireAnyClientCert", "RequireClientCert"])
def test_any_certificate_at_all_is_no_mode_of_this_server(folder: Path, word: str) -> None:
    text = f"tls_server_config:\n  client_auth_type: {word}\n"

    assert mistakes(folder, text) == [
        (
            f"web.yml:2: tls_server_config.client_auth_type: {word}: "
            "cannot take what it does not verify; say RequireAndVerifyClientCert"
        )
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("client_ca_file: a.crt", f"client_ca_file: needs {VERIFY}"),
        (VERIFY, f"{VERIFY}: needs client_ca_file"),
        ("client_allowed_sans: [a]", f"client_allowed_sans: needs {VERIFY}"),
        (
            f"client_ca_file: a.crt, {VERIFY}, client_allowed_sans: []",
            "client_allowed_sans: names nobody, so every client would be refused",
        ),
        (
            f"{IF_GIVEN}, client_ca_file: a.crt, client_allowed_sans: [a]",
            f"client_allowed_sans: needs {VERIFY}",
        ),
        ("min_version: TLS13, max_version: TLS12", "max_version: TLS12: below min_version TLS13"),
        (
            "min_version: TLS13, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]",
            "cipher_suites: for TLS 1.2 alone, which min_version: TLS13 leaves out",
        ),
        (
            "curve_preferences: [X25519, CurveP256]",
            "curve_preferences: one curve at most; an order of several cannot be set",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused(folder: Path, keys: str, said: str) -> None:
    text = f"tls_server_config: {{cert_file: server.crt, key_file: server.key, {keys}}}"

    assert mistakes(folder, text) == [f"web.yml:1: tls_server_config.{said}"]


def test_a_tls_section_without_a_certificate_never_means_plain_http(folder: Path) -> None:
    assert mistakes(folder, "tls_server_config: {min_version: TLS13}") == [
        "web.yml:1: tls_server_config: needs cert_file, key_file"
    ]


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        (
            "server.crt",
            "other.key",
            "key_file: other.key: not the key of the certificate in cert_file",
        ),
        ("server.crt", "rsa.key", "key_file: rsa.key: not the key of the certificate in cert_file"),
        ("server.crt", "server.crt", "key_file: server.crt: no private key in PEM form"),
        (
            "server.crt",
            "locked.key",
            "key_file: locked.key: encrypted, with nobody there to ask; decrypt it",
        ),
        ("server.crt", "absent", "key_file: absent: cannot be read: No such file or directory"),
        ("server.key", "server.key", "cert_file: server.key: no certificate in PEM form"),
        ("broken.crt", "server.key", "cert_file: broken.crt: no certificate in PEM form"),
        ("sub", "server.key", "cert_file: sub: cannot be read: Is a directory"),
        ("weak.crt", "weak.key", "cert_file: weak.crt: OpenSSL refuses it: ee key too small"),
    ],
)
def test_a_pair_that_cannot_be_used_says_why(
    folder: Path, certificate: str, key: str, said: str
) -> None:
    text = f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}"

    assert mistakes(folder, text) == [f"web.yml: tls_server_config.{said}"]


def test_every_unusable_file_and_user_is_named_at_once(folder: Path) -> None:
    text = f"""\
        tls_server_config:
          cert_file: absent.crt
          key_file: absent.key
          client_ca_file: revoked.crl
          {VERIFY}
        basic_auth_users:
          plain: {SECRET}
          short: $2y$10$abc
          broken: $2x$10${"a" * 53}
          salt: $2y$10${"." * 21}/{"." * 31}
          cheap: $2y$03${"." * 53}
          dear: $2y$20${"." * 53}
          list: [{SECRET}]
          7: $2y$10${"." * 53}
          "a:b": $2y$10${"." * 53}
        """
    not_bcrypt = 'not a bcrypt hash; htpasswd -nBC 10 "" makes one'

    assert mistakes(folder, textwrap.dedent(text)) == [
        f"web.yml: {each}"
        for each in (
            f"basic_auth_users.plain: {not_bcrypt}",
            f"basic_auth_users.short: {not_bcrypt}",
            f"basic_auth_users.broken: {not_bcrypt}",
            f"basic_auth_users.salt: {not_bcrypt}",
            "basic_auth_users.cheap: bcrypt cost 3: from 4 to 16",
            "basic_auth_users.dear: bcrypt cost 20: from 4 to 16",
            f"basic_auth_users.list: {not_bcrypt}",
            "basic_auth_users.7: a user is text; put it in quotes",
            "basic_auth_users.a:b: a user has no colon (RFC 7617 section 2)",
            "tls_server_config.cert_file: absent.crt: cannot be read: No such file or directory",
            "tls_server_config.key_file: absent.key: cannot be read: No such file or directory",
            (
                "tls_server_config.client_ca_file: revoked.crl: "
                "holds a revocation list, which is not looked at; take it out"
            ),
        )
    ]


@pytest.mark.parametrize("users", [SECRET, f"[{SECRET}]", f"prom:{SECRET}"])
def test_users_that_are_no_mapping_are_refused_unseen(folder: Path, users: str) -> None:
    assert mistakes(folder, f"basic_auth_users: {users}") == [
        "web.yml: basic_auth_users: expected users and bcrypt hashes, like `user: $2y$10$...`"
    ]


@pytest.mark.parametrize(
    "key", [f"|\n    -----BEGIN KEY-----\n    {SECRET}", f"-----BEGIN KEY----- {SECRET}", '"a\\0"']
)
def test_a_private_key_where_its_file_belongs_is_refused_unseen(folder: Path, key: str) -> None:
    assert mistakes(
        folder, f"tls_server_config:\n  cert_file: server.crt\n  key_file: {key}\n"
    ) == ["web.yml:3: tls_server_config.key_file: takes the name of a file, not what stands in one"]


def test_a_cipher_or_curve_that_openssl_lacks_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
    monkeypatch.setitem(web_config_format.CIPHERS, suites[0], "NOT-BUILT")
    monkeypatch.setitem(web_config_format.CURVES, "X25519", "not-built")
    pair = "cert_file: server.crt, key_file: server.key"
    missing = (
        f"web.yml: tls_server_config.cipher_suites: {suites[0]}: not in this OpenSSL; take it out"
    )

    for chosen in ([suites[0]], suites):
        text = f"tls_server_config: {{{pair}, cipher_suites: [{', '.join(chosen)}]}}"
        assert mistakes(folder, text) == [missing]
    assert mistakes(folder, f"tls_server_config: {{{pair}, curve_preferences: [X25519]}}") == [
        "web.yml: tls_server_config.curve_preferences: X25519: not in this OpenSSL; take it out"
    ]
