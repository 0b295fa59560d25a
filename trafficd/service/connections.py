"""Connections that cost little: so many at a time, none that stays silent, no word of the library.

aiohttp would let a client that never asks hold a descriptor for ever, log the address of one that
sends garbage, and tell it which version it talks to.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Far more than scrape a node, far fewer than a process may have open (1,024 by default).
MOST_CONNECTIONS = 256
# A scraper sends its request with the connection.
_FIRST_REQUEST_SECONDS = 10.0
# Two scrapes a minute apart, as is usual, share a connection.
_IDLE_SECONDS = 150.0


class BoundedServer(web.Server):
    """Answers requests on connections that are few and not silent."""

    def __init__(self, answer: Answer) -> None:
        silent = logging.getLogger("trafficd.http.silent")
        silent.disabled = True
        super().__init__(
            self._heard,
            access_log=None,
            logger=silent,
            keepalive_timeout=_IDLE_SECONDS,
            # What is not asked for is not unpacked either.
            auto_decompress=False,
        )
        self._answer = answer
        self._silent: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of one more connection."""
        return _QuietHandler(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection, or end it at once where there are too many."""
        super().connection_made(handler, transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
            return
        self._silent[handler] = asyncio.get_running_loop().call_later(
            _FIRST_REQUEST_SECONDS, transport.abort
        )

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        """Forget a connection."""
        self._no_longer_silent(handler)
        super().connection_lost(handler, exc)

    async def _heard(self, request: web.BaseRequest) -> web.StreamResponse:
        self._no_longer_silent(request.protocol)
        return await self._answer(request)

    def _no_longer_silent(self, handler: web.RequestHandler) -> None:
        if timer := self._silent.pop(handler, None):
            timer.cancel()


class _QuietHandler(web.RequestHandler):
    """Answers what is no HTTP, or fails inside, with the status alone."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to a request that could not be answered.

        Raises: ConnectionError, which ends the connection, where an answer has begun, or whoever
        answers says that there will be none by raising it.
        """
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionError("no answer, or no more of it")
        response = web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n")
        response.headers["Server"] = "trafficd"
        response.force_close()
        return response
