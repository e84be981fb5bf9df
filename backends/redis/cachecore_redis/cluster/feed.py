"""The feed of a cluster: the feeds of all primaries, merged.

It is trusted as far as that of the slowest primary, and only while nodes confirm now and then that these are still the
primaries. When the primaries change, changes on the new ones before they were listened to were missed: that is `Lost`.
Keys that are asked of a node that is still importing their slot are reported as changed: no copy of them is kept until
the slot has moved and its node is listened to.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final

from cachecore.contract import Alive, BackendError, Changed, FeedEvent, Lost, in_background, monotonic
from cachecore_redis.cluster.cluster import Cluster
from cachecore_redis.wire.address import Address

_AGAIN: Final = 0.1
"""Seconds until the cluster is asked for its primaries again, if it does not know them."""
_UNCONFIRMED: Final = 4.0
"""Seconds that the slot map is believed without a node that confirms it."""
_MAX_KEYS: Final = 10_000


class _MergedFeed:
    """The events of the feeds of the primaries that are not fetched yet."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self.events: deque[FeedEvent] = deque()
        self.changed = asyncio.Event()  # something to fetch, or other primaries
        self.must_follow = True
        self._cluster = cluster
        self._prefix = prefix
        self._pumps: dict[Address, asyncio.Task[None]] = {}
        self._alive: dict[Address, float | None] = {}
        self._told = 0.0
        self._lost: bool | None = None  # None: there was no event yet
        self._keys = 0

    def put(self, event: FeedEvent) -> None:
        if type(event) is Changed:
            self._keys += len(event.keys)
            if self._keys > _MAX_KEYS:
                self.events.clear()
                self._keys = 0
                event = Lost()
        elif self.events and type(self.events[-1]) is type(event):
            self.events.pop()
        self.events.append(event)
        self.changed.set()

    def take(self) -> FeedEvent:
        event = self.events.popleft()
        if type(event) is Changed:
            self._keys -= len(event.keys)
        return event

    def primaries_changed(self) -> None:
        self.must_follow = True
        self.changed.set()

    def redirected_by_ask(self, keys: Sequence[str]) -> None:
        mine = tuple(key for key in keys if key.startswith(self._prefix))
        if mine:
            self.put(Changed(mine))

    async def follow(self) -> bool:
        """Listen to the current primaries, and to no others; return False if they are not known."""
        try:
            primaries = dict(await self._cluster.primaries("feed"))
        except BackendError:
            self._give_lost()
            return False
        self.must_follow = False
        for address in self._pumps.keys() - primaries.keys():
            self._pumps.pop(address).cancel()
            self._alive.pop(address, None)
            self._give_lost()
        loop = asyncio.get_running_loop()
        first = not self._pumps
        for address in primaries.keys() - self._pumps.keys():
            if not first:
                self._give_lost()
            self._alive[address] = None
            self._pumps[address] = in_background(loop.create_task(self._pump(address), context=contextvars.Context()))
        return True

    async def _pump(self, address: Address) -> None:
        async for event in self._cluster.node(address).feeds.feed(self._prefix):
            if isinstance(event, Alive):
                self._alive[address] = event.sent_at
                self._all_alive()
            elif isinstance(event, Lost):
                self._alive[address] = None
                if self._lost is not None:
                    self._give_lost()
            else:
                self.put(event)

    def _all_alive(self) -> None:
        """Put Alive for the slowest primary; after Lost, first that once more, as reads meanwhile had no pushes."""
        known = [moment for moment in self._alive.values() if moment is not None]
        if len(known) < len(self._alive) or min(known) <= self._told:
            return
        if self._cluster.watch.confirmed < monotonic() - _UNCONFIRMED:
            return
        self._told = min(known)
        if self._lost is not False:
            self._lost = False
            self.put(Lost())
        self.put(Alive(self._told))

    def _give_lost(self) -> None:
        if not self._lost:
            self._lost = True
            self.put(Lost())

    def close(self) -> None:
        for pump in self._pumps.values():
            pump.cancel()


async def cluster_feed(cluster: Cluster, prefix: str) -> AsyncIterator[FeedEvent]:
    """Yield the changes of keys that start with `prefix`, on all nodes, until closed."""
    merged = _MergedFeed(cluster, prefix)
    cluster.watch.add(merged)
    try:
        while not cluster.closed:
            if merged.must_follow and not await merged.follow():
                while merged.events:
                    yield merged.take()
                await asyncio.sleep(_AGAIN)
                continue
            while merged.events:
                yield merged.take()
            merged.changed.clear()
            if not merged.must_follow:
                await merged.changed.wait()
    finally:
        cluster.watch.remove(merged)
        merged.close()
