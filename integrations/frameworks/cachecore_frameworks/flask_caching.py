"""A backend of Flask-Caching: `CACHE_TYPE = "cachecore_frameworks.flask_caching.CacheCore"`.

`CACHE_OPTIONS` has `backend`, the URL of a store or a `Cache`, and options of `Cache`. Values are those of the
serializer `extended`, `Markup`, responses, which come back as Flask's `Response`, and errors of werkzeug. There is no
pickle: other objects, and responses that stream, raise `EncodingError`; a cached view logs that and returns its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from flask import Flask, Response
from flask_caching.backends.base import BaseCache
from markupsafe import Markup
from werkzeug.exceptions import HTTPException, default_exceptions

from cachecore import Cache, Computed, EncodingError, InvalidationPending, Lookup, SyncCache
from cachecore.contract.results import UNSET
from cachecore.serializers import ExtendedSerializer, Kind
from cachecore_frameworks._atomic import add, change


class _Abort:
    """An error of werkzeug on its way to bytes."""

    def __init__(self, error: HTTPException) -> None:
        extras = {name for name, value in vars(error).items() if value is not None} - {"description"}
        if extras or default_exceptions.get(error.code or 0) is not type(error):
            raise EncodingError(f"a {type(error).__name__} with a response or headers of its own cannot be stored")
        self.parts = [error.code, error.description]


def _parts(response: Response) -> list[Any]:
    if not response.is_sequence:
        raise EncodingError("a response that streams cannot be stored: return its whole data")
    return [response.get_data(), response.status, list(response.headers.items())]


def _response(parts: Any) -> Response:
    data, status, headers = parts
    response = Response(data, status)
    response.headers.clear()
    response.headers.extend(map(tuple, headers))
    return response


SERIALIZER: Final = ExtendedSerializer(
    [
        Kind(64, "response", Response, _parts, _response),
        Kind(65, "markup", Markup, str.__str__, Markup),
        Kind(66, "abort", _Abort, lambda abort: abort.parts, lambda parts: default_exceptions[parts[0]](parts[1])),
    ]
)
"""The serializer of these caches; a `Cache` given as `backend` has it or one of its own."""


def _storable(value: Any) -> Any:
    """Return `value`, a response of another class as the plain response that it sends, an error as its parts."""
    if isinstance(value, Response) and type(value) is not Response:
        return _response(_parts(value))
    return _Abort(value) if isinstance(value, HTTPException) else value


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
        made = {self._prefix + key: _storable(value) for key, value in mapping.items()}
        stored = self._sync.set_many(made, ttl=self._ttl(timeout))
        return [key for key, taken in zip(mapping, stored, strict=True) if taken]

    def add(self, key: str, value: Any, timeout: Any = None) -> bool:
        """Store a value if there is none, atomically; return whether it was stored."""
        return add(self._sync, self._prefix + key, _storable(value), ttl=self._ttl(timeout))

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
