"""The calls of a `SyncCache` that concern many requests at once, and how any call of it is carried to the loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar, overload

from cachecore.api.answers import Answers
from cachecore.api.loop_thread import LoopThread
from cachecore.api.many import Unhashable
from cachecore.api.thread_factories import run_with_factory
from cachecore.contract.options import Duration
from cachecore.contract.results import UNSET, Computed, Unset

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class SyncMany(Generic[V]):
    """The calls for many answers, from threads."""

    _cache: Answers[V]
    _thread: LoopThread

    @overload
    def get_many(self, requests: Sequence[Unhashable], *, tags: Sequence[str] = ()) -> dict[int, V]: ...
    @overload
    def get_many(self, requests: Sequence[R] | Mapping[R, Any], *, tags: Sequence[str] = ()) -> dict[R, V]: ...
    def get_many(self, requests: Sequence[Any] | Mapping[Any, Any], *, tags: Sequence[str] = ()) -> dict[Any, V]:
        """Return the fresh answers among `requests`; see `Cache.get_many`."""
        return self._run(self._cache.get_many(requests, tags=tags))

    def set_many(
        self,
        items: Mapping[R, V | Computed[V]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        required: bool = False,
    ) -> list[bool]:
        """Store several answers in one round trip; see `Cache.set_many`."""
        return self._run(self._cache.set_many(items, ttl=ttl, tags=tags, required=required))

    def delete_many(self, requests: Sequence[Any]) -> int:
        """Delete several answers; see `Cache.delete_many`."""
        return self._run(self._cache.delete_many(requests))

    @overload
    def get_or_set_many(  # type: ignore[overload-overlap]  # the first that fits counts: names, then positions
        self,
        requests: Sequence[R] | Mapping[R, Any],
        factory: Callable[[list[R]], Mapping[R, Computed[T]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[R, T]: ...
    @overload
    def get_or_set_many(  # type: ignore[overload-overlap]  # the first that fits counts: names, then positions
        self,
        requests: Sequence[R] | Mapping[R, Any],
        factory: Callable[[list[R]], Mapping[R, T | Computed[T]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[R, T]: ...
    @overload  # called by their positions
    def get_or_set_many(
        self,
        requests: Sequence[Any],
        factory: Callable[[list[int]], Mapping[int, Computed[T]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[int, T]: ...
    @overload
    def get_or_set_many(
        self,
        requests: Sequence[Any],
        factory: Callable[[list[int]], Mapping[int, T | Computed[T]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[int, T]: ...
    def get_or_set_many(
        self,
        requests: Sequence[Any] | Mapping[Any, Any],
        factory: Callable[[list[Any]], Mapping[Any, Any]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[Any, Any]:
        """Return the answers; the missing ones are computed together in this thread; see `Cache.get_or_set_many`."""

        def call(carried: Callable[..., Any]) -> Coroutine[Any, Any, dict[Any, Any]]:
            return self._cache.get_or_set_many(requests, carried, ttl=ttl, tags=tags)

        return self._with_factory(factory, call)

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._thread.submit(call).result()

    def _with_factory(
        self, factory: Callable[..., Any], call: Callable[[Callable[..., Any]], Coroutine[Any, Any, T]]
    ) -> T:
        return run_with_factory(self._thread, factory, call)
