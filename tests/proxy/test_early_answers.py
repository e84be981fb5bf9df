"""A caller has its answer before the store has it; what comes behind changes nothing for the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest

from cachecore.testing.proxy import Proxy
from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.server import Running
from tests.proxy.conftest import NO_END, PATIENT, Gateways, chat, until

LARGE = "[[words 20000]]"
"""The answer is over 64 KiB: the flow itself would wait until the store has acknowledged it."""


@pytest.fixture
def network(redis_url: str) -> Iterator[Proxy]:
    with Proxy(urlsplit(redis_url).port or 0) as proxy:
        yield proxy


async def ask(http: httpx2.AsyncClient, text: str) -> httpx2.Response:
    return await http.post("/v1/chat/completions", json=chat(text))


async def given_while_the_store_is_silent(
    network: Proxy, provider: LocalProvider, http: httpx2.AsyncClient, text: str
) -> httpx2.Response:
    """Return the answer to a miss whose claim is in the store, which says nothing from then on."""
    provider.hold()
    asked = asyncio.ensure_future(ask(http, text))
    await provider.until(lambda: provider.held == 1)
    network.blackhole()
    provider.release()
    return await asyncio.wait_for(asked, PATIENT["backend_timeout"] / 2)


async def started(gateways: Gateways, network: Proxy, **options: float) -> tuple[Running, httpx2.AsyncClient]:
    """Start a gateway that reaches its store over `network`; the key of its client is known to be good."""
    running = await gateways.start(store=network.url, store_options={**PATIENT, **options})
    http = await gateways.http(running)
    assert "fwd=miss" in (await ask(http, "warm")).headers["cache-status"]
    return running, http


async def under_way(running: Running, number: int) -> None:
    """Return when `number` requests are under way. A request whose answer is still being stored is one of them."""
    await until(lambda: running.gateway.activity.under_way == number)


async def test_answer_does_not_wait_for_the_store(gateways: Gateways, provider: LocalProvider, network: Proxy) -> None:
    """And a repeat that comes before it is stored gets the same answer: the provider is asked once.

    The store may carry out the repeat's read before the first answer's write, or after it: both orders are right.
    """
    running, http = await started(gateways, network)
    first = await given_while_the_store_is_silent(network, provider, http, LARGE)
    assert first.status_code == 200
    assert "fwd=miss; stored; key=" in first.headers["cache-status"]
    assert running.gateway.activity.under_way == 1
    again = asyncio.ensure_future(ask(http, LARGE))
    await under_way(running, 2)
    network.heal()
    second = await again
    assert second.headers["cache-status"].startswith(("cachecore; hit;", "cachecore; fwd=miss; collapsed;"))
    assert second.headers["cache-status"].endswith(first.headers["cache-status"].partition("key=")[2])
    assert second.json() == first.json()
    assert provider.calls == 2


@pytest.mark.usefixtures("default_deadlines")
async def test_store_that_fails_behind_an_answer_changes_nothing(
    gateways: Gateways, provider: LocalProvider, network: Proxy
) -> None:
    """No second answer, no broken connection, one count."""
    running, http = await started(gateways, network, backend_timeout=0.3)
    assert (await given_while_the_store_is_silent(network, provider, http, LARGE)).status_code == 200
    await under_way(running, 0)
    network.heal()
    assert (await ask(http, "next")).status_code == 200
    outcomes = [row.outcomes for row in running.gateway.activity.rows.values()]
    assert outcomes == [{"miss": 3}]


async def test_misses_and_hits_take_turns_on_one_connection(
    gateways: Gateways, provider: LocalProvider, redis_url: str
) -> None:
    """The next request comes while the answer before it is still being stored."""
    running = await gateways.start(store=redis_url)
    client = httpx2.AsyncClient(
        base_url=running.url,
        headers={"authorization": "Bearer k-1"},
        limits=httpx2.Limits(max_connections=1),
        timeout=NO_END,
    )
    async with client as http:
        await ask(http, "warm")
        for number in range(20):
            said = [(await ask(http, f"{number}")).headers["cache-status"] for _ in range(2)]
            assert "fwd=miss; stored; key=" in said[0]
            assert said[1].startswith("cachecore; hit")
    assert provider.calls == 21
    outcomes = [row.outcomes for row in running.gateway.activity.rows.values()]
    assert outcomes == [{"miss": 21, "hit": 20}]
