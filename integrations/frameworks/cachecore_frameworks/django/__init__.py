"""A cache backend of Django: `CACHES = {"default": {"BACKEND": "cachecore_frameworks.django.CacheCore", …}}`.

`LOCATION` is the URL of a store, or a `Cache`; `OPTIONS` are those of `Cache`. Threads and aliases of one location and
options share one cache. Values are those of the serializer `extended`, Django's safe strings, and responses, which
come back as `HttpResponse`. There is no pickle: a model, a queryset or a function raises `EncodingError`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from cachecore import Cache, Computed, SyncCache
from cachecore.contract.results import UNSET
from cachecore_frameworks._atomic import add, change
from cachecore_frameworks.django._values import SERIALIZER, storable

__all__ = ["SERIALIZER", "CacheCore"]

_lock = threading.Lock()
_shared: dict[tuple[Any, str], tuple[Cache[Any], SyncCache[Any]]] = {}


def _caches(location: Any, ttl: float | None, options: Mapping[str, Any]) -> tuple[Cache[Any], SyncCache[Any]]:
    """Return both faces of the cache of a location; Django makes a backend for each thread and alias."""
    name = (location, repr(sorted(options.items())))
    with _lock:
        if name not in _shared:
            given: dict[str, Any] = {"ttl": ttl, "serializer": SERIALIZER, "jitter": 0.0, **options}
            cache = location if isinstance(location, Cache) else Cache(location or UNSET, **given)
            _shared[name] = (cache, SyncCache(cache))
        return _shared[name]


class CacheCore(BaseCache):
    """Django's cache on cachecore, with Django's own timeouts, versions, prefixes and key functions."""

    def __init__(self, location: Any, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._cache, self._sync = _caches(location, self.default_timeout, params.get("OPTIONS", {}))

    def _key(self, key: str, version: Any) -> Any:
        return self.make_and_validate_key(key, version=version)

    def _ttl(self, timeout: Any) -> Any:
        """Return seconds, 0 or less for a value that is not kept, or None for ever."""
        return self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout

    def get(self, key: str, default: Any = None, version: Any = None) -> Any:
        """Return the value, or `default`."""
        return self._sync.get(self._key(key, version), default)

    async def aget(self, key: str, default: Any = None, version: Any = None) -> Any:
        """As `get`, in the caller's own event loop."""
        return await self._cache.get(self._key(key, version), default)

    def get_many(self, keys: Iterable[str], version: Any = None) -> dict[str, Any]:
        """Return the values that there are, by key."""
        return self._sync.get_many({key: self._key(key, version) for key in keys})

    def get_or_set(self, key: str, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> Any:
        """Return the stored value, or that of `default`; one computation for all threads and processes."""

        def compute() -> Computed[Any]:
            return Computed(storable(default() if callable(default) else default), ttl=self._ttl(timeout))

        return self._sync.get_or_set(self._key(key, version), compute)

    def has_key(self, key: str, version: Any = None) -> bool:
        """Return whether there is a value."""
        return self._sync.exists(self._key(key, version))

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        """Store a value."""
        self.set_many({key: value}, timeout, version)

    def set_many(self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> list[str]:
        """Store values; return the keys of those that the store did not take."""
        made = {self._key(key, version): storable(value) for key, value in data.items()}
        ttl = self._ttl(timeout)
        if ttl is not None and ttl <= 0:
            self._sync.delete_many(list(made))
            return []
        return [key for key, stored in zip(data, self._sync.set_many(made, ttl=ttl), strict=True) if not stored]

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Store a value if there is none, atomically; return whether it was stored."""
        return add(self._sync, self._key(key, version), storable(value), ttl=self._ttl(timeout))

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        """Give a value another time to live; return whether there is one."""
        ttl = self._ttl(timeout)
        if ttl is not None and ttl <= 0:
            return self.delete(key, version)
        return self._changed(key, version, lambda known: Computed(known.value, ttl=ttl)) is not None

    def incr(self, key: str, delta: int = 1, version: Any = None) -> Any:
        """Add `delta` atomically; the value keeps its time. Raises ValueError if there is none."""
        new = self._changed(key, version, lambda known: Computed(known.value + delta, ttl=known.fresh_for))
        if new is None:
            raise ValueError(f"Key {key!r} not found: set it first")
        return new.value

    def _changed(self, key: str, version: Any, new: Callable[[Any], Computed[Any]]) -> Computed[Any] | None:
        return change(self._sync, self._key(key, version), lambda known: new(known) if known.found else None)

    def delete(self, key: str, version: Any = None) -> bool:
        """Delete a value; return whether there was one."""
        return self._sync.delete(self._key(key, version))

    def delete_many(self, keys: Iterable[str], version: Any = None) -> None:
        """Delete values."""
        self._sync.delete_many([self._key(key, version) for key in keys])

    def clear(self) -> None:
        """Delete all values of this location and namespace."""
        self._sync.invalidate_all()

    # The others' async forms of Django go through these in a thread, but three are made of several calls there.
    aget_many = sync_to_async(get_many)
    aget_or_set = sync_to_async(get_or_set)
    aincr = sync_to_async(incr)
    ahas_key = sync_to_async(has_key)
    aset_many = sync_to_async(set_many)
    adelete_many = sync_to_async(delete_many)
