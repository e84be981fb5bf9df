"""The lengths of many values, and what waits for them."""

from __future__ import annotations

import asyncio

from cachecore.testing.servers import Server
from tests.redis.opening import opened


async def test_a_read_waits_for_a_thousand_lengths_at_most(any_server: Server) -> None:
    """The lengths of a large `set_many` are many commands on the connection for small ones."""
    async with opened(any_server.url) as backend:
        await backend.set_many({"k0": b"v", "k2500": b"longer"}, ttl=60)
        asking = asyncio.ensure_future(backend.sizes([f"k{i}" for i in range(2501)]))
        await asyncio.sleep(0)
        assert await backend.get_many(["k0"]) == [b"v"]
        assert not asking.done()
        assert await asking == [1, *[0] * 2499, 6]
