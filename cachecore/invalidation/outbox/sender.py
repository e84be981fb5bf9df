"""Invalidations on their way to the store: to each of its nodes by itself, so that a dead one keeps back only its own.

Stamps are deleted and entries get a tombstone. A full store refuses tombstones but deletes: then the old bytes are
deleted at once, so that they are never served, and the tombstone is still owed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import CacheBackend, SupportsPartitions
from cachecore.invalidation.outbox.backlog import Invalidation, digest_of

FULL: Final = "full"
"""The reason of an error by which a store says that it has no room; it can still delete."""
T = TypeVar("T")

_CHUNK: Final = 256
_NODES_AT_ONCE: Final = 16


class Beside(Protocol):
    """Awaits a write together with the advance of the marks of the items that it removes."""

    def __call__(self, items: Sequence[Invalidation], begin: Callable[[], Awaitable[T]], /) -> Awaitable[T]:
        """Return the result of the write that `begin` starts. Raises BackendError."""


class Tombstone:
    """The bytes that are written under a deleted key, and their ttl in seconds."""

    __slots__ = ("data", "ttl")

    def __init__(self, data: bytes, ttl: float) -> None:
        self.data = data
        self.ttl = ttl


class Sender:
    """Sends invalidations to a store. Safe to use from several tasks and threads.

    `bury` makes a tombstone for a key, another one each time: a reader of an earlier one must not take a later one for
    it. `beside` advances the marks of the items that a write removes.
    """

    def __init__(self, backend: CacheBackend, bury: Callable[[str], Tombstone], beside: Beside) -> None:
        self._backend = backend
        self._bury = bury
        self._beside = beside
        self._partition = backend.partition if isinstance(backend, SupportsPartitions) else None
        self._full: set[str] = set()  # partitions that had no room the last time
        self._emptied: set[Invalidation] = set()  # their old bytes are gone, their tombstones are owed

    async def send(
        self,
        items: Collection[Invalidation],
        acknowledged: Callable[[list[Invalidation]], None],
        *,
        repeated: bool = False,
    ) -> BackendError | None:
        """Send these once; return the first error, if there was one.

        `acknowledged` is called with the items of each node as soon as that node has acknowledged them. `repeated`
        items are taken to have their tombstones, which stay where the store is too full for others.
        """
        if self._emptied and not repeated:
            self._emptied.intersection_update(items)
        parts = self._parts(items)
        if len(parts) == 1:
            ((name, part),) = parts.items()
            return await self._send_part(name, part, acknowledged, repeated)
        places = asyncio.Semaphore(_NODES_AT_ONCE)

        async def send_part(name: str, part: list[Invalidation]) -> BackendError | None:
            async with places:
                return await self._send_part(name, part, acknowledged, repeated)

        errors = await asyncio.gather(*(send_part(name, part) for name, part in parts.items()))
        return next(filter(None, errors), None)

    async def empty(self, items: Iterable[Invalidation]) -> None:
        """Delete the bytes of these entries, without tombstones. A failure is left to the next `send`."""

        left = [item for item in items if not item.is_stamp and item not in self._emptied]
        await asyncio.gather(*map(self._empty_part, self._parts(left).values()))

    async def _empty_part(self, items: Sequence[Invalidation]) -> None:
        with contextlib.suppress(BackendError):
            for chunk in _chunks(items, _CHUNK):
                await self._backend.delete_many([item.name for item in chunk])
                self._emptied.update(chunk)

    async def _send_part(
        self,
        name: str,
        items: Sequence[Invalidation],
        acknowledged: Callable[[list[Invalidation]], None],
        repeated: bool,
    ) -> BackendError | None:
        done: list[Invalidation] = []
        whole = [item for item in items if item.was is None]
        entries = [item for item in whole if not item.is_stamp]
        try:
            for chunk in _chunks([item for item in whole if item.is_stamp], _CHUNK):
                await self._beside(chunk, partial(self._backend.delete_many, [item.name for item in chunk]))
                done += chunk
            # Where there was no room the last time, one is enough to find out whether there is now.
            for chunk in _chunks(entries, _CHUNK, first=1 if name in self._full else _CHUNK):
                tombstones = {item.name: self._bury(item.name) for item in chunk}
                write = partial(
                    self._backend.set_many,
                    {key: tombstone.data for key, tombstone in tombstones.items()},
                    ttl=max(tombstone.ttl for tombstone in tombstones.values()),
                )
                await self._beside(chunk, write)
                done += chunk
            for chunk in _chunks([item for item in items if item.was is not None], _CHUNK):
                await self._send_what_came_back(chunk)
                done += chunk
            self._full.discard(name)
        except BackendError as error:
            if error.reason == FULL and not repeated:
                self._full.add(name)
                await self.empty(set(entries).difference(done))
            return error
        finally:
            if done:
                acknowledged(done)
        return None

    async def _send_what_came_back(self, items: Sequence[Invalidation]) -> None:
        """Remove the values that these had removed before and that are back, and no newer value."""
        values = await self._backend.get_many([item.name for item in items])
        for item, there in zip(items, values, strict=True):
            if there is None or item.was is None:
                continue
            if item.is_stamp and there in item.was:
                await self._beside([item], partial(self._backend.swap, item.name, there, None, ttl=None))
            elif not item.is_stamp and digest_of(there) in item.was:
                tombstone = self._bury(item.name)
                write = partial(self._backend.swap, item.name, there, tombstone.data, ttl=tombstone.ttl)
                await self._beside([item], write)

    def _parts(self, items: Iterable[Invalidation]) -> dict[str, list[Invalidation]]:
        """Return the items of each node."""
        parts: dict[str, list[Invalidation]] = {}
        for item in items:
            parts.setdefault(self._node(item.name), []).append(item)
        return parts

    def _node(self, key: str) -> str:
        try:
            return "" if self._partition is None else self._partition(key)
        except Exception:  # noqa: BLE001 - the guard meets it again when it is asked, and says so in the log
            return ""


def _chunks(items: Sequence[Invalidation], most: int, *, first: int | None = None) -> Iterable[Sequence[Invalidation]]:
    start, end = 0, most if first is None else first
    while start < len(items):
        yield items[start:end]
        start, end = end, end + most
