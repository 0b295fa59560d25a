"""GET /metrics and /healthz: pages rendered before anybody asks.

Nothing of a request is kept or logged: no access log, no error with a client's address in it.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp import web

from trafficd.exporter.metrics import OPEN_METRICS, TEXT, Page, render
from trafficd.exporter.push import PushHealth
from trafficd.releases import Release
from trafficd.service import listeners as service_listeners
from trafficd.service.connections import Answer, BoundedServer
from trafficd.service.negotiation import accepts_gzip, preferred
from trafficd.service.web_config import WebConfig
from trafficd.units import ListenAddress

_HEALTH_PATH = "/healthz"
# Connections that are open at the end get this long to finish their answer.
_SHUTDOWN_SECONDS = 1.0
_BACKLOG = 128
_OFFERED = (TEXT, OPEN_METRICS)


def open_listeners(addresses: Sequence[ListenAddress]) -> list[socket.socket]:
    """Return a listening socket for each of *addresses*.

    Raises: TrafficdError with the address that cannot be had.
    """
    return service_listeners.open_listeners(addresses, key="metrics: listen", backlog=_BACKLOG)


class MetricsServer:
    """Answers scrapes with the page of the newest release."""

    def __init__(self, listeners: Sequence[socket.socket], path: str) -> None:
        self._listeners = listeners
        self._path = path
        self._pages: dict[str, Page] = {}
        self._web = WebConfig.nothing()
        self._runner = _runner(self._answer)

    async def start(self, web_config: WebConfig) -> None:
        """Serve on every listener; called again, with another *web_config*, it serves as that says.

        The listeners stay open in between, so that a connection that comes meanwhile waits.
        """
        await self._runner.cleanup()
        self._web = web_config
        self._runner = _runner(self._answer)
        await self._runner.setup()
        for listener in self._listeners:
            await web.SockSite(
                self._runner, listener.dup(), ssl_context=web_config.ssl_context
            ).start()

    async def close(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()
        for listener in self._listeners:
            listener.close()

    def show(self, release: Release, pushes: Sequence[PushHealth] = ()) -> None:
        """Answer with the page of *release* from now on, and how pushing went until then."""
        self._pages = render(release, pushes)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._respond(request)
        # Which library answers, in which version, is nobody's business.
        response.headers["Server"] = "trafficd"
        response.headers.update(self._web.headers)
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        if request.path == _HEALTH_PATH:
            return _plain(HTTPStatus.OK if self._pages else HTTPStatus.SERVICE_UNAVAILABLE)
        if not self._web.peer_is_allowed(_tls(request)):
            return _plain(HTTPStatus.FORBIDDEN)
        credentials = self._web.credentials
        if credentials and not await credentials.allow(request.headers.get("Authorization")):
            challenge = {"WWW-Authenticate": 'Basic realm="trafficd", charset="UTF-8"'}
            return _plain(HTTPStatus.UNAUTHORIZED, challenge)
        if request.path != self._path:
            return _plain(HTTPStatus.NOT_FOUND)
        if not self._pages:
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE)
        return self._page(request.headers)

    def _page(self, asked: Mapping[str, str]) -> web.Response:
        page = self._pages[preferred(asked.get("Accept"), _OFFERED)]
        headers = {"Content-Type": page.content_type, "Vary": "Accept, Accept-Encoding"}
        if accepts_gzip(asked.get("Accept-Encoding")):
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=page.gzipped, headers=headers)
        return web.Response(body=page.body, headers=headers)


def _runner(answer: Answer) -> web.ServerRunner:
    return web.ServerRunner(
        BoundedServer(answer), shutdown_timeout=_SHUTDOWN_SECONDS, handle_signals=False
    )


def _tls(request: web.BaseRequest) -> ssl.SSLObject | None:
    transport = request.transport
    return None if transport is None else transport.get_extra_info("ssl_object")


def _plain(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, text=f"{status.phrase}\n", headers=headers)
