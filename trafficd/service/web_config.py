"""The web-config file of Prometheus' exporters: TLS, client certificates, headers and users.

Source: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.
What cannot be kept here is refused, never read and dropped.
"""

import hashlib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from trafficd.errors import ConfigError
from trafficd.service.basic_auth import Credentials, Users
from trafficd.service.web_config_format import (
    CIPHERS,
    CLIENT_AUTH,
    CURVES,
    VERSIONS,
    Document,
    HttpServer,
    TlsServer,
    plain_address,
)
from trafficd.settings import read_settings

# What ssl.SSLObject.getpeercert calls the kinds of name that the format can allow.
_SAN_KINDS = ("DNS", "IP Address", "email", "URI")
# What OpenSSL says when the key is of another certificate; the second, of another kind of key.
_WRONG_KEY = ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED", "KEY_TYPE_MISMATCH")

# A digest of what a file holds; None where it cannot be read.
Identity: TypeAlias = bytes | None


def load_web_config(path: Path) -> "WebConfig":
    """Return the web-config file at *path* with everything it names, read and ready to serve.

    Raises: ConfigError with a line for every mistake.
    """
    # Before anything is read: what changes meanwhile differs from this, and so shows as stale.
    identities = fingerprint([path])
    document = read_settings(path, Document)
    tls = document.tls_server_config
    http = document.http_server_config or HttpServer()
    users = document.basic_auth_users or Users({})
    files = tls.files(path.parent) if tls else {}
    identities |= fingerprint(files.values())
    mistakes = list(users.mistakes())
    context = _context(tls, files, mistakes) if tls else None
    if mistakes:
        raise ConfigError([f"{path}: {mistake}" for mistake in mistakes])
    return WebConfig(
        ssl_context=context,
        headers=MappingProxyType(http.set_headers()),
        credentials=Credentials(users.hashes) if users.hashes else None,
        allowed_sans=tls.allowed_sans() if tls else None,
        fingerprint=MappingProxyType(identities),
    )


def fingerprint(paths: Iterable[Path]) -> dict[Path, Identity]:
    """Return what tells the files at *paths* from what stands there later.

    By what they hold: a locked exporter may open these files and ask for no other property of any.
    """
    return {path: _identity(path) for path in paths}


@dataclass(frozen=True, slots=True)
class WebConfig:
    """One reading of a web-config file and of the files it names."""

    ssl_context: ssl.SSLContext | None
    headers: Mapping[str, str]
    credentials: Credentials | None
    allowed_sans: frozenset[str] | None
    fingerprint: Mapping[Path, Identity]

    @classmethod
    def nothing(cls) -> "WebConfig":
        """Return what no file at all means: no TLS, and everybody may read."""
        return cls(None, MappingProxyType({}), None, None, MappingProxyType({}))

    def is_stale(self) -> bool:
        """Return whether any of the files is no longer the one that was read."""
        return fingerprint(self.fingerprint) != self.fingerprint

    def is_readable(self) -> bool:
        """Return whether every file that was read can be read again, as whom we are now."""
        return None not in fingerprint(self.fingerprint).values()

    def directories(self) -> list[Path]:
        """Return where the files stand, and where those stand that links among them lead to."""
        files = [*self.fingerprint, *(file.resolve() for file in self.fingerprint)]
        return sorted({file.absolute().parent for file in files})

    def peer_is_allowed(self, connection: ssl.SSLObject | ssl.SSLSocket | None) -> bool:
        """Return whether the client's certificate carries one of ``client_allowed_sans``, if any.

        Called after the handshake, which has verified the certificate itself.
        """
        if self.allowed_sans is None:
            return True
        return connection is not None and not self.allowed_sans.isdisjoint(_sans(connection))


def _identity(path: Path) -> Identity:
    try:
        return hashlib.blake2b(path.read_bytes()).digest()
    except OSError:
        return None


def _context(tls: TlsServer, files: Mapping[str, Path], mistakes: list[str]) -> ssl.SSLContext:
    """Return the context for *tls*; what stands in its way is added to *mistakes*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[tls.min_version]
    context.maximum_version = VERSIONS[tls.max_version]
    context.set_alpn_protocols(["http/1.1"])
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_mode = CLIENT_AUTH[tls.client_auth_type]
    # As Go does: whatever stands in client_ca_file is trusted, root or intermediate.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    problems = [*_choose(context, tls), *_load_files(context, files)]
    mistakes += [f"tls_server_config.{problem}" for problem in problems]
    return context


def _choose(context: ssl.SSLContext, tls: TlsServer) -> Iterator[str]:
    wanted = {CIPHERS[cipher]: cipher for cipher in tls.cipher_suites}
    if wanted:
        # It refuses when it has none of them, and says nothing when it has some.
        with suppress(ssl.SSLError):
            context.set_ciphers(":".join(wanted))
        for absent in sorted(wanted.keys() - {each["name"] for each in context.get_ciphers()}):
            yield f"cipher_suites: {wanted[absent]}: not in this OpenSSL; take it out"
    for curve in tls.curve_preferences:
        try:
            # Leaves no other group, in TLS 1.3 neither.
            context.set_ecdh_curve(CURVES[curve])
        except (ValueError, ssl.SSLError):
            yield f"curve_preferences: {curve}: not in this OpenSSL; take it out"


def _load_files(context: ssl.SSLContext, files: Mapping[str, Path]) -> Iterator[str]:
    # Certificates of our own are no authority over clients: they are tried in a store apart.
    stores = {"cert_file": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "client_ca_file": context}
    bad = set()
    for key, file in files.items():
        if problem := _file_problem(file, stores.get(key)):
            bad.add(key)
            yield f"{key}: {file}: {problem}"
    if bad & {"cert_file", "key_file"}:
        return
    try:
        # Without a password to ask for, OpenSSL would ask at the terminal.
        context.load_cert_chain(files["cert_file"], files["key_file"], password=_no_password)
    except _EncryptedKeyError:
        yield f"key_file: {files['key_file']}: encrypted, with nobody there to ask; decrypt it"
    except ssl.SSLError as error:
        if error.reason is None:
            yield f"key_file: {files['key_file']}: no private key in PEM form"
        elif error.reason in _WRONG_KEY:
            yield f"key_file: {files['key_file']}: not the key of the certificate in cert_file"
        else:
            said = error.reason.lower().replace("_", " ")
            yield f"cert_file: {files['cert_file']}: OpenSSL refuses it: {said}"
    except OSError as error:
        # Both could be opened a moment ago: they are being replaced, and will make a pair again.
        yield f"cert_file: {files['cert_file']}: gone while it was read: {error.strerror}"


def _file_problem(file: Path, store: ssl.SSLContext | None) -> str | None:
    try:
        file.open("rb").close()
        if store is not None:
            store.load_verify_locations(cafile=file)
            if store.cert_store_stats()["crl"]:
                return "holds a revocation list, which is not looked at; take it out"
    except ssl.SSLError:
        return "no certificate in PEM form"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None


class _EncryptedKeyError(Exception):
    """OpenSSL asked for the key's password."""


def _no_password() -> str:
    raise _EncryptedKeyError


def _sans(connection: ssl.SSLObject | ssl.SSLSocket) -> set[str]:
    names: Any = (connection.getpeercert() or {}).get("subjectAltName", ())
    return {plain_address(name) for kind, name in names if kind in _SAN_KINDS}
