"""POST /api/v1/write, GET /metrics and /healthz, and the planning page at everything else.

Usual pushes never come here (``connection``); what does is answered by aiohttp. Nothing of a
request is kept or logged: no access log, no error with a client's address in it.
"""

import asyncio
import socket
import ssl
import zlib
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from http import HTTPStatus

from aiohttp import web

from trafficd.clock import Clock
from trafficd.collector.answers import Answer, Result, refused
from trafficd.collector.connection import REQUEST_SECONDS, Door, dns_names
from trafficd.collector.metrics import CONTENT_TYPE, MetricsPage
from trafficd.collector.plain_request import WRITE_PATH
from trafficd.collector.reception import (
    MOST_BODY_BYTES,
    Admitted,
    Headers,
    Reception,
    answers_too_large,
)
from trafficd.collector.site import Site
from trafficd.service.connections import BoundedServer
from trafficd.service.negotiation import accepts_gzip
from trafficd.service.web_config import WebConfig

_METRICS_PATH, _HEALTH_PATH = "/metrics", "/healthz"
# Thousands of nodes come in the minutes after a grid point.
BACKLOG = 1024
_HANDSHAKE_SECONDS = 10.0
# A record of TLS (RFC 8446, 5.1). The loop makes a buffer for each connection before anything is
# said, of 256 KiB if one leaves it at that, and 3,400 silent strangers would take a GiB.
_TLS_BUFFER_BYTES = 16 << 10
# Connections that are open at the end get this long to finish their answer.
_SHUTDOWN_SECONDS = 1.0
# A page of 10,000 nodes is 20 MB, held until its scraper has read it.
_SCRAPES_AT_A_TIME = 4
_SCRAPE_SECONDS = 60.0
# Text of this kind is a tenth after the fastest compression, and not much less after the slowest.
_GZIP_LEVEL, _GZIP_FORMAT = 1, 31
_SWEEP_SECONDS = 5.0
_READ_METHODS = ("GET", "HEAD")

Health = Callable[[], bool]


