"""A cache, the record of a gateway and the page over both; requests through the cache, recorded as the gateway does."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import uvicorn

from cachecore.contract import SystemClock
from cachecore.testing.clocks import FakeClock
from cachecore_llm import CacheConfig, Ledger, Prices, Rates, ResponseCache
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import Call
from cachecore_proxy.activity import Activity
from cachecore_proxy.admin import PageOptions, admin_app
from tests.llm.flow.scripted import completion

TOKEN = "a-token-of-the-tests-alone"
HOST = "http://localhost:9000"


class Scene:
    """One gateway's cache and record, both on `clock` unless they run in real time."""

    def __init__(
        self, store: Any = "memory://", options: PageOptions | None = None, *, real_time: bool = False
    ) -> None:
        self.clock = FakeClock()
        clock = SystemClock() if real_time else self.clock
        prices = Prices({"m-2026": Rates(input=2.0, output=10.0), "m": Rates(input=2.0, output=10.0)})
        config = CacheConfig(ttl_seconds=3600, stale_if_error=86_400)
        self.cache = ResponseCache(
            store, config, ledger=Ledger(prices), clock=None if real_time else self.clock, jitter=0
        )
        self.activity = Activity(clock=clock.monotonic, wall=clock.time)
        self.options = options or PageOptions(token=TOKEN)
        self.app = admin_app(self.cache, self.activity, self.options)

    async def ask(
        self,
        text: str = "Where?",
        *,
        model: str = "m",
        tenant: str | None = None,
        prompt: str | None = None,
        system: str = "Be brief.",
        answer: str = "Paris.",
        seconds: float = 0.8,
    ) -> str:
        """Ask as a client of the gateway does; return how it was answered."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        body = {"model": model, "messages": messages}
        call = Call(protocol="openai.chat", endpoint="https://p/v1", body=body, tenant=tenant, prompt=prompt)

        async def send(_: Call) -> Sent:
            self.activity.called("primary", seconds)
            return Sent(body=completion(answer), provider="primary", fallback=False, latency=seconds)

        self.activity.began()
        found = await self.cache.flow.answer(call, send)
        name = {"model": model, "tenant": tenant, "prompt": prompt}
        if found.status == "miss":
            request = self.cache.flow.ask(call).request
            self.activity.missed(found.reason or "", key=found.key, request=request, **name)
        self.activity.ended(found.status, seconds if found.status == "miss" else 0.0004, **name)
        return found.status

    def client(self, address: str = "127.0.0.1", **options: Any) -> httpx2.AsyncClient:
        """Return a browser at `address` that has not logged in."""
        transport = httpx2.ASGITransport(app=self.app, client=(address, 40_000))
        return httpx2.AsyncClient(transport=transport, base_url=HOST, **options)

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[Browser]:
        """Yield a browser that has logged in."""
        async with self.client() as client:
            response = await client.post("/login", data={"secret": TOKEN})
            assert response.status_code == 303, response.text
            yield Browser(client)


class Browser:
    """A client that sends the forms of the page."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, query: Mapping[str, str] | None = None, *, status: int = 200, **more: str) -> str:
        """Return the text of a page; `query` and `more` are the fields of the link."""
        params = {**(query or {}), **more}
        response = await self.client.get(path, params=params or None)
        assert response.status_code == status, response.text
        return response.text

    async def csrf(self) -> str:
        """Return the secret in the forms of this session."""
        found = re.search(r'name="csrf" value="([\w-]+)"', await self.get("/purge"))
        assert found is not None
        return found[1]

    async def send(self, path: str, **form: str) -> httpx2.Response:
        """Send a form with the secret of this session."""
        return await self.client.post(path, data={"csrf": await self.csrf(), **form})

    async def purge(self, kind: str, name: str) -> str:
        """Purge, and return what the page says of it."""
        response = await self.send("/purge", kind=kind, name=name)
        assert response.status_code == 303, response.text
        found = re.search(r'<div id="news"[^>]*>(.*?)</div>', await self.get("/purge"), re.DOTALL)
        assert found is not None
        return found[1]


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """Serve `app` on a free port of this machine; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
        task = asyncio.ensure_future(server.serve(sockets=[listening]))
        try:
            while not server.started:
                assert not task.done()
                await asyncio.sleep(0.01)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            await task
