"""Invalidations that the store has not acknowledged: kept, bounded, delivered as soon as it answers.

Until then this process treats what they name as gone: its own reads do not trust a store that has yet to hear of it,
nor a read that began before the store had heard.
What does not fit collapses upwards (a tag or a key into its namespace, a namespace into everything) and is never
dropped: invalidating too much costs computations, too little costs wrong answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from cachecore.clock import Clock
from cachecore.errors import BackendError
from cachecore.options import StoreOptions
from cachecore.protocols import CacheBackend

logger = logging.getLogger("cachecore")

AGAIN_AFTER: Final = 5.0
"""Seconds after a delivery until it is delivered once more: a lagging replica may have brought old values back."""
_FIRST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 0.3
"""Seconds between two attempts, half as much again at most: an open breaker refuses most of them at no cost, and half a
second after an outage no other process may be serving what was invalidated in it."""
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
    """What is still to be delivered. Safe to use from several threads; delivered by whichever loop adds to it.

    `delivered` is told the keys of entries and of stamps each time the store has acknowledged them.
    """

    def __init__(
        self,
        options: StoreOptions,
        backend: CacheBackend,
        *,
        clock: Clock,
        chance: random.Random,
        delivered: Callable[[Collection[str], Collection[str]], None],
    ) -> None:
        self._most = options.max_pending
        self._backend = backend
        self._now = clock.monotonic
        self._chance = chance
        self._delivered = delivered
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[Tombstone, Parents]] = {}
        self._stamps: dict[str, Parents] = {}
        self._acknowledged: dict[str, float] = {}  # key -> when; kept until the repetition, for reads under way
        self._again: list[_Repetition] = []
        self._tasks: dict[asyncio.Task[None], _Signals] = {}

    def __len__(self) -> int:
        return len(self._entries) + len(self._stamps)

    @property
    def busy(self) -> bool:
        """Whether `covers` may say yes to anything."""
        return bool(self._entries or self._stamps or self._acknowledged)

    def covers(self, key: str, stamp_keys: Iterable[str], asked_at: float) -> bool:
        """Return whether an entry under `key` with these stamps, asked for at `asked_at`, is to be treated as gone.

        Cheap while nothing pends.
        """
        if not self.busy:
            return False
        return any(
            name in self._entries or name in self._stamps or self._acknowledged.get(name, -math.inf) >= asked_at
            for name in (key, *stamp_keys)
        )

    def withholds(self, stamp_key: str) -> bool:
        """Return whether this stamp is to be treated as gone, whatever the store says."""
        return stamp_key in self._stamps

    def add_stamps(self, stamp_keys: Collection[str], parents: Parents) -> None:
        """Keep the deletion of these stamps, and try it again until it is acknowledged. Needs a running loop."""
        with self._lock:
            self._stamps.update(dict.fromkeys(stamp_keys, parents))
            self._collapse()
        self.attend()

    def add_entries(self, tombstones: Mapping[str, Tombstone], parents: Parents) -> None:
        """Keep the deletion of these entries, and try it again until it is acknowledged. Needs a running loop."""
        with self._lock:
            self._entries.update({key: (tombstone, parents) for key, tombstone in tombstones.items()})
            self._collapse()
        self.attend()

    def settle(self, keys: Iterable[str]) -> None:
        """Forget the deletion of these entries: the store has acknowledged something newer under their keys."""
        if not self._entries and not self._again:
            return
        with self._lock:
            for key in keys:
                self._entries.pop(key, None)
                for repetition in self._again:
                    repetition.entries.pop(key, None)

    async def deliver(self) -> bool:
        """Try once to deliver everything; return whether nothing is left."""
        with self._lock:
            entries, stamps = dict(self._entries), dict(self._stamps)
        try:
            await self._send(entries, stamps)
        except BackendError:
            return False
        with self._lock:
            now = self._now()
            self._acknowledged.update(dict.fromkeys((*entries, *stamps), now))
            self._again.append(_Repetition(now + AGAIN_AFTER, entries, stamps))
        self._delivered(list(entries), list(stamps))
        with self._lock:
            # What was added again meanwhile is another invalidation, which the store has not acknowledged.
            for key, sent in entries.items():
                if self._entries.get(key) is sent:
                    del self._entries[key]
            for key, parents in stamps.items():
                if self._stamps.get(key) is parents:
                    del self._stamps[key]
            return not self._entries and not self._stamps

    def attend(self) -> None:
        """See that the running loop delivers what there is."""
        if not len(self) and not self._again:
            return
        loop = asyncio.get_running_loop()
        for task, signals in list(self._tasks.items()):
            if task.get_loop() is loop and not task.done():
                signals.added.set()
                return
        signals = _Signals()
        task = loop.create_task(self._keep_trying(signals), name="cachecore-pending")
        self._tasks[task] = signals
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def hurry(self) -> None:
        """Try again soon: the store has shown a sign of life. May be called from any thread."""
        for task, signals in list(self._tasks.items()):
            with contextlib.suppress(RuntimeError):  # its loop is closed, and so is what it had to do
                task.get_loop().call_soon_threadsafe(signals.alive.set)

    async def aclose(self) -> None:
        """Try a last time, and stop trying; what is left is said in the log, by number."""
        loop = asyncio.get_running_loop()
        trying = [task for task in list(self._tasks) if task.get_loop() is loop]
        for task in trying:
            task.cancel()
        if trying:
            await asyncio.wait(trying)
        if len(self) and not await self.deliver():
            logger.warning("%d invalidations were never acknowledged by the store and end with this process", len(self))

    def after_fork(self) -> None:
        """Start anew in a child process: what is pending pends here too, but nobody delivers it yet."""
        self._lock = threading.Lock()
        self._tasks = {}

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

    async def _keep_trying(self, signals: _Signals) -> None:
        wait = _FIRST_WAIT
        while True:
            if len(self):
                if await _set_within(signals.alive, wait * (0.5 + self._chance.random())):
                    signals.alive.clear()
                    wait = _FIRST_WAIT / 2  # the first attempt may be refused, and be what makes the guard look
                wait = _FIRST_WAIT if await self.deliver() else min(2 * wait, _LONGEST_WAIT)
                continue
            with self._lock:
                due = min((repetition.at for repetition in self._again), default=None)
            if due is None:
                return
            if due <= self._now():
                await self._repeat()
                continue
            signals.added.clear()
            await _set_within(signals.added, due - self._now())

    async def _repeat(self) -> None:
        now = self._now()
        with self._lock:
            due = [repetition for repetition in self._again if repetition.at <= now]
        for repetition in due:
            entries, stamps = dict(repetition.entries), repetition.stamps
            try:
                await self._send(entries, stamps)
            except BackendError:
                repetition.at = self._now() + _LONGEST_WAIT
                continue
            self._delivered(list(entries), list(stamps))
            with self._lock:
                self._again = [other for other in self._again if other is not repetition]
                kept = {key for other in self._again for key in (*other.entries, *other.stamps)}
                self._acknowledged = {key: at for key, at in self._acknowledged.items() if key in kept}


class _Signals:
    """What one loop's delivery is woken by."""

    __slots__ = ("added", "alive")

    def __init__(self) -> None:
        self.added = asyncio.Event()
        self.alive = asyncio.Event()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set, at most so long; return whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    return event.is_set()


class _Repetition:
    """What was delivered once and is delivered again at the monotonic second `at`."""

    __slots__ = ("at", "entries", "stamps")

    def __init__(self, at: float, entries: dict[str, tuple[Tombstone, Parents]], stamps: Mapping[str, Parents]) -> None:
        self.at = at
        self.entries = entries
        self.stamps = stamps
