"""What a PromQL engine is shown by who asks it: a user, a token, a tenant, and whom we trust."""

import base64
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trafficd.errors import HistoryError


@dataclass(frozen=True, slots=True)
class Access:
    """What an engine is shown; *user_file* holds ``user:password``."""

    user_file: Path | None = None
    bearer_token_file: Path | None = None
    ca_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def authorization(access: Access) -> dict[str, str]:
    """Return the header that shows who asks, if there is one.

    Raises: HistoryError if a file cannot be read, or has something else in it.
    """
    if access.user_file is not None and access.bearer_token_file is not None:
        raise HistoryError("a user and a token: a request has one Authorization; keep one of them")
    if access.user_file is not None:
        login = _secret(access.user_file)
        if ":" not in login:
            raise HistoryError(f"{access.user_file}: write one line, user:password")
        return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    if access.bearer_token_file is not None:
        token = _secret(access.bearer_token_file)
        if not re.fullmatch(r"[!-~]+", token):
            raise HistoryError(f"{access.bearer_token_file}: expected one token of plain ASCII")
        return {"Authorization": f"Bearer {token}"}
    return {}


def tls(access: Access) -> ssl.SSLContext | bool:
    """Return how an engine is verified: by the authorities of a file, or True, by the machine's.

    Raises: HistoryError if the file cannot be used.
    """
    if access.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(access.ca_file))
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or "no certificates in it"
        raise HistoryError(f"{access.ca_file}: cannot be used: {reason}") from error


def _secret(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise HistoryError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise HistoryError(f"{file}: not UTF-8 at byte {error.start}") from error
    if not text or re.search(r"[\x00-\x1f\x7f]", text):
        raise HistoryError(f"{file}: expected one line")
    return text
