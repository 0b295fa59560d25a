"""The keys and words of a web-config file: what each may say, and why the rest is refused."""

import ipaddress
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Self

import msgspec

from trafficd.service.basic_auth import Users

# https://pkg.go.dev/crypto/tls#CipherSuites to the names of openssl-ciphers(1), TLS 1.2 only.
CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
CURVES = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}
VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


class _Word(str):
    """One of the format's own words."""

    __slots__ = ()
    known: ClassVar[Iterable[str]]
    refused: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, str) and value in cls.known:
            return cls(value)
        known = ", ".join(cls.known)
        raise ValueError(cls.refused.get(str(value), f"unknown; known here: {known}"))


class _Cipher(_Word):
    known = CIPHERS
    refused: ClassVar = dict.fromkeys(
        ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"),
        "a suite of TLS 1.3, where all are on and none can be chosen; take it out",
    )


class _Curve(_Word):
    known = CURVES


class _Version(_Word):
    known = VERSIONS
    refused: ClassVar = dict.fromkeys(
        ("TLS10", "TLS11"), "forbidden by RFC 8996 and refused by OpenSSL; say TLS12 or TLS13"
    )


class _ClientAuth(_Word):
    # OpenSSL ends the handshake over a certificate it cannot verify: "any certificate" is no mode
    # of Python's ssl, which has no callback to say otherwise.
    known = CLIENT_AUTH
    refused: ClassVar = {
        "RequestClientCert": "cannot take what it does not verify; say VerifyClientCertIfGiven",
        "RequireAnyClientCert": (
            "cannot take what it does not verify; say RequireAndVerifyClientCert"
        ),
        "RequireClientCert": "cannot take what it does not verify; say RequireAndVerifyClientCert",
    }


class _FrameOptions(_Word):
    known = ("deny", "sameorigin")


class _ContentTypeOptions(_Word):
    known = ("nosniff",)


class _HeaderValue(str):
    """A header's value; blank leaves the header out."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        # `X-XSS-Protection: 0` is a number to YAML, and text to the toolkit.
        text = str(value) if type(value) is int else value
        if not isinstance(text, str) or not text.isascii() or not (text + " ").isprintable():
            raise ValueError("expected one line of plain ASCII text")
        return cls(text)


class _Http1:
    """The value of ``http2``, which can only be false."""

    @classmethod
    def parse(cls, value: object) -> Self:
        if value is not False:
            raise ValueError("this server speaks HTTP/1.1; say false or leave the key out")
        return cls()


class TlsServer(msgspec.Struct, frozen=True):
    """The section ``tls_server_config``; TLS is on where it stands."""

    cert_file: str
    key_file: str
    client_auth_type: _ClientAuth = _ClientAuth("NoClientCert")
    client_ca_file: str | None = None
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: _Version = _Version("TLS12")
    max_version: _Version = _Version("TLS13")
    cipher_suites: tuple[_Cipher, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[_Curve, ...] = ()

    def __post_init__(self) -> None:
        if found := list(self._contradictions()):
            raise ValueError(*found)

    def _contradictions(self) -> Iterator[str]:
        for key, file in self.files(Path()).items():
            # Never shown: it may be the private key itself.
            if not str(file).isprintable() or "-----BEGIN" in str(file):
                yield f"{key}: takes the name of a file, not what stands in one"
        verifying = "client_auth_type: RequireAndVerifyClientCert"
        if self.client_auth_type == "NoClientCert" and self.client_ca_file is not None:
            yield f"client_ca_file: needs {verifying}"
        if self.client_auth_type != "NoClientCert" and self.client_ca_file is None:
            yield f"client_auth_type: {self.client_auth_type}: needs client_ca_file"
        if self.client_allowed_sans is not None:
            if self.client_auth_type != "RequireAndVerifyClientCert":
                yield f"client_allowed_sans: needs {verifying}"
            if not self.client_allowed_sans:
                yield "client_allowed_sans: names nobody, so every client would be refused"
        if VERSIONS[self.max_version] < VERSIONS[self.min_version]:
            yield f"max_version: {self.max_version}: below min_version {self.min_version}"
        if self.cipher_suites and self.min_version == "TLS13":
            yield "cipher_suites: for TLS 1.2 alone, which min_version: TLS13 leaves out"
        if len(self.curve_preferences) > 1:
            yield "curve_preferences: one curve at most; an order of several cannot be set"

    def files(self, folder: Path) -> dict[str, Path]:
        """Return the files that the section names, by key; a relative one lies in *folder*."""
        named = {
            "cert_file": self.cert_file,
            "key_file": self.key_file,
            "client_ca_file": self.client_ca_file,
        }
        return {key: folder / name for key, name in named.items() if name is not None}

    def allowed_sans(self) -> frozenset[str] | None:
        """Return the names of which a client's certificate needs one, or None for no such rule."""
        if self.client_allowed_sans is None:
            return None
        return frozenset(map(plain_address, self.client_allowed_sans))


class _Headers(
    msgspec.Struct,
    frozen=True,
    rename={
        "content_security_policy": "Content-Security-Policy",
        "x_frame_options": "X-Frame-Options",
        "x_content_type_options": "X-Content-Type-Options",
        "x_xss_protection": "X-XSS-Protection",
        "strict_transport_security": "Strict-Transport-Security",
    },
):
    content_security_policy: _HeaderValue | None = None
    x_frame_options: _FrameOptions | None = None
    x_content_type_options: _ContentTypeOptions | None = None
    x_xss_protection: _HeaderValue | None = None
    strict_transport_security: _HeaderValue | None = None


class HttpServer(msgspec.Struct, frozen=True):
    """The section ``http_server_config``."""

    http2: _Http1 | None = None
    headers: _Headers | None = None

    def set_headers(self) -> dict[str, str]:
        """Return the headers that every answer carries."""
        headers = self.headers or _Headers()
        pairs = (
            (field.encode_name, getattr(headers, field.name))
            for field in msgspec.structs.fields(_Headers)
        )
        return {name: str(value) for name, value in pairs if value}


class Document(msgspec.Struct, frozen=True):
    """A whole web-config file."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer | None = None
    basic_auth_users: Users | None = None


def plain_address(name: str) -> str:
    """Return an address in its one short form, and any other name as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
