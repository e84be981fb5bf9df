"""`ClusterBackend`: the contract on a Redis or Valkey cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import hiredis

from cachecore.contract import FeedEvent, Link, OptionsError
from cachecore_redis.cluster.cluster import Cluster, Command
from cachecore_redis.cluster.feed import cluster_feed
from cachecore_redis.cluster.quorum import first_answer
from cachecore_redis.cluster.topology import SLOTS, Topology, slot_of
from cachecore_redis.node import extend
from cachecore_redis.node.about import about_all
from cachecore_redis.node.feed import ended
from cachecore_redis.node.large import LargeKeys
from cachecore_redis.node.node import Node, moment
from cachecore_redis.node.scan import pages
from cachecore_redis.per_loop import PerLoop
from cachecore_redis.wire import commands
from cachecore_redis.wire.address import Address, RedisOptions, UrlDialer, limited, split_hosts, split_options
from cachecore_redis.wire.connection import Reply
from cachecore_redis.wire.errors import backend_error, unknown
from cachecore_redis.wire.reconnecting import Backoff

if TYPE_CHECKING:
    from redis.credentials import CredentialProvider

_PASSES: Final = 5
"""Times that all primaries are listed before a scan gives up."""


class ClusterBackend:
    """CacheBackend on a cluster: `redis+cluster://user:pw@host:port,host:port`; also scan, feed, time, touch, marks,
    partition.

    `rediss+cluster://` for TLS. Any living nodes may be named; the others are found. Keys with the same hash tag
    (`{…}`) live on one node and are read in one round trip. Otherwise as `RedisBackend`.

    Raises:
        OptionsError: the URL or a setting is wrong.
    """

    def __init__(self, url: str, *, credential_provider: CredentialProvider | None = None, **settings: Any) -> None:
        address, self._options, self._own = split_options(url, settings)
        address, hosts = split_hosts(address, 6379)
        parts = urlsplit(address)
        if parts.path.strip("/") not in ("", "0"):
            raise OptionsError("a cluster has only database 0")
        plain = urlunsplit(parts._replace(scheme=parts.scheme.partition("+")[0], path=""))
        first = UrlDialer(plain, self._options, credential_provider)
        self._seeds = [first.at(*host) for host in hosts]
        self._topology = Topology()
        self._backoffs: dict[Address, Backoff] = {}
        self._large = LargeKeys(self._options.bulk_bytes)
        self._clusters = PerLoop(self._cluster)
        self._plain_delete = False  # whether a node has no UNLINK
        self._extend_at = 0  # the method of `extend` that no node has refused so far

    def _cluster(self) -> Cluster:
        return Cluster(
            self._seeds, self._topology, self._backoffs, self._options, self._large, self._clusters.in_each_loop
        )

    def __repr__(self) -> str:
        return f"ClusterBackend({', '.join(dialer.name for dialer in self._seeds)})"

    @property
    def options(self) -> RedisOptions:
        """The settings in force."""
        return self._options

    def partition(self, key: str) -> str:
        """Return host and port of the primary that holds `key`, as far as is known; never waits."""
        address = self._topology.owner(slot_of(key))
        return f"{address[0]}:{address[1]}" if address else "unknown"

    def link(self, key: str) -> Link | None:
        """Return the connection to the primary that holds `key`; None while it, or the first one of all, is opened."""
        return self._clusters.get("link").link(key)

    def limit_waits(self, *, connect: float, silence: float) -> None:
        """Take a cache's limits for connecting and for silence, unless the URL or the arguments have set them."""
        self._options = limited(self._options, self._own, connect=connect, silence=silence)
        for dialer in self._seeds:
            dialer.limit_waits(self._options)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`: a GET or MGET for each slot, all nodes at the same time."""
        cluster = self._clusters.get("get_many")
        if not keys:
            return []
        batch = [Command(commands.get(part), part) for part in _by_slot(keys)]
        replies = await cluster.ask_all("get_many", batch, twice=True)
        split = [i for i, reply in enumerate(replies) if _try_again(reply)]
        by_key: dict[str, bytes | None] = {}
        for command, reply in zip(batch, replies, strict=True):
            if not _try_again(reply):
                values = self._large.values_of(command.keys, reply)
                if type(values) is not list:
                    raise cluster.reply_error("get_many", command.slot, values)
                by_key.update(zip(command.keys, values, strict=True))
        for i in split:
            # The slot is moving and its keys are on both nodes: each key is asked for separately.
            singles = [Command(commands.get([key]), [key]) for key in batch[i].keys]
            for command, reply in zip(singles, await cluster.ask_all("get_many", singles, twice=True), strict=True):
                values = self._large.values_of(command.keys, reply)
                if type(values) is not list:
                    raise cluster.reply_error("get_many", command.slot, values)
                by_key[command.keys[0]] = values[0]
        return [by_key[key] for key in keys]

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key, value and deadline in one SET each, all nodes at the same time."""
        cluster = self._clusters.get("set_many")
        if not items:
            return
        px = commands.milliseconds(ttl)
        for key, value in items.items():
            self._large.record(key, len(value))
        batch = [Command(commands.set_(key, value, px), [key]) for key, value in items.items()]
        for command, reply in zip(batch, await cluster.ask_all("set_many", batch), strict=True):
            if reply != b"OK":
                raise cluster.reply_error("set_many", command.slot, reply)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys, all nodes at the same time; return how many existed."""
        cluster = self._clusters.get("delete_many")
        if not keys:
            return 0
        parts = _by_slot(keys)
        answered = await self._delete(cluster, parts)
        if any(unknown(reply) for _, reply in answered):
            self._plain_delete = True
            answered = await self._delete(cluster, parts)
        for command, reply in answered:
            if type(reply) is not int:
                raise cluster.reply_error("delete_many", command.slot, reply)
        return sum(reply for _, reply in answered)

    async def _delete(self, cluster: Cluster, parts: Sequence[Sequence[str]]) -> list[tuple[Command, Reply]]:
        """Return the commands and their replies; the keys of a slot that is moving are deleted one by one."""
        delete = commands.delete if self._plain_delete else commands.unlink
        batch = [Command(delete(part), part) for part in parts]
        replies = await cluster.ask_all("delete_many", batch)
        answered = [pair for pair in zip(batch, replies, strict=True) if not _try_again(pair[1])]
        keys = [key for command, reply in zip(batch, replies, strict=True) if _try_again(reply) for key in command.keys]
        if keys:
            singles = [Command(delete([key]), [key]) for key in keys]
            answered += zip(singles, await cluster.ask_all("delete_many", singles), strict=True)
        return answered

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""
        cluster = self._clusters.get("swap")
        reply = await cluster.swap(key, old, new, commands.milliseconds(ttl))
        if type(reply) is not bool:
            raise cluster.reply_error("swap", slot_of(key), reply)
        return reply

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it."""
        cluster, px = self._clusters.get("extend"), commands.milliseconds(ttl)
        while True:
            at = self._extend_at
            if extend.METHODS[at] == "swap":
                return [await self.swap(key, value, value, ttl=None) for key, value in items.items()]
            batch = [
                Command(command, [key])
                for key, value in items.items()
                for command in extend.commands_for(extend.METHODS[at], key, value, px)
            ]
            replies = await cluster.ask_all("extend", batch, twice=True)
            if not extend.refused(replies):
                break
            self._extend_at = max(self._extend_at, at + 1)
        size = len(batch) // max(1, len(items))
        there: list[bool] = []
        for number, (key, value) in enumerate(items.items()):
            reply = extend.verdict(value, replies[number * size : (number + 1) * size])
            if type(reply) is not bool:
                raise cluster.reply_error("extend", slot_of(key), reply)
            there.append(reply)
        return there

    async def advance(self, key: str) -> int:
        """Add one to the counter under `key` and return it: one INCR on its node."""
        cluster = self._clusters.get("advance")
        (reply,) = await cluster.ask_all("advance", [Command(commands.incr(key), [key])])
        if commands.begins_anew(reply):
            (reply,) = await cluster.ask_all("advance", [Command(commands.set_(key, b"1", None), [key])])
            reply = 1 if reply == b"OK" else reply
        if type(reply) is not int:
            raise cluster.reply_error("advance", slot_of(key), reply)
        return reply

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`, primary after primary; all again if slots moved meanwhile.

        Raises `BackendError` when slots move faster than the keys can be listed.
        """
        cluster = self._clusters.get("scan")
        for _ in range(_PASSES):
            primaries = await cluster.primaries("scan")
            version = self._topology.version
            for _, node in primaries:
                async for page in pages(node, prefix):
                    yield page
            # SCAN is never redirected, so only a new slot map shows that no slot moved while it was listed.
            await cluster.refresh_slot_map("scan")
            if version == self._topology.version:
                return
        raise backend_error("scan", "moved", True)

    def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield the changes of keys that start with `prefix`, pushed by every primary; ends when closed."""
        if self._clusters.closed:
            return ended()
        return cluster_feed(self._clusters.get("feed"), prefix)

    async def touch(self, keys: Sequence[str]) -> None:
        """Count a use of each key for the nodes' eviction: a TOUCH for each slot, all nodes at the same time."""
        cluster = self._clusters.get("touch")
        parts = _by_slot(keys) if keys else []
        batch = [Command(command, part) for part in parts for command in commands.touches(part)]
        for command, reply in zip(batch, await cluster.ask_all("touch", batch, twice=True), strict=True):
            if type(reply) is not int and not _try_again(reply):  # of a slot that is moving, some keys stay untouched
                raise cluster.reply_error("touch", command.slot, reply)

    async def time(self) -> float:
        """Return the clock of one primary, the first in a fixed order that answers; Unix seconds."""
        cluster = self._clusters.get("time")
        return await first_answer([partial(_time_of, node) for _, node in await cluster.primaries("time")])

    async def about(self, prefix: str) -> dict[str, Mapping[str, str]]:
        """Return facts about each primary, by address; writes nothing. See `cachecore_redis.node.about`."""
        servers: dict[str, tuple[UrlDialer, str]] = {}
        for address, _ in await self._clusters.get("about").primaries("about"):
            tags = (n for n in range(SLOTS) if self._topology.owner(slot_of(str(n))) == address)
            key = f"{prefix}{{{next(tags, 0)}}}about"
            servers[f"{address[0]}:{address[1]}"] = (self._seeds[0].at(*address), key)
        return await about_all(servers, prefix)

    async def aclose(self) -> None:
        """Close the connections of this process, those of other loops in those loops. Idempotent."""
        await self._clusters.aclose()


async def _time_of(node: Node) -> float:
    reply = await node.read("time", commands.TIME)
    if type(reply) is not list:
        raise node.reply_error("time", reply)
    return moment(reply)


def _by_slot(keys: Sequence[str]) -> list[list[str]]:
    if len(keys) == 1:
        return [list(keys)]
    slots: dict[int, list[str]] = {}
    for key in dict.fromkeys(keys):
        slots.setdefault(slot_of(key), []).append(key)
    return list(slots.values())


def _try_again(reply: Reply) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("TRYAGAIN")
