"""PyKeyValueBackend: CacheBackend on a store of py-key-value, as far as such a store can keep the contract."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import logging
import math
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from key_value.aio.errors import BaseKeyValueError
from key_value.aio.protocols import AsyncKeyValue

from cachecore.contract import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    Clock,
    LoopLocal,
    OptionsError,
    SystemClock,
)

_log: Final = logging.getLogger("cachecore.keyvalue")

LIMITS: Final = (
    "no atomic swap between processes: one may undo an invalidation or a newer write of another",
    "no leases between processes: each may compute the same answer",
    "no scan: invalidating a namespace neither counts its entries nor gives their memory back before they end",
    "no feed: copies in memory live for l1_max_age only",
    "no extension of lives: the stamps of namespaces stay in the store for ever, those of tags for a day at least",
    "no marks: nothing notices that the store has gone back in time",
    "no clock of its own: the clocks of hosts are compared",
)
"""The abilities that a cache on such a store lacks."""
_STRIPES: Final = 64
_LONGEST_TTL: Final = 100 * 365.25 * 86_400


class PyKeyValueBackend:
    """CacheBackend on a store of py-key-value, which the caller makes and closes.

    A value is a dict of its key, its deadline and its bytes as base64 text. Its end is judged by this host's clock,
    since many of these stores know whole seconds only. Use it in one event loop, unless the store may be used in more.
    """

    limits: Sequence[str] = LIMITS
    """Shown by `Cache.health()` and `cachecore doctor`, and logged when a backend is built."""

    def __init__(self, store: AsyncKeyValue, *, collection: str = "cachecore", clock: Clock | None = None) -> None:
        if not isinstance(store, AsyncKeyValue):
            raise OptionsError(f"store must be a store of py-key-value (key_value.aio.stores), not {store!r}")
        name: object = collection
        if not isinstance(name, str) or not name:
            raise OptionsError(f"collection must be a name, not {name!r}")
        self._store = store
        self._collection = collection
        self._clock = clock or SystemClock()
        self._locks: LoopLocal[list[asyncio.Lock]] = LoopLocal()
        self._closed = False
        _log.warning("%s on %s: %s", type(self).__name__, type(store).__name__, "; ".join(LIMITS))

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`: one call of the store."""
        with self._translated("get_many"):
            found = await self._read(list(dict.fromkeys(keys))) if keys else {}
            return [found.get(key) for key in keys]

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key; it lives `ttl` seconds of this host's clock. One call of the store."""
        with self._translated("set_many"):
            async with self._locked(items):
                if items:
                    await self._write(items, ttl)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many were alive: two calls of the store."""
        unique = list(dict.fromkeys(keys))
        with self._translated("delete_many"):
            async with self._locked(unique):
                alive = await self._read(unique) if unique else {}
                if unique:
                    await self._store.delete_many(unique, collection=self._collection)
                return len(alive)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Set the value to `new` if it is `old` now; return whether it was. Not atomic between processes."""
        with self._translated("swap"):
            async with self._locked([key]):
                if (await self._read([key])).get(key) != old:
                    return False
                if new is not None:
                    await self._write({key: new}, ttl)
                elif old is not None:
                    await self._store.delete(key, collection=self._collection)
                return True

    async def about(self, prefix: str) -> Mapping[str, Mapping[str, str]]:
        """Return which store it is, for people. Writes nothing."""
        return {type(self._store).__name__: {"collection": self._collection, "swap": "not atomic between processes"}}

    async def aclose(self) -> None:
        """Refuse later calls. The store is the caller's to close. Idempotent."""
        self._closed = True

    async def _read(self, keys: list[str]) -> dict[str, bytes]:
        """Return the live values among `keys`."""
        now = self._clock.time()
        found = zip(keys, await self._store.get_many(keys, collection=self._collection), strict=True)
        return {key: value for key, entry in found if (value := _alive(key, entry, now)) is not None}

    async def _write(self, items: Mapping[str, bytes], ttl: float | None) -> None:
        ends = None if ttl is None or ttl > _LONGEST_TTL else self._clock.time() + ttl
        values = [{"key": key, "ends": ends, "value": base64.b64encode(value).decode()} for key, value in items.items()]
        # A whole number above: many stores cut fractions, and the deadline within is the one that counts.
        kept = None if ttl is None or ends is None else math.ceil(ttl) + 1
        await self._store.put_many(list(items), values, collection=self._collection, ttl=kept)

    @contextlib.asynccontextmanager
    async def _locked(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Keep other writes of this loop from these keys: each swap reads and writes with nothing between."""
        loop = asyncio.get_running_loop()
        locks = self._locks.get(loop)
        if locks is None:
            locks = [asyncio.Lock() for _ in range(_STRIPES)]
            self._locks.set(loop, locks)
        async with contextlib.AsyncExitStack() as stack:
            for stripe in sorted({zlib.crc32(key.encode()) % _STRIPES for key in keys}):
                await stack.enter_async_context(locks[stripe])
            yield

    @contextlib.contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        """Raise each exception of the store as `BackendError`: stores raise their drivers' own."""
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")
        try:
            yield
        except TimeoutError as error:
            raise BackendTimeout(operation) from error
        except (ConnectionError, BaseKeyValueError) as error:
            raise BackendUnavailable(operation) from error
        except Exception as error:  # each store raises its driver's own
            raise BackendError(operation, transient=True) from error


def _alive(key: str, entry: Mapping[str, Any] | None, now: float) -> bytes | None:
    """Return the value in a store's record; None if it has expired, or is no value of `key`."""
    if entry is None or entry.get("key") != key:
        return None
    ends, text = entry.get("ends"), entry.get("value")
    if not isinstance(text, str) or not (ends is None or (isinstance(ends, int | float) and ends > now)):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def from_url(url: str, *, clock: Clock | None = None) -> PyKeyValueBackend:
    """Return a backend for `keyvalue://package.module/name`: `name` is a store, or a function that makes one.

    Raises:
        OptionsError: there is no such module or name, or it is no store.
    """
    parts = urlsplit(url)
    module, name = parts.netloc, unquote(parts.path.strip("/"))
    if not module or not name.isidentifier() or parts.query or parts.fragment:
        raise OptionsError(f"a store of py-key-value is named by keyvalue://package.module/name, not {url!r}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise OptionsError(f"{url!r} names no store: {error}") from error
    return PyKeyValueBackend(found if isinstance(found, AsyncKeyValue) else found(), clock=clock)
