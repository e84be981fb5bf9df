"""The feed of a cluster: one from each primary, as one.

It can be trusted for what the slowest primary can be trusted for, and while the cluster confirms now and then that they
are still its primaries. When they change, what happened on the new ones before they were listened to was missed: that
is `Lost`. What is asked of a node that only receives its slot yet is said to have changed: nothing is kept of it until
the slot is there and the node is listened to.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import Alive, Changed, FeedEvent, Lost
from cachecore_redis.cluster.cluster import Cluster
from cachecore_redis.wire.address import Address

_AGAIN: Final = 0.1
"""Seconds before the cluster is asked for its primaries again, as long as it does not say."""
_UNCONFIRMED: Final = 4.0
"""Seconds that the order of the slots is believed for without a node that confirms it."""
_MAX_KEYS: Final = 10_000


class _Merged:
    """What the feeds of the primaries said and nobody has fetched yet."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self.events: deque[FeedEvent] = deque()
        self.changed = asyncio.Event()  # something to fetch, or other primaries
        self.order_changed = True
        self._cluster = cluster
        self._prefix = prefix
        self._pumps: dict[Address, asyncio.Task[None]] = {}
        self._alive: dict[Address, float | None] = {}
        self._told = 0.0
        self._lost: bool | None = None  # None: nothing has been said yet
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

    def other_primaries(self) -> None:
        self.order_changed = True
        self.changed.set()

    def elsewhere(self, keys: Sequence[str]) -> None:
        mine = tuple(key for key in keys if key.startswith(self._prefix))
        if mine:
            self.put(Changed(mine))

    async def follow(self) -> bool:
        """Listen to the primaries of now, and to no others; return False if they are not known."""
        try:
            primaries = dict(await self._cluster.primaries("feed"))
        except BackendError:
            self._lose()
            return False
        self.order_changed = False
        for address in self._pumps.keys() - primaries.keys():
            self._pumps.pop(address).cancel()
            self._alive.pop(address, None)
            self._lose()
        loop = asyncio.get_running_loop()
        first = not self._pumps
        for address in primaries.keys() - self._pumps.keys():
            if not first:
                self._lose()
            self._alive[address] = None
            self._pumps[address] = loop.create_task(self._pump(address), context=contextvars.Context())
        return True

    async def _pump(self, address: Address) -> None:
        async for event in self._cluster.node(address).feeds.feed(self._prefix):
            if isinstance(event, Alive):
                self._alive[address] = event.sent_at
                self._all_alive()
            elif isinstance(event, Lost):
                self._alive[address] = None
                if self._lost is not None:
                    self._lose()
            else:
                self.put(event)

    def _all_alive(self) -> None:
        """Say Alive for the slowest; after Lost, say that again first: what was read meanwhile came without pushes."""
        known = [moment for moment in self._alive.values() if moment is not None]
        if len(known) < len(self._alive) or min(known) <= self._told:
            return
        if self._cluster.watching.confirmed < time.monotonic() - _UNCONFIRMED:
            return
        self._told = min(known)
        if self._lost is not False:
            self._lost = False
            self.put(Lost())
        self.put(Alive(self._told))

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self.put(Lost())

    def close(self) -> None:
        for pump in self._pumps.values():
            pump.cancel()


async def cluster_feed(cluster: Cluster, prefix: str) -> AsyncIterator[FeedEvent]:
    """Yield what happens to keys that start with `prefix`, on whichever node, until closed."""
    merged = _Merged(cluster, prefix)
    cluster.watching.add(merged)
    try:
        while not cluster.closed:
            if merged.order_changed and not await merged.follow():
                while merged.events:
                    yield merged.take()
                await asyncio.sleep(_AGAIN)
                continue
            while merged.events:
                yield merged.take()
            merged.changed.clear()
            if not merged.order_changed:
                await merged.changed.wait()
    finally:
        cluster.watching.remove(merged)
        merged.close()
