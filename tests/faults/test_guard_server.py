"""A guarded server that is frozen or killed: deadlines hold, the breaker opens, and closes when the server is back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cachecore.contract.errors import BackendError, BackendTimeout
from cachecore.testing import servers
from tests.conftest import SERVERS
from tests.faults.guarded_redis import guarded
from tests.unit.store.guarded import until


@pytest.fixture(params=sorted(SERVERS, reverse=True))
def own_server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server of this test's own, to be treated badly."""
    with servers.Server(SERVERS[request.param]) as server:
        yield server


async def test_frozen_server(own_server: servers.Server) -> None:
    """The first calls end at their deadline, later ones are refused; the thawed server is used again."""
    async with guarded(own_server.url) as made:
        with own_server.paused():
            errors = [await made.ask([f"k{i}"]) for i in range(3)]
            assert all(isinstance(error, BackendTimeout) for error in errors)
            await made.opened()
            made.store.calls.clear()
            refused = [await made.ask([f"k{i % 50}"]) for i in range(1000)]
            assert all(isinstance(error, BackendError) and error.reason == "breaker_open" for error in refused)
            assert len(made.store.calls) <= 10
        await made.well()
        assert await made.insist(["k7"]) == [b"7"]
        await until(lambda: made.guard.under_way == 0)


async def test_server_frozen_under_load(own_server: servers.Server) -> None:
    """Hundreds of callers, frozen and thawed again and again: every answer is right or an error, all calls end."""
    async with guarded(own_server.url) as made:
        answered = refused = 0
        going = True

        async def call(i: int) -> None:
            nonlocal answered, refused
            while going:
                answer = await made.ask([f"k{i % 50}"])
                if isinstance(answer, BackendError):
                    refused += 1
                    await asyncio.sleep(0.001)
                else:
                    assert answer == [b"%d" % (i % 50)]
                    answered += 1

        callers = [asyncio.ensure_future(call(i)) for i in range(100)]
        for _ in range(3):
            own_server.pause()
            await until(lambda: made.state != "closed")
            own_server.resume()
            await until(lambda: made.state == "closed", seconds=30)
            target = answered + 100
            await until(lambda target=target: answered >= target)  # type: ignore[misc]  # bound now, not later
        going = False
        await asyncio.gather(*callers)
        assert refused > 0
        await until(lambda: made.guard.under_way == 0)


async def test_killed_server_comes_back(own_server: servers.Server) -> None:
    async with guarded(own_server.url) as made:
        own_server.kill()
        await made.opened()
        own_server.start()
        await made.well()
        assert await made.insist(["k7"]) == [None]
        await made.until_done(lambda: made.guard.set_many({"k7": b"7"}, ttl=None))
        assert await made.insist(["k7"]) == [b"7"]


async def test_closing_while_the_server_is_frozen(own_server: servers.Server) -> None:
    """Leaving `guarded` checks that no task is left."""
    async with guarded(own_server.url) as made:
        own_server.pause()
        calls = [asyncio.ensure_future(made.ask([f"k{i}"])) for i in range(50)]
        await asyncio.sleep(0)
    assert all(isinstance(error, BackendError) for error in await asyncio.gather(*calls))
