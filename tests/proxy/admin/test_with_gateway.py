"""The page of a running gateway, on a port of its own: what programs did is there, and what is purged they ask anew."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.server import Running
from tests.proxy.admin.scene import TOKEN, Browser
from tests.proxy.admin.test_pages import rows, words
from tests.proxy.conftest import NO_END, Gateways, chat, text_of


@asynccontextmanager
async def logged_in(running: Running) -> AsyncIterator[Browser]:
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{running.admin_port}", timeout=NO_END) as client:
        assert (await client.post("/login", data={"secret": TOKEN})).status_code == 303
        yield Browser(client)


async def test_the_page_is_off_by_default_and_never_on_the_port_of_the_gateway(gateways: Gateways) -> None:
    assert (await gateways.start()).admin_port is None
    running = await gateways.start(admin={"port": 0, "token": TOKEN})
    client = await gateways.http(running)
    for path in ("/login", "/entries", "/purge"):
        assert "cachecore gateway" not in (await client.get(path)).text


async def test_requests_are_seen_and_a_purge_is_felt(gateways: Gateways, provider: LocalProvider) -> None:
    running = await gateways.start(admin={"port": 0, "token": TOKEN})
    client = await gateways.openai(running)
    for _ in range(3):
        await client.chat.completions.create(**chat("Hi"))
    await client.chat.completions.create(**chat("Hi", temperature=0.5))
    await text_of(await client.chat.completions.create(**chat("Hi", stream=True)))
    async with logged_in(running) as browser:
        text = await browser.get("/")
        seen = words(text)
        assert "From cache 60.0 % 3 of 5 in 5 min" in seen
        assert rows(text, "Requests by model</h2>")[0].startswith("m 5 60.0 %")
        assert rows(text, "Providers</h2>")[0].startswith("local openai answers 2 0")
        misses = rows(text, "Last misses")
        assert [re.sub(r"^\d+ s ago ", "", row).split(" m ")[0] for row in misses] == [
            "not stored temperature",
            "not stored –",
        ]
        assert len(rows(await browser.get("/entries", model="m"), "</form>\n")) == 2
        assert "Purged every answer of the model m." in html.unescape(await browser.purge("model", "m"))
        assert "0 entries." in words(await browser.get("/entries"))
    calls = provider.calls
    await client.chat.completions.create(**chat("Hi"))
    assert provider.calls == calls + 1


@pytest.mark.parametrize("path", ["/", "/entries", "/static/page.css"])
async def test_another_site_cannot_reach_it_through_a_browser(gateways: Gateways, path: str) -> None:
    running = await gateways.start(admin={"port": 0, "token": TOKEN})
    async with logged_in(running) as browser:
        response = await browser.client.get(path, headers={"host": f"rebound.example:{running.admin_port}"})
        assert response.status_code == 421
