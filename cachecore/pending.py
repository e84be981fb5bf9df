"""Invalidations that the store has not acknowledged: kept, bounded, delivered as soon as it answers.

Until then this process treats what they name as gone: its own reads do not trust a store that has yet to hear of it.
What does not fit collapses upwards (a tag or a key into its namespace, a namespace into everything) and is never
dropped: invalidating too much costs computations, too little costs wrong answers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from cachecore.clock import Clock
from cachecore.errors import BackendError
from cachecore.options import StoreOptions
from cachecore.protocols import CacheBackend

logger = logging.getLogger("cachecore")

AGAIN_AFTER: Final = 5.0
"""Seconds after a delivery until it is delivered once more: a lagging replica may have brought old values back."""
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 1.0
_CHUNK: Final = 256


class Tombstone:
    """What is written under a deleted key, and for how long."""

    __slots__ = ("data", "ttl")

    def __init__(self, data: bytes, ttl: float) -> None:
        self.data = data
        self.ttl = ttl


Parents = tuple[tuple[str, ...], ...]
"""Stamp keys of the namespaces an item lies in, nearest first, everything last; several keys each where stamps have
copies."""


class PendingInvalidations:
    """What is still to be delivered. Safe to use from several threads; delivered by whichever loop adds to it."""

    def __init__(self, options: StoreOptions, backend: CacheBackend, *, clock: Clock, chance: random.Random) -> None:
        self._most = options.max_pending
        self._backend = backend
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[Tombstone, Parents]] = {}
        self._stamps: dict[str, Parents] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._entries) + len(self._stamps)

    def covers(self, key: str, stamp_keys: Iterable[str]) -> bool:
        """Return whether an entry under `key` with these stamps is to be treated as gone. Cheap while nothing pends."""
        if not self._entries and not self._stamps:
            return False
        return key in self._entries or any(stamp_key in self._stamps for stamp_key in stamp_keys)

    def add_stamps(self, stamp_keys: Collection[str], parents: Parents) -> None:
        """Keep the deletion of these stamps, and try it again until it is acknowledged. Needs a running loop."""
        with self._lock:
            self._stamps.update(dict.fromkeys(stamp_keys, parents))
            self._collapse()
        self._start()

    def add_entries(self, tombstones: Mapping[str, Tombstone], parents: Parents) -> None:
        """Keep the deletion of these entries, and try it again until it is acknowledged. Needs a running loop."""
        with self._lock:
            self._entries.update({key: (tombstone, parents) for key, tombstone in tombstones.items()})
            self._collapse()
        self._start()

    async def deliver(self) -> bool:
        """Try once to deliver everything; return whether nothing is left."""
        with self._lock:
            entries, stamps = dict(self._entries), dict(self._stamps)
        try:
            await self._send(entries, stamps)
        except BackendError:
            return False
        with self._lock:
            for key, sent in entries.items():
                if self._entries.get(key) is sent:
                    del self._entries[key]
            for key in stamps:
                self._stamps.pop(key, None)
            return not self._entries and not self._stamps

    async def aclose(self) -> None:
        """Try a last time, and stop trying; what is left is said in the log, by number."""
        for task in list(self._tasks):
            if task.get_loop() is asyncio.get_running_loop():
                task.cancel()
        if len(self) and not await self.deliver():
            logger.warning("%d invalidations were never acknowledged by the store and end with this process", len(self))

    async def _send(self, entries: Mapping[str, tuple[Tombstone, Parents]], stamps: Mapping[str, Parents]) -> None:
        names = list(stamps)
        for start in range(0, len(names), _CHUNK):
            await self._backend.delete_many(names[start : start + _CHUNK])
        by_ttl: dict[float, dict[str, bytes]] = {}
        for key, (tombstone, _) in entries.items():
            by_ttl.setdefault(tombstone.ttl, {})[key] = tombstone.data
        for ttl, items in by_ttl.items():
            keys = list(items)
            for start in range(0, len(keys), _CHUNK):
                await self._backend.set_many({key: items[key] for key in keys[start : start + _CHUNK]}, ttl=ttl)

    def _collapse(self) -> None:
        for level in (0, -1):  # into the nearest namespaces, then into everything
            if len(self) <= self._most:
                return
            parents = [parents for _, parents in self._entries.values()] + list(self._stamps.values())
            self._entries.clear()
            self._stamps = {key: chain for chain in parents for key in chain[level]}

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        if any(task.get_loop() is loop and not task.done() for task in self._tasks):
            return
        task = loop.create_task(self._keep_trying(), name="cachecore-pending")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_trying(self) -> None:
        wait = _FIRST_WAIT
        while True:
            await asyncio.sleep(wait * (0.5 + self._chance.random()))
            with self._lock:
                sent = dict(self._entries), dict(self._stamps)
            if await self.deliver():
                break
            wait = min(2 * wait, _LONGEST_WAIT)
        await asyncio.sleep(AGAIN_AFTER)
        try:
            await self._send(*sent)
        except BackendError:
            with self._lock:
                self._entries.update(sent[0])
                self._stamps.update(sent[1])
            await self._keep_trying()