class CollectorServer:
    """Listens, and has every request answered by who knows."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        reception: Reception,
        page: MetricsPage,
        site: Site,
        is_well: Health,
        clock: Clock,
        *,
        most_connections: int,
    ) -> None:
        self._listeners = listeners
        self._reception = reception
        self._page = page
        self._site = site
        self._is_well = is_well
        self._clock = clock
        self._most_connections = most_connections
        self._web = WebConfig.nothing()
        self._servers: list[asyncio.Server] = []
        self._others: BoundedServer | None = None
        self._door: Door | None = None
        self._scrapes = 0

    async def start(self, web_config: WebConfig) -> None:
        """Serve on every listener; called again, with another *web_config*, it serves as that says.

        The listeners stay open in between, so that a connection that comes meanwhile waits.
        """
        await self._stop()
        self._web = web_config
        self._others = BoundedServer(self._answer)
        self._door = Door(
            self._reception,
            web_config,
            self._others,
            self._clock,
            most_connections=self._most_connections,
        )
        context = web_config.ssl_context
        SSLProtocol.max_size = _TLS_BUFFER_BYTES
        for listener in self._listeners:
            server = await asyncio.get_running_loop().create_server(
                self._door,
                sock=listener.dup(),
                backlog=BACKLOG,
                ssl=context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if context else None,
            )
            self._servers.append(server)

    async def sweep(self) -> None:
        """End silent connections, for ever."""
        while True:
            if self._door is not None:
                self._door.sweep()
            await asyncio.sleep(_SWEEP_SECONDS)

    async def close(self) -> None:
        """Stop serving."""
        await self._stop()
        for listener in self._listeners:
            listener.close()

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()
        if self._door is not None:
            self._door.close()
        if self._others is not None:
            await self._others.shutdown(_SHUTDOWN_SECONDS)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._web.peer_is_allowed(_tls(request)) and request.path != _HEALTH_PATH:
            return self._plain(HTTPStatus.FORBIDDEN)
        if request.path == WRITE_PATH:
            if request.method != "POST":
                return self._plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "POST"})
            return self._pushed(await self._push(request))
        is_plan = request.path not in (_METRICS_PATH, _HEALTH_PATH)
        if request.method not in _READ_METHODS and not is_plan:
            return self._plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": ", ".join(_READ_METHODS)})
        if request.path == _HEALTH_PATH:
            is_well = self._is_well()
            return self._plain(HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE)
        credentials = self._web.credentials
        if credentials and not await credentials.allow(request.headers.get("Authorization")):
            challenge = {"WWW-Authenticate": 'Basic realm="trafficd", charset="UTF-8"'}
            return self._plain(HTTPStatus.UNAUTHORIZED, challenge)
        return await (self._planned(request) if is_plan else self._scraped(request))

    # ---- pushes that are written unusually ----

    async def _push(self, request: web.BaseRequest) -> Answer:
        headers = Headers(
            _header(request, "Authorization"),
            _header(request, "Content-Type"),
            _header(request, "Content-Encoding"),
        )
        tls = _tls(request)
        found = self._reception.admit(headers, dns_names(tls) if tls else ())
        if isinstance(found, Answer):
            return self._counted(found)
        if not {"Content-Length", "Transfer-Encoding"} & request.headers.keys():
            return self._counted(
                refused(
                    Result.MALFORMED,
                    HTTPStatus.LENGTH_REQUIRED,
                    "say how long the body is, by Content-Length",
                    found.protocol,
                )
            )
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            body = await _body(request)
        except TimeoutError as error:
            # As plain pushes end: what has an answer of 4xx is dropped by its sender.
            raise ConnectionError("the body does not come") from error
        if body is None:
            reason = f"body: at most {MOST_BODY_BYTES} bytes"
            return self._counted(answers_too_large(reason, found.protocol))
        return await self._taken(found, body)

    async def _taken(self, admitted: Admitted, body: bytes) -> Answer:
        heard: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def reply(answer: Answer) -> None:
            # Whoever asked may be gone by now.
            if not heard.done():
                heard.set_result(answer)

        self._reception.take(admitted, body, reply)
        return await heard

    def _counted(self, answer: Answer) -> Answer:
        self._reception.finish(answer, lambda _: None)
        return answer

    def _pushed(self, answer: Answer) -> web.Response:
        return web.Response(
            status=answer.status,
            text=f"{answer.text}\n" if answer.text else None,
            headers={**self._own_headers(), **answer.headers},
        )

    # ---- pages ----

    async def _scraped(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._scrapes >= _SCRAPES_AT_A_TIME:
            return self._plain(HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "1"})
        headers = {
            **self._own_headers(),
            "Content-Type": CONTENT_TYPE,
            "Vary": "Accept-Encoding",
        }
        is_zipped = accepts_gzip(request.headers.get("Accept-Encoding"))
        if is_zipped:
            headers["Content-Encoding"] = "gzip"
        response = web.StreamResponse(headers=headers)
        if request.method == "HEAD":
            return response
        self._scrapes += 1
        try:
            async with asyncio.timeout(_SCRAPE_SECONDS):
                await response.prepare(request)
                chunks = self._page.chunks()
                async for chunk in _zipped(chunks) if is_zipped else chunks:
                    await response.write(chunk)
                await response.write_eof()
        finally:
            self._scrapes -= 1
        return response

    async def _planned(self, request: web.BaseRequest) -> web.Response:
        query = [(name, value) for name, value in request.query.items()]
        found = await self._site.answer(request.method, request.path, query, request.headers)
        return web.Response(
            status=found.status,
            # HEAD says the length of what it leaves out; aiohttp sees to that.
            body=found.body,
            headers={**self._own_headers(), "Content-Type": found.content_type, **found.headers},
        )

    def _plain(self, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> web.Response:
        return web.Response(
            status=status,
            text=f"{status.phrase}\n",
            headers={**self._own_headers(), **(headers or {})},
        )

    def _own_headers(self) -> dict[str, str]:
        # Which library answers, in which version, is nobody's business.
        return {"Server": "trafficd", **self._web.headers}


async def _body(request: web.BaseRequest) -> bytes | None:
    """Return the body, or None if it is longer than is taken."""
    body = bytearray()
    async with asyncio.timeout(REQUEST_SECONDS):
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > MOST_BODY_BYTES:
                return None
    return bytes(body)


async def _zipped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    async for chunk in chunks:
        # Without the interpreter's lock, so that messages are taken meanwhile.
        packed = await asyncio.to_thread(packer.compress, chunk)
        if packed:
            yield packed
    yield packer.flush()


def _header(request: web.BaseRequest, name: str) -> str | None:
    """Return the header; one that stands twice as the list that it is (RFC 9110, 5.3)."""
    found = request.headers.getall(name, [])
    return ", ".join(found) if found else None


def _tls(request: web.BaseRequest) -> ssl.SSLObject | None:
    transport = request.transport
    return None if transport is None else transport.get_extra_info("ssl_object")
