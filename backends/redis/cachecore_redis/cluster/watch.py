"""Who relies on hearing what happens on every node of a cluster, and seeing to it that these are still the nodes.

A primary that was replaced says nothing of it by itself, and goes on answering. So while somebody watches, one of the
primaries is asked every second for the order of the slots.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from cachecore_redis.cluster.topology import Ranges, Topology
from cachecore_redis.wire.address import Address

_LOOK: Final = 1.0
"""Seconds between two looks at the order of a cluster that somebody watches."""


class Watcher(Protocol):
    """Who relies on hearing what happens on every node. Told in the loop of the cluster that it watches."""

    def other_primaries(self) -> None:
        """Take note that the primaries are others than before, or that there is an end to it."""

    def elsewhere(self, keys: Sequence[str]) -> None:
        """Take note that these keys are being asked of a node that need not be a primary yet."""


class Watching:
    """Who watches a cluster in one loop. `order_of` asks one node for the order; `learn` has several asked."""

    def __init__(
        self,
        topology: Topology,
        order_of: Callable[[Address], Awaitable[Ranges | None]],
        learn: Callable[[], asyncio.Future[bool]],
    ) -> None:
        self.confirmed = 0.0
        """Monotonic second of the last question whose answer was, or became, `topology`."""
        self._topology = topology
        self._order_of = order_of
        self._learn = learn
        self._watchers: list[Watcher] = []
        self._looking: asyncio.Task[None] | None = None

    def add(self, watcher: Watcher) -> None:
        """Tell `watcher` of other primaries, and of keys that are not asked of one."""
        self._watchers.append(watcher)
        if self._looking is None or self._looking.done():
            self.confirmed = max(self.confirmed, time.monotonic())  # the first look follows at once
            self._looking = asyncio.get_running_loop().create_task(self._look(), context=contextvars.Context())

    def remove(self, watcher: Watcher) -> None:
        """Tell it no more."""
        self._watchers.remove(watcher)
        if not self._watchers:
            self._stop()

    def other_primaries(self) -> None:
        """Tell all who watch that the primaries are others than before."""
        for watcher in self._watchers:
            watcher.other_primaries()

    def elsewhere(self, keys: Sequence[str]) -> None:
        """Tell all who watch that these keys are asked of a node that need not be a primary yet."""
        for watcher in self._watchers:
            watcher.elsewhere(keys)

    def close(self) -> None:
        """Look no more, and tell all who watch that this is the end."""
        self._stop()
        self.other_primaries()

    def _stop(self) -> None:
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()

    async def _look(self) -> None:
        """See whether the order is still the same: one primary is asked at a time, another each time.

        Not always the same one, because one that was cut off from the others believes in the old order.
        """
        for turn in itertools.count():
            primaries = self._topology.primaries
            if primaries:
                asked_at = time.monotonic()
                order = await self._order_of(primaries[turn % len(primaries)])
                if order is not None and self._topology.is_order(order):
                    self.confirmed = asked_at
                elif order is not None:
                    await asyncio.shield(self._learn())
            await asyncio.sleep(_LOOK)
