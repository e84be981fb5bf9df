"""A proxy that closes the connection at a command it does not know: the documented minimum is enough for hits."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import redis

from cachecore import Cache
from cachecore.contract import BackendError
from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from tests.redis.waiting import until
from tests.unit.virtual_caches import Answer

DOCS = Path(__file__).resolve().parents[2] / "docs" / "redis.md"
INSIDE = DOCS.parent / "explanation" / "redis.md"


def minimum() -> set[bytes]:
    """Return the commands that the docs call indispensable."""
    (section,) = re.findall(r"## Proxies and services.*?\n(.*)", INSIDE.read_text(encoding="utf-8"), re.DOTALL)
    (listed,) = re.findall(r"do without:(.*?)\. `TIME`", section, re.DOTALL)
    return {word.encode() for word in re.findall(r"`([A-Z]+)`", listed)} - {b"NX", b"PX"}


class Proxy:
    """Passes commands on, one at a time, and closes the connection at any that is not `known`."""

    def __init__(self, server: Server, known: set[bytes]) -> None:
        self.server = server
        self.known = known
        self.closed_at: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            while head := await reader.readline():
                parts = [await bulk(reader) for _ in range(int(head[1:]))]
                if parts[0].upper() not in self.known:
                    self.closed_at.append(parts[0].upper())
                    return
                up_writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
                writer.write(await reply(up_reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            up_writer.close()


async def bulk(reader: asyncio.StreamReader) -> bytes:
    size = int((await reader.readline())[1:])
    return (await reader.readexactly(size + 2))[:-2]


async def reply(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if line[:1] == b"$" and int(line[1:]) >= 0:
        return line + await reader.readexactly(int(line[1:]) + 2)
    if line[:1] == b"*" and int(line[1:]) > 0:
        return line + b"".join([await reply(reader) for _ in range(int(line[1:]))])
    return line


async def test_the_documented_minimum_gives_hits(own_server: Server) -> None:
    """Answers are stored and read, and invalidations are acknowledged, once TIME has been given up."""
    proxy = Proxy(own_server, minimum())
    assert {b"GET", b"SET", b"MGET"} <= proxy.known
    serving = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = serving.sockets[0].getsockname()[1]
    async with serving, Cache[int](f"redis://127.0.0.1:{port}?protocol=2", ttl=60, l1_max_entries=0) as cache:
        answer = Answer()
        async with asyncio.timeout(20):
            while cache.stats.hits_l2 < 50:
                assert isinstance(await cache.get_or_set("q", answer, tags=["t"]), int)
                await asyncio.sleep(0.005)
        assert set(proxy.closed_at) <= {b"TIME", b"OBJECT"}
        assert len(proxy.closed_at) <= 4
        assert proxy.closed_at.count(b"OBJECT") <= 1
        await cache.invalidate_tags("t")
        assert await cache.get("q", tags=["t"]) is None
        assert set(proxy.closed_at) <= {b"TIME", b"OBJECT"}


async def test_clock_of_a_server_that_has_answered_once_is_asked_again(own_server: Server) -> None:
    """Connections that are closed while the clock is asked are not taken for a proxy without TIME."""
    backend = RedisBackend(own_server.url)
    assert await backend.time() > 1_600_000_000
    seen: set[str] = set()

    async def works() -> bool:
        try:
            return await backend.time() > 1_600_000_000
        except BackendError as error:
            seen.add(error.reason)
            return False

    with redis.Redis.from_url(own_server.url) as admin:
        for _ in range(6):
            asked = asyncio.ensure_future(works())
            admin.client_kill_filter(_type="normal", skipme=True)
            await asked
            await until(works)
    assert "refused_command" not in seen
    await backend.aclose()


async def test_the_documented_rights_fit_a_prefix_with_a_colon(own_server: Server) -> None:
    """The rule of the docs, for the prefix of the docs: hits, a feed, acknowledged invalidations."""
    text = DOCS.read_text(encoding="utf-8")
    (rule,) = re.findall(r"ACL SETUSER app on >password ~cc:\* ~cc\.l:\* ~cc\.m:\* (.*)", text)
    (keys,) = re.findall(r"`llm:response` is `(.*?)`", text)
    with redis.Redis.from_url(own_server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", ">pw", *keys.split(), *rule.split())
    url = own_server.url.replace("://", "://app:pw@")
    async with Cache[int](url, ttl=60, prefix="llm:response", l1_max_entries=0) as cache:
        await cache.scoped("faq").set("q", 1, tags=["t"])
        assert await cache.scoped("faq").get("q") == 1
        await until(lambda: cache._engine.feed_state.live)
        await cache.invalidate_tags("t")
        assert await cache.scoped("faq").get("q") is None
        await cache.scoped("faq").set("q", 2)
        assert await cache.scoped("faq").delete("q")
        assert not {reason for reason in cache.stats.backend_errors if reason.endswith(":auth")}
