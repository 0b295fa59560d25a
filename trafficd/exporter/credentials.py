"""What a destination is shown: an Authorization, a certificate, and whom we believe it to be.

Files are read before the exporter is locked and again when they change. What cannot be read then
stays as it was: while a file is replaced there may be none for a moment, and what is wrong for
longer the destination refuses.
"""

import base64
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from trafficd.destinations import Destination
from trafficd.errors import ConfigError
from trafficd.service.web_config import fingerprint

# Where the authorities of the system stand in one file, as Debian, Fedora, Alpine and SUSE have it.
_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)
_LONGEST_SECRET_BYTES = 64 << 10


class Credentials:
    """The credentials of one destination, as its files were when they were last good."""

    def __init__(self, destination: Destination) -> None:
        """Read them.

        Raises: ConfigError with a line for what is wrong with them.
        """
        self._destination = destination
        self._files = destination.files
        self._read = fingerprint(self._files)
        self._is_fixed = not self._files
        self.authorization, self.tls = _load(destination, None)

    @property
    def directories(self) -> list[Path]:
        """Where the files stand, and where those stand that links among them lead to."""
        files = [*self._files, *(file.resolve() for file in self._files)]
        return sorted({file.parent for file in files})

    def locked(self) -> None:
        """Look whether the files can be read from now on; if not, they are not looked at again."""
        self._is_fixed = None in fingerprint(self._files).values()

    def look(self) -> bool:
        """Read the files again if one of them is another; return whether they were taken up."""
        if self._is_fixed:
            return False
        found = fingerprint(self._files)
        if found == self._read:
            return False
        try:
            self.authorization, self.tls = _load(self._destination, self.tls)
        except ConfigError:
            return False
        # As of before they were read: what changes meanwhile is seen at the next look.
        self._read = found
        return True


def _load(
    destination: Destination, before: ssl.SSLContext | None
) -> tuple[Mapping[str, str], ssl.SSLContext | None]:
    reading = _Reading(destination)
    loaded = reading.authorization(), reading.tls(before)
    if reading.mistakes:
        raise ConfigError(reading.mistakes)
    return loaded


class _Reading:
    """One reading of a destination's files; collects mistakes."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self.mistakes: list[str] = []

    def authorization(self) -> Mapping[str, str]:
        """Return the header that shows who we are, if there is one."""
        if token_file := self._destination.bearer_token_file:
            token = self._secret("bearer_token_file", token_file.path).strip()
            if not re.fullmatch(r"[!-~]+", token):
                self._mistake("bearer_token_file", token_file, "expected one token of plain ASCII")
            return {"Authorization": f"Bearer {token}"}
        if login := self._destination.basic_auth:
            file = login.password_file
            password = self._secret("basic_auth.password_file", file.path).rstrip("\r\n")
            if not password or re.search(r"[\x00-\x1f\x7f]", password):
                self._mistake("basic_auth.password_file", file, "expected one line, the password")
            pair = base64.b64encode(f"{login.username}:{password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def tls(self, before: ssl.SSLContext | None) -> ssl.SSLContext | None:
        """Return the context for https; it verifies the destination, always.

        *before* is the one until now, if there was one.
        """
        if not self._destination.url.is_tls:
            return None
        shown = self._destination.client_certificate
        if before is not None and not (shown or self._destination.ca_file):
            return before
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._trust(context, before)
        if shown:
            try:
                context.load_cert_chain(shown.cert_file, shown.key_file, password=_no_password)
            except (ssl.SSLError, OSError, ValueError) as error:
                self._mistake("client_certificate", shown.cert_file, _reason(error))
        return context

    def _trust(self, context: ssl.SSLContext, before: ssl.SSLContext | None) -> None:
        named = self._destination.ca_file
        if named is None and before is not None:
            # The system's file is none of ours: once locked, this process cannot even look for it.
            try:
                known = before.get_ca_certs(binary_form=True)
                context.load_verify_locations(cadata=b"".join(known))
            except (ssl.SSLError, ValueError) as error:
                self._mistake("ca_file", "", _reason(error))
            return
        # By name, and all at once: OpenSSL's own search reads directories while it connects.
        places = (ssl.get_default_verify_paths().cafile, *_AUTHORITIES)
        file = named or next((each for each in places if each and Path(each).is_file()), None)
        if file is None:
            self._mistake("ca_file", "", "this system has no file of authorities; name one")
            return
        try:
            context.load_verify_locations(cafile=file)
        except (ssl.SSLError, OSError) as error:
            self._mistake("ca_file", file, _reason(error))

    def _secret(self, key: str, file: Path) -> str:
        try:
            with file.open("rb") as opened:
                return opened.read(_LONGEST_SECRET_BYTES).decode()
        except OSError as error:
            self._mistake(key, file, _reason(error))
        except UnicodeDecodeError:
            self._mistake(key, file, "not UTF-8")
        return "unread"

    def _mistake(self, key: str, file: object, problem: str) -> None:
        where = f"{file}: " if file else ""
        self.mistakes.append(f"push: {self._destination.name}: {key}: {where}{problem}")


class _EncryptedKeyError(ValueError):
    """OpenSSL asked for the key's password."""


def _no_password() -> str:
    raise _EncryptedKeyError


def _reason(error: Exception) -> str:
    if isinstance(error, _EncryptedKeyError):
        return "its key is encrypted, with nobody there to ask; decrypt it"
    if isinstance(error, ssl.SSLError):
        said = (error.reason or "").lower().replace("_", " ")
        return (
            f"OpenSSL refuses it: {said}" if said else "nothing in PEM form that is expected here"
        )
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return str(error)
