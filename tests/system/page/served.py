"""The page behind HTTP on loopback, as the collector serves it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from trafficd.collector.site import Planner, Site


@asynccontextmanager
async def served(planner: Planner) -> AsyncIterator[str]:
    """Yield the address of a site that shows what *planner* says."""
    site = Site(planner)

    async def answer(request: web.Request) -> web.Response:
        made = await site.answer(
            request.method, request.path, list(request.query.items()), request.headers
        )
        return web.Response(
            status=made.status,
            body=made.body,
            headers={"Content-Type": made.content_type, **made.headers},
        )

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        listener = web.TCPSite(runner, "127.0.0.1", 0)
        await listener.start()
        _, port = runner.addresses[0][:2]
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()
