"""SQLiteBackend: CacheBackend on the thread pool, with calls split into transactions of bounded size."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from cachecore.contract import BackendError, Clock, FeedEvent, Link, SystemClock
from cachecore_sqlite.file.presence import absence, facts
from cachecore_sqlite.options import SQLiteOptions, absolute, parse_url
from cachecore_sqlite.table import rows
from cachecore_sqlite.table.transaction import Transaction, cost
from cachecore_sqlite.threads.pool import ThreadPool

_KEYS_PER_TRANSACTION: Final = 256
_PARTS: Final = 16
_CLOSE_SECONDS: Final = 2.0
_BEFORE_FIRST_ID: Final = -(1 << 63)  # ids start at 1, in a damaged file anywhere


class SQLiteBackend:
    """CacheBackend in one SQLite file, or in memory for `:memory:`.

    Any number of tasks, event loops, threads and processes may use one file at once. The constructor does nothing: the
    first call opens the file, in a thread. A write is acknowledged once it is committed. A database in memory belongs
    to this process; a forked child starts with an empty one.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, options: SQLiteOptions | None = None, clock: Clock | None = None
    ) -> None:
        self.path = absolute(path)
        self.options = options or SQLiteOptions()
        self._clock = clock or SystemClock()
        self._pool = ThreadPool(self.path, self.options, self._clock)
        # A backend dropped without `aclose` also ends its threads, and leaves a file without a WAL.
        self._finalizer = weakref.finalize(self, ThreadPool.stop, self._pool, _CLOSE_SECONDS)

    def __repr__(self) -> str:
        return f"SQLiteBackend({self.path!r})"

    # Calls of one job return its future instead of a coroutine: a task and two turns of the loop are a third of the
    # time of a small write.

    def get_many(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """Return the live values in the order of `keys`: read in this thread, or with one hop to another."""
        return self._pool.read("get_many", keys) if keys else self._pool.immediate("get_many", [])

    def read_now(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """Return the live values as `get_many` does, read in this thread; None: ask `get_many`."""
        return self._pool.direct.read(keys)

    def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> Awaitable[None]:
        """Replace each key; it lives `ttl` seconds of this machine's clock. At most 256 keys per transaction."""
        deadline = self._deadline(ttl)
        if len(items) == 1:
            return self._put(dict(items), deadline)
        return self._set_chunks(items, deadline)

    async def _set_chunks(self, items: Mapping[str, bytes], deadline: float | None) -> None:
        await self._pool.immediate("set_many", None)
        for chunk in _chunks(items, self.options.transaction_bytes):
            await self._put(chunk, deadline)

    def _put(self, items: dict[str, bytes], deadline: float | None) -> asyncio.Future[None]:
        return self._pool.write("set_many", Transaction.put, items, deadline)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many existed."""
        unique = list(dict.fromkeys(keys))
        deleted: int = await self._pool.immediate("delete_many", 0)
        # Each key may be on a page of its own, and file and WAL together are bounded by `max_bytes`.
        most = min(_KEYS_PER_TRANSACTION, self.options.transaction_bytes // cost(b""))
        for start in range(0, len(unique), most):
            chunk = unique[start : start + most]
            deleted += await self._delete(chunk)
        return deleted

    async def _delete(self, keys: list[str]) -> int:
        try:
            deleted: int = await self._pool.write("delete_many", Transaction.drop, keys)
        except BackendError as error:
            if error.reason != "full" or len(keys) == 1:
                raise
            # Fewer keys need less space at a time.
            part = -(-len(keys) // _PARTS)
            return sum([await self._delete(keys[start : start + part]) for start in range(0, len(keys), part)])
        return deleted

    def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> Awaitable[bool]:
        """Set the value to `new` if it is `old` now; return whether it was. Atomic between processes."""
        return self._pool.write("swap", Transaction.swap, key, old, new, self._deadline(ttl), expected=(key, old))

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it."""
        deadline = self._deadline(ttl)
        there: list[bool] = await self._pool.immediate("extend", [])
        for chunk in _chunks(items, self.options.transaction_bytes):
            there += await self._pool.write("extend", Transaction.extend, chunk, deadline)
        return there

    def advance(self, key: str) -> Awaitable[int]:
        """Add one to the counter under `key` and return it: a row in the transaction of the writes before it."""
        return self._pool.write("advance", Transaction.advance, key)

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`, the oldest first.

        Each page comes from 512 entries, so a scan reads all entries for any prefix.
        """
        after: int | None = _BEFORE_FIRST_ID
        while after is not None:
            keys, after = await self._pool.query("scan", partial(rows.page, prefix=prefix, after=after))
            if keys:
                yield keys

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield changes of keys that start with `prefix`, including this process's own; ends when the backend is
        closed.

        A change of another process comes at most `feed_interval` and one hop after its commit.
        """
        listener = self._pool.subscribe(prefix)
        try:
            while (event := await listener.event()) is not None:
                yield event
        finally:
            self._pool.unsubscribe(listener)

    def sizes(self, keys: Sequence[str]) -> Awaitable[list[int]]:
        """Return the length of each key's live value in bytes, 0 where there is none."""
        return self._pool.sizes(list(keys))

    def link(self, key: str) -> Link | None:
        """Return since when the file is open; None while it is being opened or made."""
        return self._pool.link()

    def limit_waits(self, *, connect: float, silence: float) -> None:
        """Let opening the file wait for other processes for `connect` seconds; a file cannot fall silent."""
        self._pool.limit_opening(connect)

    def absence(self) -> str | None:
        """Return why there is no cache at the path, in words for people; None if there is one. Makes nothing."""
        return absence(self.path)

    async def about(self, prefix: str) -> Mapping[str, Mapping[str, str]]:
        """Return facts about the file, as text for people, under its name. Opens and writes nothing."""
        return {os.path.basename(self.path): await asyncio.to_thread(facts, self.path, self.options)}

    async def time(self) -> float:
        """Return this machine's clock, Unix seconds: all users of the file are on one machine."""
        return self._clock.time()

    async def aclose(self) -> None:
        """Finish the calls that wait, close the file, end the threads. Idempotent."""
        self._finalizer.detach()
        await asyncio.to_thread(self._pool.stop, _CLOSE_SECONDS)

    def _deadline(self, ttl: float | None) -> float | None:
        return None if ttl is None else self._clock.time() + ttl


def _chunks(items: Mapping[str, bytes], most: int) -> Iterator[dict[str, bytes]]:
    """Split `items` into the sets of single transactions, of about `most` bytes each."""
    chunk: dict[str, bytes] = {}
    size = 0
    for key, value in items.items():
        if chunk and (size + cost(value) > most or len(chunk) == _KEYS_PER_TRANSACTION):
            yield chunk
            chunk, size = {}, 0
        chunk[key] = value
        size += cost(value)
    if chunk:
        yield chunk


def from_url(url: str, *, clock: Clock | None = None) -> SQLiteBackend:
    """Return a backend for a URL such as `sqlite:///cache.db?max_bytes=256MiB`. Raises `OptionsError`.

    `clock` must be that of every other user of the file.
    """
    path, options = parse_url(url)
    return SQLiteBackend(path, options=options, clock=clock)
