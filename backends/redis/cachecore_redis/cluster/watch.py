"""Watchers of a cluster, and the check that its primaries are still the known ones.

A primary that was replaced does not report it, and goes on answering. So while a cluster has watchers, one of its
primaries is asked every second for the slot map.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from cachecore.contract import monotonic
from cachecore_redis.cluster.topology import SlotMap, Topology
from cachecore_redis.wire.address import Address

_INTERVAL: Final = 1.0
"""Seconds between two checks of the slot map."""


class Watcher(Protocol):
    """An object that depends on changes of every node. Called in the loop of the cluster that it watches."""

    def primaries_changed(self) -> None:
        """Take note that the primaries are others than before, or that the cluster is closed."""

    def redirected_by_ask(self, keys: Sequence[str]) -> None:
        """Take note that an ASK redirection leads these keys to a node that need not be a primary yet."""


class TopologyWatch:
    """The watchers of a cluster in one loop. `slot_map_of` asks one node for the slot map; `learn` asks several."""

    def __init__(
        self,
        topology: Topology,
        slot_map_of: Callable[[Address], Awaitable[SlotMap | None]],
        learn: Callable[[], asyncio.Future[bool]],
    ) -> None:
        self.confirmed = 0.0
        """When the slot map was last asked for and the answer was, or became, `topology`; monotonic seconds."""
        self._topology = topology
        self._slot_map_of = slot_map_of
        self._learn = learn
        self._watchers: list[Watcher] = []
        self._checking: asyncio.Task[None] | None = None

    def add(self, watcher: Watcher) -> None:
        """Call `watcher` when the primaries change, and when keys are redirected by ASK."""
        self._watchers.append(watcher)
        if self._checking is None or self._checking.done():
            self.confirmed = max(self.confirmed, monotonic())  # the first check follows at once
            self._checking = asyncio.get_running_loop().create_task(self._check(), context=contextvars.Context())

    def remove(self, watcher: Watcher) -> None:
        """Stop calling `watcher`."""
        self._watchers.remove(watcher)
        if not self._watchers:
            self._stop()

    def primaries_changed(self) -> None:
        """Tell the watchers that the primaries are others than before."""
        for watcher in self._watchers:
            watcher.primaries_changed()

    def redirected_by_ask(self, keys: Sequence[str]) -> None:
        """Tell the watchers that an ASK redirection leads these keys to a node that need not be a primary yet."""
        for watcher in self._watchers:
            watcher.redirected_by_ask(keys)

    def close(self) -> None:
        """Stop checking, and wake the watchers, so that they see that the cluster is closed."""
        self._stop()
        self.primaries_changed()

    def _stop(self) -> None:
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()

    async def _check(self) -> None:
        """Ask one primary for the slot map, again and again, another one each time.

        Not always the same one, because a primary that was cut off from the others believes in the old slot map.
        """
        for turn in itertools.count():
            primaries = self._topology.primaries
            if primaries:
                asked_at = monotonic()
                slot_map = await self._slot_map_of(primaries[turn % len(primaries)])
                if slot_map is not None and self._topology.matches(slot_map):
                    self.confirmed = asked_at
                elif slot_map is not None:
                    await asyncio.shield(self._learn())
            await asyncio.sleep(_INTERVAL)
