"""The page as an ASGI application. It runs beside the gateway, on a port of its own, and is off by default."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from cachecore_llm import ResponseCache
from cachecore_proxy.activity import Activity
from cachecore_proxy.admin.guard import Guard
from cachecore_proxy.admin.options import PageOptions
from cachecore_proxy.admin.pages import Pages

_STATIC: Final = Path(__file__).parent / "static"


def admin_app(cache: ResponseCache, activity: Activity, options: PageOptions) -> ASGIApp:
    """Return the page over `cache` and the record of the gateway. It belongs to the event loop of both.

    Its `lifespan` ends purges that go on; without one, the end of the loop does.
    """
    pages = Pages(cache, activity, options)
    inside = pages.inside

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await pages.purges.aclose()

    async def not_found(_: Request, __: Exception) -> Response:
        return pages.refuse(None, 404, "There is no such page.")

    async def broken(_: Request, __: Exception) -> Response:
        return pages.refuse(None, 500, "The page has failed; the log of the gateway says more. The gateway goes on.")

    app = Starlette(
        routes=[
            Route("/login", pages.login_form, methods=["GET"]),
            Route("/login", pages.login, methods=["POST"]),
            Route("/logout", inside(pages.logout), methods=["POST"]),
            Route("/", inside(pages.front), methods=["GET"]),
            Route("/live", inside(pages.live, live=True), methods=["GET"]),
            Route("/requests", inside(pages.requests), methods=["GET"]),
            Route("/misses", inside(pages.misses), methods=["GET"]),
            Route("/entries", inside(pages.entries), methods=["GET"]),
            Route("/entry", inside(pages.entry), methods=["GET", "POST"]),
            Route("/purge", inside(pages.ask_purge), methods=["GET"]),
            Route("/purge", inside(pages.purge), methods=["POST"]),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        exception_handlers={404: not_found, 405: not_found, 500: broken},
        lifespan=lifespan,
    )
    return Guard(app, options.hosts)
