"""Fetches the page from the exporter itself, at an address that the kernel says it listens on."""

import base64
import http.client
import socket
import ssl
from pathlib import Path

from trafficd.audit.facts import Process, Socket
from trafficd.audit.finding import Unread
from trafficd.config import MetricsSettings
from trafficd.errors import ConfigError, TrafficdError
from trafficd.sandbox.inspect import inside_network_of
from trafficd.service.web_config import WebConfig, load_web_config

_SECONDS = 10.0
# A page of 32 classes has some 15 KiB.
_MOST_BYTES = 1 << 20
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # looked up, not bound


def fetch_page(
    exporter: Process, settings: MetricsSettings, *, credentials: Path | None
) -> str | Unread:
    """Return the page as a scrape would get it.

    Raises: TrafficdError if the file *credentials* cannot be read.
    """
    login = None if credentials is None else _login(credentials)
    listener = _listener(exporter)
    if listener is None:
        return Unread("the exporter has no listener that could be asked")
    try:
        web = WebConfig.nothing()
        if settings.web_config is not None:
            web = load_web_config(Path(settings.web_config))
    except ConfigError as error:
        return Unread(str(error).splitlines()[0])
    if web.ssl_context is not None and web.ssl_context.verify_mode is ssl.CERT_REQUIRED:
        return Unread("it asks for a client certificate: fetch the page with yours, and compare")
    if web.credentials is not None and login is None:
        return Unread("it asks for a user: --credentials FILE holds user:password")
    try:
        with inside_network_of(exporter.number):
            return _get(listener, settings.path, login, is_tls=web.ssl_context is not None)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else ""
        return Unread(reason or type(error).__name__)


def _login(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TrafficdError(f"{file}: cannot be read: {reason}") from error
    if ":" not in text or "\n" in text:
        raise TrafficdError(f"{file}: write one line, user:password")
    return base64.b64encode(text.encode()).decode()


def _listener(exporter: Process) -> Socket | None:
    if isinstance(exporter.descriptors, Unread):
        return None
    for each in exporter.descriptors:
        if isinstance(each.socket, Socket) and each.socket.is_listening and each.socket.port:
            return each.socket
    return None


def _get(listener: Socket, path: str, login: str | None, *, is_tls: bool) -> str | Unread:
    host = _EVERYWHERE.get(listener.address, listener.address)
    with socket.create_connection((host, listener.port), timeout=_SECONDS) as plain:
        connection = http.client.HTTPConnection(host, listener.port, timeout=_SECONDS)
        connection.sock = _wrapped(plain) if is_tls else plain
        headers = {"Authorization": f"Basic {login}"} if login else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    if answer.status != http.HTTPStatus.OK:
        return Unread(f"it answers {answer.status}")
    return body.decode()


def _wrapped(plain: socket.socket) -> ssl.SSLSocket:
    # Its address is local, and its owner is known from the kernel: no name is left to prove.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain)
