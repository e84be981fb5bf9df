"""The base of every face of a cache: one view, its keys, its counts, and how its arguments are read."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Generic, TypeVar

from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.options import Duration, lifetime, seconds
from cachecore.contract.results import Unset
from cachecore.engine.counts import Stats
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.health import health
from cachecore.engine.scope import Scope

V = TypeVar("V")


class View(Generic[V]):
    """One view of a cache. Its calls are in subclasses; `Cache` is all of them."""

    __slots__ = ("__weakref__", "_counts", "_engine", "_find_value", "_key_of", "_scope")

    def _use(self, scope: Scope) -> None:
        self._scope = scope
        self._engine = scope.engine
        self._key_of = scope.key_of
        self._find_value = scope.find_value
        self._counts = scope.telemetry.counts

    def key(self, request: Any) -> str:
        """Return the key of `request`. Raises UnkeyableError."""
        return self._key_of(request)

    @property
    def stats(self) -> Stats:
        """The counts so far; a snapshot."""
        return self._scope.telemetry.counts.snapshot()

    async def health(self) -> dict[str, object]:
        """Return the state of the parts; asks the store, never raises, and is bounded by the store's deadline."""
        return await health(self._engine)

    def _checked(self, ttl: Duration | Unset | None) -> float | Unset | None:
        return ttl if isinstance(ttl, Unset) else lifetime("ttl", ttl)

    def _life(self, ttl: Duration | Unset | None) -> float | None:
        return self._scope.policy.ttl if isinstance(ttl, Unset) else lifetime("ttl", ttl)

    def _aged(self, max_age: Duration) -> Scope:
        oldest = seconds("max_age", max_age)
        if not oldest >= 0:
            raise OptionsError(f"max_age must be 0 seconds or more, not {max_age!r}")
        return self._scope.aged(oldest)

    def _open(self, call: str) -> LoopState:
        """Return the state of the running loop for an explicit `call`. Raises CacheError once the cache is closed."""
        self._refuse_closed(call)
        return self._engine.state()

    def _refuse_closed(self, call: str) -> None:
        if self._engine.closed:
            raise CacheError(
                f"{call} was called after the cache was closed: close it once its last user has ended, or make another "
                "one; get_or_set and cached functions still compute"
            )

    def _span(self, name: str) -> AbstractContextManager[object]:
        return self._scope.telemetry.span(name)
