"""Requests that hit again in the same bytes take bounded memory, and mean no more than the cache says each time."""

from __future__ import annotations

import pytest

from cachecore_llm.testing.provider import LocalProvider
from tests.proxy.conftest import Gateways, chat


async def test_memory_is_bounded(gateways: Gateways, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those remembered first are forgotten first; one that is too large is not kept; the answers are the same."""
    monkeypatch.setattr("cachecore_proxy.remembered._MOST_BYTES", 40_000)
    running = await gateways.start()
    http = await gateways.http(running)
    known = running.gateway._known
    for n in range(40):
        bodies = [(await http.post("/v1/chat/completions", json=chat(f"{n}"))).content for _ in range(4)]
        assert len(set(bodies)) <= 2  # the provider's own spelling, and the cache's
        assert known._bytes <= 40_000
    assert 1 <= len(known._known) < 40
    assert known._bytes == sum(one.size for one in known._known.values())


async def test_one_request_of_two_callers_is_two(gateways: Gateways, provider: LocalProvider) -> None:
    """The same bytes with another key, on another path, or with another query are another request."""
    running = await gateways.start()
    first, second = await gateways.http(running, "k-1"), await gateways.http(running, "k-2")
    ids = set()
    for http in (first, second):
        for query in ("", "?api-version=2"):
            for _ in range(4):
                ids.add((await http.post(f"/v1/chat/completions{query}", json=chat())).json()["id"])
    assert len(ids) == provider.calls == 4
    assert len(running.gateway._known._known) == 4
