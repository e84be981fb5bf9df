"""A backend of Flask-Caching: `CACHE_TYPE = "cachecore_frameworks.flask_caching.CacheCore"`.

`CACHE_OPTIONS` has `backend`, the URL of a store or a `Cache`, and options of `Cache`. Values are those of the
serializer `extended`, `Markup`, responses, which come back as Flask's `Response`, and errors of werkzeug. There is no
pickle: other objects, and responses that stream, raise `EncodingError`; a cached view logs that and returns its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from flask import Flask
from flask_caching.backends.base import BaseCache

from cachecore import Cache, Computed, InvalidationPending, Lookup, SyncCache
from cachecore.contract.results import UNSET
from cachecore_frameworks._atomic import add, change
from cachecore_frameworks.flask_caching._values import SERIALIZER, storable

__all__ = ["SERIALIZER", "CacheCore"]


class CacheCore(BaseCache):
    """Flask-Caching's cache on cachecore. Timeouts are seconds; 0 means for ever, None the default."""

    def __init__(
        self,
        backend: Any = UNSET,
        default_timeout: int = 300,
        ignore_delete_many_errors: bool = False,
        key_prefix: str = "",
        **options: Any,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        given = {"ttl": default_timeout or None, "serializer": SERIALIZER, "jitter": 0.0, **options}
        self._sync: SyncCache[Any] = SyncCache(backend, **({} if isinstance(backend, Cache) else given))
        self._prefix = key_prefix

    @classmethod
    def factory(cls, app: Flask, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]) -> CacheCore:
        """Return the backend of an application's settings."""
        return cls(*args, **{"key_prefix": config.get("CACHE_KEY_PREFIX") or "", **kwargs})

    def _ttl(self, timeout: Any) -> int | None:
        return self._normalize_timeout(timeout) or None

    def get(self, key: str) -> Any:
        """Return the value, or None."""
        return self._sync.get(self._prefix + key)

    def get_many(self, *keys: str) -> list[Any]:
        """Return the values in the order of `keys`, None where there is none."""
        found = self._sync.get_many([self._prefix + key for key in keys])
        return [found.get(self._prefix + key) for key in keys]

    def has(self, key: str) -> bool:
        """Return whether there is a value."""
        return self._sync.exists(self._prefix + key)

    def set(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value; return whether the store took it."""
        return self.set_many({key: value}, timeout) == [key]

    def set_many(self, mapping: Mapping[str, Any], timeout: Any = None) -> list[str]:
        """Store values in one round trip; return the keys of those that the store took."""
        made = {self._prefix + key: storable(value) for key, value in mapping.items()}
        stored = self._sync.set_many(made, ttl=self._ttl(timeout))
        return [key for key, taken in zip(mapping, stored, strict=True) if taken]

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value if there is none, atomically; return whether it was stored."""
        return add(self._sync, self._prefix + key, storable(value), ttl=self._ttl(timeout))

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add `delta` atomically, to 0 if there is no value; None if the store failed. The value keeps its time."""

        def plus(known: Lookup[Any]) -> Computed[Any]:
            return Computed((known.value or 0) + delta, ttl=known.fresh_for if known.found else self._ttl(None))

        with suppress(InvalidationPending):
            new = change(self._sync, self._prefix + key, plus)
            return None if new is None else new.value
        return None

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract `delta`, as `inc`."""
        return self.inc(key, -delta)

    def delete(self, key: str) -> bool:
        """Delete a value; return whether there was one."""
        return self._sync.delete(self._prefix + key)

    def clear(self) -> bool:
        """Delete all values of this namespace."""
        self._sync.invalidate_all()
        return True
