"""The feed: what it tells, in which order, and that it says so when it cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract import Alive, Changed, FeedEvent, Flushed
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from cachecore_redis.node.feed import _MAX_KEYS, _roots
from cachecore_redis.wire.commands import pack
from tests.redis.versions import needs
from tests.redis.waiting import until


class Listener:
    """Collects what a feed says."""

    def __init__(self, backend: RedisBackend, prefix: str) -> None:
        self.events: list[FeedEvent] = []
        self._stream = backend.feed(prefix)
        self._task = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        async for event in self._stream:
            self.events.append(event)

    def kinds(self) -> list[str]:
        """The kinds of events, heartbeats in a row as one."""
        kinds: list[str] = []
        for event in self.events:
            kind = type(event).__name__
            if not (kind == "Alive" and kinds and kinds[-1] == "Alive"):
                kinds.append(kind)
        return kinds

    def changed(self) -> list[str]:
        return [key for event in self.events if isinstance(event, Changed) for key in event.keys]

    async def alive(self) -> float:
        """Wait until the feed can be trusted for everything up to now."""
        now = time.monotonic()
        return await until(lambda: any(isinstance(event, Alive) and event.sent_at >= now for event in self.events))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._stream.aclose()  # type: ignore[attr-defined] # an async generator


@asynccontextmanager
async def opened(server: Server, **settings: Any) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(server.url, **settings)
    try:
        yield backend
    finally:
        await backend.aclose()


@asynccontextmanager
async def listening(backend: RedisBackend, prefix: str = "p:") -> AsyncIterator[Listener]:
    listener = Listener(backend, prefix)
    try:
        await listener.alive()
        yield listener
    finally:
        await listener.close()


async def test_foreign_changes_are_told_and_own_are_not(own_server: Server) -> None:
    """Writes, swaps, deletions and expiry by others under the prefix arrive; other keys and own writes do not."""
    async with opened(own_server) as reader, opened(own_server) as writer, listening(reader) as heard:
        await reader.set_many({"p:mine": b"v"}, ttl=60)
        await writer.set_many({"p:a": b"v", "q:b": b"v", "P:c": b"v"}, ttl=60)
        await writer.swap("p:d", None, b"v", ttl=60)
        await writer.delete_many(["p:a"])
        await writer.set_many({"p:short": b"v"}, ttl=0.02)
        await until(lambda: heard.changed().count("p:short") == 2)
        await heard.alive()
        assert heard.changed() == ["p:a", "p:d", "p:a", "p:short", "p:short"]
        assert heard.kinds()[0] in ("Alive", "Lost")


async def test_alive_follows_everything_before_it(any_server: Server) -> None:
    """A change that was acknowledged before a heartbeat was sent is told before that heartbeat."""
    async with opened(any_server, heartbeat=0.005) as reader, opened(any_server) as writer, listening(reader) as heard:
        acknowledged: dict[str, float] = {}
        for i in range(300):
            await writer.set_many({f"p:{i}": b"v"}, ttl=60)
            acknowledged[f"p:{i}"] = time.monotonic()
        await heard.alive()
        told: set[str] = set()
        checked = 0
        for event in heard.events:
            if isinstance(event, Changed):
                told.update(event.keys)
            elif isinstance(event, Alive):
                before = {key for key, at in acknowledged.items() if at < event.sent_at}
                assert before <= told
                checked += bool(before)
        assert checked >= 1


async def test_flush_is_told(own_server: Server) -> None:
    """FLUSHDB by somebody else is `Flushed`."""
    async with opened(own_server) as reader, opened(own_server) as writer, listening(reader) as heard:
        assert await writer._nodes.get("test").ask("test", pack(("FLUSHDB",))) == b"OK"
        await until(lambda: "Flushed" in heard.kinds())


async def test_heartbeats_come_at_their_interval(any_server: Server) -> None:
    """About one `Alive` per interval, each about a moment that is just past."""
    async with opened(any_server, heartbeat=0.05) as reader, listening(reader) as heard:
        started = time.monotonic()
        await until(lambda: len(heard.events) >= 12)
        lasted = time.monotonic() - started
        assert lasted >= 0.4  # not a storm
        moments = [event.sent_at for event in heard.events if isinstance(event, Alive)]
        assert moments == sorted(moments)
        assert started < moments[-1] < time.monotonic()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
async def test_frozen_server_is_lost_within_two_intervals(own_server: Server, share: float) -> None:
    """A server that stops answering, at whichever moment, is `Lost` two intervals after the last heartbeat that was
    answered, and trusted again when it is back."""
    async with (
        opened(own_server, heartbeat=0.25, timeout=2.0) as reader,
        opened(own_server) as writer,
        listening(reader) as heard,
    ):
        heard.events.clear()
        await until(lambda: heard.kinds() == ["Alive"])
        await asyncio.sleep(share * 0.25)
        with own_server.paused():
            assert await until(lambda: "Lost" in heard.kinds()) < 2 * 0.25 + 1
            proved = max(event.sent_at for event in heard.events if isinstance(event, Alive))
            assert time.monotonic() - proved >= 2 * 0.25 - 0.01
            assert heard.kinds() == ["Alive", "Lost"]
            heard.events.clear()
            await asyncio.sleep(0.3)
            assert not heard.events
        await heard.alive()
        await writer.set_many({"p:after": b"v"}, ttl=60)
        await until(lambda: "p:after" in heard.changed())


async def test_network_slower_than_the_heartbeat_is_no_loss(any_server: Server) -> None:
    """Heartbeats that are answered one after the other, each later than the next was due, are trusted."""
    with Proxy(any_server.port) as proxy:
        backend = RedisBackend(proxy.url, heartbeat=0.5)
        async with listening(backend) as heard:
            proxy.slow(0.7)
            await heard.alive()
            heard.events.clear()
            await until(lambda: len(heard.events) >= 5)
            assert heard.kinds() == ["Alive"]
        await backend.aclose()


async def test_stalled_loop_is_not_lost(any_server: Server) -> None:
    """A process that stood still for many intervals asks before it says that the server is gone."""
    async with opened(any_server, heartbeat=0.2) as reader, listening(reader) as heard:
        for _ in range(2):
            heard.events.clear()
            time.sleep(1.0)  # noqa: ASYNC251 - the stall under test
            await heard.alive()
            assert heard.kinds() == ["Alive"]


async def test_lost_connection_is_told_at_once_and_mended(own_server: Server) -> None:
    """A connection that is cut is `Lost` at once, and the feed tells changes again by itself."""
    async with opened(own_server) as reader, opened(own_server) as writer, listening(reader) as heard:
        for round_ in range(5):
            heard.events.clear()
            await writer._nodes.get("t").ask("t", pack(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")))
            await until(lambda: "Lost" in heard.kinds())
            await heard.alive()
            assert heard.kinds()[0] == "Lost"
            assert heard.kinds()[-1] == "Alive"
            await writer.set_many({f"p:{round_}": b"v"}, ttl=60)
            await until(lambda round_=round_: f"p:{round_}" in heard.changed())  # type: ignore[misc] # mypy infers no default of a lambda


async def test_restart_is_survived(own_server: Server) -> None:
    """The server dies and comes back: the feed raises nothing and goes on."""
    async with opened(own_server) as reader, opened(own_server) as writer, listening(reader) as heard:
        own_server.kill()
        await until(lambda: "Lost" in heard.kinds())
        await asyncio.sleep(0.3)
        own_server.start()
        assert await heard.alive() < 2.0
        heard.events.clear()
        await writer.set_many({"p:x": b"v"}, ttl=60)
        await until(lambda: heard.changed() == ["p:x"])


async def test_feed_of_a_server_that_is_not_there_yet(any_server: Server) -> None:
    """A feed may be asked for before its server exists: `Lost` first, `Alive` when it appears."""
    any_server.kill()
    async with opened(any_server) as reader:
        heard = Listener(reader, "p:")
        await until(lambda: heard.kinds() == ["Lost"])
        any_server.start()
        await heard.alive()
        await heard.close()


async def test_several_feeds_share_the_connection(any_server: Server) -> None:
    """Feeds of different prefixes, one inside the other, each hear their own; ending one leaves the others."""
    async with (
        opened(any_server, heartbeat=0.05) as reader,
        opened(any_server) as writer,
        listening(reader, "a:") as first,
    ):
        async with listening(reader, "a:b:") as inner, listening(reader, "c:") as other:
            await first.alive()
            for listener in (first, inner, other):
                listener.events.clear()
            await writer.set_many({"a:1": b"v", "a:b:2": b"v", "c:3": b"v", "d:4": b"v"}, ttl=60)
            await until(lambda: bool(other.changed()))
            await first.alive()
            assert (first.changed(), inner.changed(), other.changed()) == (["a:1", "a:b:2"], ["a:b:2"], ["c:3"])
        await first.alive()
        first.events.clear()
        await writer.set_many({"a:5": b"v"}, ttl=60)
        await until(lambda: first.changed() == ["a:5"])


async def test_slow_listener_is_told_that_everything_changed(any_server: Server) -> None:
    """A subscriber that does not come gets `Flushed` instead of endless memory, then goes on."""
    async with opened(any_server) as reader, opened(any_server) as writer:
        stream = reader.feed("p:")
        while not isinstance(await anext(stream), Alive):
            pass
        subscription = reader._nodes.get("test").feeds._subscriptions[0]
        for start in range(0, _MAX_KEYS + 2000, 1000):
            await writer.set_many({f"p:{start + i}": b"v" for i in range(1000)}, ttl=60)
        await until(lambda: any(isinstance(event, Flushed) for event in subscription.events))
        assert subscription.keys <= _MAX_KEYS
        first = await anext(stream)
        assert isinstance(first, Flushed)
        await stream.aclose()  # type: ignore[attr-defined] # an async generator


async def test_server_without_tracking(own_server: Server) -> None:
    """Where tracking is forbidden the feed says `Lost` once and rests, and everything else works."""
    needs(own_server, 7, "rules for subcommands")
    async with opened(own_server) as admin:
        rules = ("ACL", "SETUSER", "app", "on", ">pw", "+@all", "-client|tracking", "~*")
        assert await admin._nodes.get("test").ask("test", pack(rules)) == b"OK"
    url = own_server.url.replace("://", "://app:pw@")
    backend = RedisBackend(url, heartbeat=0.02)
    heard = Listener(backend, "p:")
    await until(lambda: heard.kinds() == ["Lost"])
    await backend.set_many({"p:k": b"v"}, ttl=60)
    await asyncio.sleep(0.3)
    assert heard.kinds() == ["Lost"]
    assert backend._nodes.get("test").feeds.tracking is False
    connection = backend._nodes.get("test").main.current
    assert connection is not None
    assert connection.served < 30  # it does not ask again and again
    await heard.close()
    await backend.aclose()


@pytest.mark.parametrize(
    ("arguments", "query"),
    [([], "?protocol=2"), (["--rename-command", "HELLO", ""], "")],
    ids=["asked for", "HELLO unknown"],
)
async def test_resp2_gives_no_feed(own_server: Server, arguments: list[str], query: str) -> None:
    """A server agrees to track on RESP2, too, and drops the pushes: the feed says `Lost` once, copies live by age."""
    own_server.arguments = arguments
    own_server.kill()
    own_server.start()
    url = own_server.url + query
    async with opened(own_server, heartbeat=0.02) as plain:
        backend = RedisBackend(url, heartbeat=0.02)
        heard = Listener(backend, "p:")
        await until(lambda: heard.kinds() == ["Lost"])
        await backend.set_many({"p:k": b"v"}, ttl=60)
        await plain.set_many({"p:k": b"w"}, ttl=60)
        await asyncio.sleep(0.3)
        assert heard.kinds() == ["Lost"]
        node = backend._nodes.get("test")
        assert node.feeds.tracking is False
        assert node.main.current is not None
        assert node.main.current.served < 30  # it does not ask again and again
        assert b"flags=N " in await node.ask("test", pack(("CLIENT", "LIST", "ID", str(await _id(backend)))))
        await heard.close()
        await backend.aclose()
    options: dict[str, Any] = {"ttl": 600, "backend_timeout": 30}
    async with Cache[str](url, **options) as one, Cache[str](url, l1_max_age=0.1, **options) as two:
        await one.set("q", "old")
        await until(lambda: _copied(two, "q", "old"))  # there are copies
        await one.set("q", "new")
        assert await until(lambda: _is(two, "q", "new")) < 0.1 + 0.5
        await one.invalidate_all()
        assert await until(lambda: _is(two, "q", None)) < 0.1 + 0.5


async def _id(backend: RedisBackend) -> int:
    return int(await backend._nodes.get("test").ask("test", pack(("CLIENT", "ID"))))


async def _copied(cache: Cache[str], key: str, value: str) -> bool:
    return await cache.get(key) == value and cache.peek(key) == value


async def _is(cache: Cache[str], key: str, value: str | None) -> bool:
    return await cache.get(key) == value


async def test_closing_ends_the_feed(any_server: Server) -> None:
    """A feed of a closed backend ends instead of waiting for ever."""
    backend = RedisBackend(any_server.url)
    heard = Listener(backend, "p:")
    await heard.alive()
    await backend.aclose()
    await asyncio.wait_for(heard._task, 20)
    assert [event async for event in backend.feed("p:")] == []


@pytest.mark.parametrize(
    ("prefixes", "roots"),
    [({"a:"}, ("a:",)), ({"a:", "a:b:"}, ("a:",)), ({"", "a"}, ("",)), ({"b", "a", "ab"}, ("a", "b"))],
)
def test_overlapping_prefixes_are_asked_for_once(prefixes: set[str], roots: tuple[str, ...]) -> None:
    """The server refuses prefixes that overlap."""
    assert _roots(prefixes) == roots
