"""`RedisBackend`: the contract on one server, or on the primary that Sentinels name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from cachecore.contract import BackendError, FeedEvent, Link, OptionsError
from cachecore_redis.client import ClientBackend
from cachecore_redis.node.about import about_all
from cachecore_redis.node.feed import ended
from cachecore_redis.node.large import LargeKeys
from cachecore_redis.node.node import Node, moment
from cachecore_redis.node.scan import pages
from cachecore_redis.per_loop import PerLoop
from cachecore_redis.wire import commands
from cachecore_redis.wire.address import RedisOptions, UrlDialer, limited, split_options
from cachecore_redis.wire.errors import backend_error
from cachecore_redis.wire.reconnecting import Backoff

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.credentials import CredentialProvider

_LENGTHS: Final = 1000
"""The most keys of one batch of STRLEN: a command of another call waits behind one batch at most."""
_CLOSES: Final = 2
"""Connections that are closed at TIME until it is taken for a command that a proxy answers by closing."""


class RedisBackend:
    """CacheBackend on a Redis (6.2 or later) or Valkey server; also scan, feed, time, touch, extend and marks.

    Nothing is connected before it is used. Each event loop has separate connections: one for commands, one for values
    of at least `bulk_bytes`, and on old servers without scripts one for compare and swap.

    Args:
        url: `redis://user:password@host:port/db`, `rediss://…` (TLS), `unix:///path?db=0`. Further settings of
            redis-py's connections may follow as a query (`?ssl_ca_certs=…&client_name=…`), and those of `RedisOptions`.
        credential_provider: asked by redis-py for user and password, for each connection anew.
        settings: the fields of `RedisOptions`; they win over the URL's.

    Raises:
        OptionsError: the URL or a setting is wrong.
    """

    def __init__(self, url: str, *, credential_provider: CredentialProvider | None = None, **settings: Any) -> None:
        address, self._options, self._own = split_options(url, settings)
        self._dialer = self._dial(address, credential_provider)
        self._backoff = Backoff()
        self._large = LargeKeys(self._options.bulk_bytes)
        self._nodes = PerLoop(self._node)
        self._closed_on_time = 0  # connections in a row that were closed at TIME, before it ever was answered

    def _dial(self, url: str, credential_provider: CredentialProvider | None) -> UrlDialer:
        scheme = url.partition("://")[0]
        for kind, name in (("+cluster", "ClusterBackend"), ("+sentinel", "SentinelBackend")):
            if scheme.endswith(kind):
                raise OptionsError(
                    f"RedisBackend is for one server, and {scheme}:// names several: use {name}, or Cache(url)"
                )
        return UrlDialer(url, self._options, credential_provider)

    def _node(self) -> Node:
        return Node(self._dialer, self._backoff, self._options, self._large)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._dialer.name})"

    @staticmethod
    def from_client(client: Redis) -> ClientBackend:
        """Return a backend on the caller's own client, which the caller closes. Slower, and without feed."""
        return ClientBackend(client)

    @property
    def options(self) -> RedisOptions:
        """The settings in force."""
        return self._options

    def get_many(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """Return the live values in the order of `keys`: one GET or MGET. Keys of other types count as missing."""
        node = self._nodes.get("get_many")
        future = node.begin_get_many(keys) if keys else None
        return future if future is not None else self._get_many(node, keys)

    async def _get_many(self, node: Node, keys: Sequence[str]) -> list[bytes | None]:
        if not keys:
            return []
        reply = await node.get_many(keys)
        if type(reply) is list:
            return reply
        raise node.reply_error("get_many", reply)

    def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> Awaitable[None]:
        """Replace each key, value and deadline in one SET each, sent together."""
        node, px = self._nodes.get("set_many"), commands.milliseconds(ttl)
        future = node.begin_set_many(items, px) if items else None
        return future if future is not None else self._set_many(node, items, px)

    async def _set_many(self, node: Node, items: Mapping[str, bytes], px: int | None) -> None:
        if not items:
            return
        for reply in await node.set_many(list(items.items()), px):
            if reply != b"OK":
                raise node.reply_error("set_many", reply)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys in one UNLINK (DEL where there is none); return how many existed."""
        node = self._nodes.get("delete_many")
        if not keys:
            return 0
        return int(self._checked(node, "delete_many", await node.delete(keys), int))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was. One command where the server has one."""
        node = self._nodes.get("swap")
        return bool(self._checked(node, "swap", await node.swap(key, old, new, commands.milliseconds(ttl)), bool))

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it."""
        node = self._nodes.get("extend")
        replies = await node.extend(items, commands.milliseconds(ttl)) if items else ()
        return [bool(self._checked(node, "extend", reply, bool)) for reply in replies]

    def advance(self, key: str) -> Awaitable[int]:
        """Add one to the counter under `key` and return it: one INCR, in one packet with the small write before it."""
        node = self._nodes.get("advance")
        future = node.begin_advance(key)
        return self._advance(node, key) if future is None else future

    async def _advance(self, node: Node, key: str) -> int:
        reply = await node.ask_behind("advance", commands.incr(key))
        if commands.begins_anew(reply):
            return await node.begin_anew(key)
        return int(self._checked(node, "advance", reply, int))

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`, in pages; all again if the connection was lost meanwhile."""
        async for page in pages(self._nodes.get("scan"), prefix):
            yield page

    def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield the changes of keys that start with `prefix`, pushed by the server; ends when closed."""
        if self._nodes.closed:
            return ended()
        return self._nodes.get("feed").feeds.feed(prefix)

    def sizes(self, keys: Sequence[str]) -> Awaitable[list[int]]:
        """Return the length of each key's live value, 0 where there is none: one STRLEN each, a thousand together."""
        node = self._nodes.get("sizes")
        future = node.begin_sizes(keys) if 0 < len(keys) <= _LENGTHS else None
        return self._sizes(node, keys) if future is None else future

    async def _sizes(self, node: Node, keys: Sequence[str]) -> list[int]:
        replies: list[Any] = []
        for start in range(0, len(keys), _LENGTHS):
            page = commands.lengths(keys[start : start + _LENGTHS])
            replies += await node.ask_many("sizes", page, twice=True)
        return [self._checked(node, "sizes", reply, int) for reply in replies]

    async def touch(self, keys: Sequence[str]) -> None:
        """Count a use of each key for the server's eviction: TOUCH, all commands sent together."""
        node = self._nodes.get("touch")
        for reply in await node.ask_many("touch", commands.touches(keys), twice=True) if keys else ():
            self._checked(node, "touch", reply, int)

    async def time(self) -> float:
        """Return the server's clock, Unix seconds."""
        node = self._nodes.get("time")
        if self._closed_on_time >= _CLOSES:
            raise backend_error("time", "refused_command", False)
        try:
            reply = await node.ask("time", commands.TIME)
        except BackendError as error:
            if error.reason == "reset" and self._closed_on_time >= 0:
                self._closed_on_time += 1
            raise
        self._closed_on_time = -1  # the server knows TIME: later closings have another cause
        return moment(self._checked(node, "time", reply, list))

    def link(self, key: str) -> Link | None:
        """Return the connection over which the running loop reads `key`; None while it is being opened."""
        return self._nodes.get("link").link(key)

    def limit_waits(self, *, connect: float, silence: float) -> None:
        """Take a cache's limits for connecting and for silence, unless the URL or the arguments have set them."""
        self._options = limited(self._options, self._own, connect=connect, silence=silence)
        self._dialer.limit_waits(self._options)

    async def about(self, prefix: str) -> dict[str, Mapping[str, str]]:
        """Return facts about the server, by address; writes nothing. See `cachecore_redis.node.about`."""
        return await about_all({self._dialer.name: (self._dialer, f"{prefix}about")}, prefix)

    async def aclose(self) -> None:
        """Close the connections of this process, those of other loops in those loops. Idempotent."""
        await self._nodes.aclose()

    def _checked(self, node: Node, operation: str, reply: Any, kind: type) -> Any:
        if type(reply) is not kind:
            raise node.reply_error(operation, reply)
        return reply
