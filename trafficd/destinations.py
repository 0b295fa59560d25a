"""Where releases are pushed to: the destinations of a configuration, and what each may say."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self
from urllib.parse import SplitResult, urlsplit

import msgspec

from trafficd.units import Duration, Word
from trafficd.wire.remote_write import HEADERS, Protocol

# As long as the reader keeps releases: what is older, no exporter is given.
LONGEST_AGE_SECONDS = 31 * 24 * 60 * 60
# Chosen: a node pushes up to 5 minutes after a grid point (exporter/moment.py), and may have to try
# again; an age below that would send nothing.
_SHORTEST_AGE_SECONDS = 10 * 60
# Chosen: a destination that answers slower than this is not well.
_LONGEST_TIMEOUT_SECONDS = 5 * 60
# Chosen: far more than a multi-tenant engine asks for.
_MOST_HEADERS = 16
_PORTS = {"http": 80, "https": 443}
# RFC 9110 section 5.6.2, token; a value is one line of what can be seen, and spaces inside.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_HEADER_VALUE = re.compile(r"[!-~]([ -~]{0,1022}[!-~])?")
# Said by us, by the credentials, or by the connection itself.
_OURS = frozenset(
    name.lower()
    for name in (
        *HEADERS[Protocol.V1], "Accept-Encoding", "Authorization", "Connection", "Content-Length",
        "Cookie", "Expect", "Host", "Keep-Alive", "Proxy-Authorization", "TE", "Trailer",
        "Transfer-Encoding", "Upgrade",
    )
)  # fmt: skip


class Url(str):
    """The address that messages are posted to."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* itself.

        Raises: ValueError with the mend if nothing can be posted there.
        """
        if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,2048}", value):
            raise ValueError("write a URL of plain ASCII, like https://HOST/api/v1/write")
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise ValueError("not a URL: its host or port cannot be") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("write http:// or https:// and a host")
        if port == 0 or "#" in value:
            raise ValueError("has a port or a fragment that nobody can be asked for")
        return cls(value)

    @property
    def host(self) -> str:
        """The host, without brackets."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._parts.port or _PORTS[self._parts.scheme]

    @property
    def has_user(self) -> bool:
        """Whether somebody wrote a user or a password into it."""
        return "@" in self._parts.netloc

    @property
    def is_tls(self) -> bool:
        """Whether it is https."""
        return self._parts.scheme == "https"

    @property
    def has_name(self) -> bool:
        """Whether the host is a name, which somebody has to be asked for."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return True
        return False

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self)


class AbsolutePath(str):
    """A file, by its whole path: the halves are started in different directories."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return *value* itself.

        Raises: ValueError if it does not begin at the root.
        """
        if not isinstance(value, str) or not re.fullmatch(r"/[^\0]*[^\0/]", value):
            raise ValueError("write the whole path of a file, like /etc/trafficd/push/token")
        return cls(value)

    @property
    def path(self) -> Path:
        """The path as a path."""
        return Path(self)


class Headers:
    """Further headers of each message, like the tenant of a multi-tenant engine."""

    def __init__(self, found: Mapping[str, str] | None = None) -> None:
        self.by_name = MappingProxyType(dict(found or {}))

    @classmethod
    def parse(cls, value: object) -> Self:
        """Return the headers in the mapping *value*.

        Raises: ValueError with the mend if one of them cannot be sent.
        """
        if not isinstance(value, dict) or len(value) > _MOST_HEADERS:
            raise ValueError(
                f"expected at most {_MOST_HEADERS} headers, like {{X-Scope-OrgID: vpn}}"
            )
        for name, text in value.items():
            if not isinstance(name, str) or not _TOKEN.fullmatch(name):
                raise ValueError(f"header {name}: not a name that a header can have")
            if name.lower() in _OURS:
                raise ValueError(f"header {name}: set by trafficd itself; take it out")
            if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
                raise ValueError(f"header {name}: expected one line of plain ASCII text, in quotes")
        if len({name.lower() for name in value}) < len(value):
            raise ValueError("a header stands here twice; keep one")
        return cls(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.by_name == other.by_name

    def __hash__(self) -> int:
        return hash(frozenset(self.by_name.items()))

    def __str__(self) -> str:
        return ", ".join(f"{name}: {text}" for name, text in sorted(self.by_name.items()))


class BasicAuth(msgspec.Struct, frozen=True):
    """A user and the file with its password (RFC 7617)."""

    username: str
    password_file: AbsolutePath

    def __post_init__(self) -> None:
        """Refuse a user that the scheme cannot name.

        Raises: ValueError with the mend.
        """
        if not re.fullmatch(r"[^:\x00-\x1f\x7f]{1,256}", self.username):
            raise ValueError(f"username: {self.username}: a user is one line without a colon")


class ClientCertificate(msgspec.Struct, frozen=True):
    """The certificate that a node shows, and its key."""

    cert_file: AbsolutePath
    key_file: AbsolutePath


class Destination(msgspec.Struct, frozen=True):
    """One receiver of remote write, and what it is shown."""

    name: Word
    url: Url
    protocol: Protocol = Protocol.V1
    bearer_token_file: AbsolutePath | None = None
    basic_auth: BasicAuth | None = None
    client_certificate: ClientCertificate | None = None
    ca_file: AbsolutePath | None = None
    headers: Headers = msgspec.field(default_factory=Headers)
    max_age: Duration = Duration(LONGEST_AGE_SECONDS)
    timeout: Duration = Duration(30)

    def __post_init__(self) -> None:
        """Check what the keys owe each other, and the lengths of time.

        Raises: ValueError with every mistake.
        """
        mistakes = []
        # Here, where what stands in the file is not repeated.
        if self.url.has_user:
            mistakes.append("url: holds a user or password, which a file should; use basic_auth")
        if self.bearer_token_file is not None and self.basic_auth is not None:
            mistakes.append("basic_auth: a message has one Authorization; keep this or the token")
        for key, value in (
            ("client_certificate", self.client_certificate), ("ca_file", self.ca_file)
        ):  # fmt: skip
            if value is not None and not self.url.is_tls:
                mistakes.append(f"{key}: is for https, and the url is http")
        for key, duration, least, most in (
            ("max_age", self.max_age, _SHORTEST_AGE_SECONDS, LONGEST_AGE_SECONDS),
            ("timeout", self.timeout, 1, _LONGEST_TIMEOUT_SECONDS),
        ):
            if not least <= duration <= most:
                shown = duration.written if duration else "0s"
                bounds = f"at least {Duration(least).written}, and at most {Duration(most).written}"
                mistakes.append(f"{key}: {shown}: {bounds}")
        if mistakes:
            raise ValueError(*mistakes)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it names."""
        named = (
            self.bearer_token_file,
            self.basic_auth and self.basic_auth.password_file,
            self.client_certificate and self.client_certificate.cert_file,
            self.client_certificate and self.client_certificate.key_file,
            self.ca_file,
        )
        return tuple(each.path for each in named if each)
