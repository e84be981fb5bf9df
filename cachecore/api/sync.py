"""`SyncCache`: the same cache for threads.

One thread runs an event loop with the async cache on it; calls are carried there and back. Copies in memory are read
in the caller's own thread and never enters the loop. A factory runs in its caller's own thread too, so that thread
locals, database sessions and blocking code are where their author expects them; callers of one key in other threads
wait for it, as they do in `Cache`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, Unpack, cast, overload

from cachecore.api.answers import Answers
from cachecore.api.cache import Cache, function_options
from cachecore.api.cached_calls import CallOptions
from cachecore.api.function_types import (
    SyncCachedClassMethod,
    SyncCachedFunction,
    SyncCachedStaticMethod,
    SyncDecorator,
)
from cachecore.api.loop_thread import LoopThread
from cachecore.api.option_types import BuildOptions, ConfigArguments, PolicyOptions, ViewOptions
from cachecore.api.signatures import Vary
from cachecore.api.sync_claims import SyncClaim
from cachecore.api.sync_decorators import sync_cached_function
from cachecore.api.sync_many import SyncMany
from cachecore.api.sync_stream import SyncStream, in_a_thread
from cachecore.api.tag_templates import Tags
from cachecore.api.thread_factories import behind_in_a_thread
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration
from cachecore.contract.protocols import CacheBackend
from cachecore.contract.results import UNSET, Computed, Lookup, StoredEntry, Unset
from cachecore.engine.counts import Stats
from cachecore.engine.read_now import UNKNOWN, fetch_now
from cachecore.keys.explain import Explanation, explain

if TYPE_CHECKING:  # as in `Cache`
    from typing_extensions import TypeVar

    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    V = TypeVar("V")
P = ParamSpec("P")
C = TypeVar("C")
D = TypeVar("D")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class SyncCache(SyncMany[V]):
    """`Cache` for code without an event loop. Takes the arguments of `Cache`, or a `Cache` to share.

    Any number of threads may use it. In a forked child it starts a thread of its own at its first call. Where an event
    loop is running in the caller's thread (a notebook, a callback of an async framework), a call blocks that loop, as
    any other blocking call does. It waits for no other caller there, since that one may need the loop: after one look
    at the store it computes.

    Raises:
        OptionsError: a setting is wrong, or gevent or eventlet has replaced threads.
    """

    @overload
    def __init__(self, backend: Cache[V], /) -> None: ...
    @overload
    def __init__(
        self,
        backend: str | CacheBackend | Unset = UNSET,
        *,
        ttl: Duration | Unset | None = UNSET,
        value_type: type[V],
        **options: Unpack[BuildOptions],
    ) -> None: ...
    @overload
    def __init__(
        self,
        backend: str | CacheBackend | Unset = UNSET,
        *,
        ttl: Duration | Unset | None = UNSET,
        value_type: Any = None,
        **options: Unpack[BuildOptions],
    ) -> None: ...
    def __init__(self, backend: str | CacheBackend | Cache[V] | Unset = UNSET, **arguments: Any) -> None:
        self._thread = LoopThread()
        if isinstance(backend, Cache):
            if arguments:
                raise OptionsError(
                    f"SyncCache of a Cache takes no {', '.join(arguments)}: give it to the Cache, or to cache.scoped(…)"
                )
            self._cache: Cache[V] = backend
        else:
            self._cache = Cache(backend, **arguments)
            self._cache._scope.owner.outlived_by.append(self._thread)  # noqa: SLF001 - a cache that no other face has

    def __repr__(self) -> str:
        return f"SyncCache({self._cache!r})"

    @classmethod
    def from_config(
        cls, source: str | Path | Mapping[str, Any] | None = None, **arguments: Unpack[ConfigArguments]
    ) -> SyncCache[Any]:
        """Return a cache as configured; see `Cache.from_config`."""
        return SyncCache(Cache.from_config(source, **arguments))

    @staticmethod
    def configuration() -> dict[str, Any]:
        """Return the settings that environment and file give; see `Cache.configuration`."""
        return Cache.configuration()

    def scoped(self, namespace: str = "", **options: Unpack[ViewOptions]) -> SyncCache[Any]:
        """Return a view of `namespace` below this one; see `Cache.scoped`."""
        return self._on(self._cache.scoped(namespace, **options))

    def _on(self, cache: Answers[Any]) -> SyncCache[Any]:
        """Return the synchronous face of another view, on the same thread."""
        view: SyncCache[Any] = SyncCache.__new__(SyncCache)
        view._cache = cast("Cache[Any]", cache)  # a function's view is never closed by itself
        view._thread = self._thread
        return view

    @staticmethod
    def explain(a: Any, b: Any, *, text: bool = False) -> Explanation:
        """Return which fields make two requests differ; see `cachecore.explain`."""
        return explain(a, b, text=text)

    def key(self, request: Any) -> str:
        """Return the key of `request`. Raises UnkeyableError."""
        return self._cache.key(request)

    def peek(self, request: Any = UNSET, default: D | None = None, *, key: str | None = None) -> V | D | None:
        """Return the fresh answer that is in memory, or `default`; see `Cache.peek`."""
        return self._cache.peek(request, default, key=key)

    def peek_lookup(self, request: Any = UNSET, *, key: str | None = None) -> Lookup[V] | None:
        """Return the fresh answer that is in memory, with its age, or None; see `Cache.peek_lookup`."""
        return self._cache.peek_lookup(request, key=key)

    def get(
        self, request: Any, default: D | None = None, *, tags: Sequence[str] = (), max_age: Duration | None = None
    ) -> V | D | None:
        """Return the fresh answer to `request`, or `default`; see `Cache.get`."""
        if not tags and max_age is None:
            cache = self._cache
            key = cache.key(request)
            value: Any = cache._find_value(key)  # noqa: SLF001 - the same view
            if value is not UNSET:
                return cast("V", value)
            value, reason = fetch_now(cache._scope, key)  # noqa: SLF001 - as above
            if value is not UNSET:
                return cast("V", value)
            if reason != UNKNOWN:
                cache._counts.misses += 1  # noqa: SLF001 - as above
                return default
        return self._run(self._cache.get(request, default, tags=tags, max_age=max_age))

    @overload
    def get_or_set(
        self,
        request: Any,
        factory: Callable[[], Computed[T]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        max_age: Duration | None = None,
        refresh_factory: Callable[[], T | Computed[T]] | None = None,
    ) -> T: ...
    @overload
    def get_or_set(
        self,
        request: Any,
        factory: Callable[[], T | Computed[T]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        max_age: Duration | None = None,
        refresh_factory: Callable[[], T | Computed[T]] | None = None,
    ) -> T: ...
    def get_or_set(
        self,
        request: Any,
        factory: Callable[[], Any],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        max_age: Duration | None = None,
        refresh_factory: Callable[[], Any] | None = None,
    ) -> Any:
        """Return the stored answer, or run `factory` in this thread; see `Cache.get_or_set`.

        After `factory_timeout` the callers get TimeoutError and the key is free. A thread cannot be cancelled: the
        factory's own caller gets its TimeoutError once the factory has returned, and its value is not stored.
        `refresh_factory` runs in a thread of its own.
        """
        if not tags and max_age is None:
            key = self._cache.key(request)
            value: Any = self._cache._find_value(key, (), True)  # noqa: SLF001 - the same view
            if value is not UNSET:
                return value
            value = fetch_now(self._cache._scope, key, asked_again=True)[0]  # noqa: SLF001 - as above
            if value is not UNSET:
                return value
        options: dict[str, Any] = {"ttl": ttl, "tags": tags, "max_age": max_age}
        options["refresh_factory"] = behind_in_a_thread(refresh_factory)
        return self._with_factory(factory, lambda carried: self._cache.get_or_set(request, carried, **options))

    def lookup(
        self,
        request: Any,
        factory: Callable[[], V | Computed[V]] | None = None,
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        stale: bool = False,
        max_age: Duration | None = None,
        refresh_factory: Callable[[], V | Computed[V]] | None = None,
    ) -> Lookup[V]:
        """Return the answer together with where it came from; see `Cache.lookup`."""
        options: dict[str, Any] = {"ttl": ttl, "tags": tags, "stale": stale, "max_age": max_age}
        options["refresh_factory"] = behind_in_a_thread(refresh_factory)
        if not (tags or stale or refresh_factory) and max_age is None:
            known = self._cache.peek_lookup(request)
            if known is not None:
                return known
        if factory is None:
            return self._run(self._cache.lookup(request, **options))
        return self._with_factory(factory, lambda carried: self._cache.lookup(request, carried, **options))

    def refresh(
        self,
        request: Any,
        factory: Callable[[], V | Computed[V]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> V:
        """Compute the answer anew in this thread and store it; see `Cache.refresh`."""
        return self._with_factory(factory, lambda carried: self._cache.refresh(request, carried, ttl=ttl, tags=tags))

    def stream(
        self,
        request: Any,
        factory: Callable[[], Iterable[C]],
        *,
        assemble: Callable[[list[C]], V | Computed[V]],
        replay: Callable[[V], Iterable[C]],
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> SyncStream[C]:
        """Return the answer to `request` in chunks; see `Cache.stream`.

        `factory` is a generator. It runs in a thread of its own, in a copy of the first reader's context; it is closed
        where it yields next. `assemble` and `replay` run in the cache's thread: they must not call the cache.
        """
        carried = in_a_thread(factory)
        stream = self._cache.stream(request, carried, assemble=assemble, replay=replay, ttl=ttl, tags=tags)
        return SyncStream(stream, self._thread)

    def set(
        self,
        request: Any,
        value: V | Computed[V],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        since: Lookup[Any] | None = None,
        served_by: str | None = None,
        required: bool = False,
    ) -> bool:
        """Store `value` as the answer to `request`; return whether it was stored; see `Cache.set`."""
        return self._run(
            self._cache.set(request, value, ttl=ttl, tags=tags, since=since, served_by=served_by, required=required)
        )

    def delete(self, request: Any) -> bool:
        """Delete the answer to `request`; see `Cache.delete`."""
        return self._run(self._cache.delete(request))

    def expire(self, request: Any) -> bool:
        """Make the answer stale as of now; see `Cache.expire`."""
        return self._run(self._cache.expire(request))

    def contents(self, *, most: int = 10_000, below: bool = False) -> list[tuple[str, V]]:
        """Return the keys and values of this namespace, all at once; see `Cache.contents`."""

        async def found() -> list[tuple[str, V]]:
            return [pair async for pair in self._cache.contents(most=most, below=below)]

        return self._run(found())

    def entries(
        self, *, keys: Sequence[str] | None = None, where: Callable[[str], bool] | None = None, most: int = 10_000
    ) -> list[StoredEntry[V]]:
        """Return the facts of what is stored here and below, all at once; see `Cache.entries`."""

        async def found() -> list[StoredEntry[V]]:
            return [one async for one in self._cache.entries(keys=keys, where=where, most=most)]

        return self._run(found())

    def exists(self, request: Any, *, tags: Sequence[str] = ()) -> bool:
        """Return whether there is a fresh answer, uncounted; see `Cache.exists`."""
        return self._run(self._cache.exists(request, tags=tags))

    def claim(self, request: Any, *, ttl: Duration | Unset | None = UNSET, tags: Sequence[str] = ()) -> SyncClaim[V]:
        """Take the claim of a request, also for `with`; see `Cache.claim`. It is this thread's."""
        claim = self._cache.claim(request, ttl=ttl, tags=tags)
        return SyncClaim(self._thread, claim._claim)  # noqa: SLF001 - the same claim, in this face

    def pin_tag(self, tag: str) -> None:
        """Inside a factory: depend on `tag` from now on; see `Cache.pin_tag`."""
        self._run(self._cache.pin_tag(tag))

    @overload
    def cached(self, function: classmethod[S, P, R], /) -> SyncCachedClassMethod[S, P, R]: ...
    @overload
    def cached(self, function: staticmethod[P, R], /) -> SyncCachedStaticMethod[P, R]: ...  # type: ignore[overload-overlap]  # a staticmethod is callable too; the first that fits counts
    @overload
    def cached(self, function: Callable[P, R], /) -> SyncCachedFunction[P, R]: ...
    @overload
    def cached(
        self,
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Tags = (),
        value_type: Any = None,
        namespace: str = "",
        name: str | None = None,
        exclude: Sequence[str] = (),
        vary: Vary = (),
        refresh_factory: Callable[..., Any] | None = None,
        **policy: Unpack[PolicyOptions],
    ) -> SyncDecorator: ...
    def cached(
        self,
        function: Any = UNSET,
        *,
        tags: Tags = (),
        name: str | None = None,
        exclude: Sequence[str] = (),
        vary: Vary = (),
        refresh_factory: Callable[..., Any] | None = None,
        **view: Any,
    ) -> Any:
        """Cache the answers of a function that is not async; see `Cache.cached`. It runs in its caller's thread."""
        calls = CallOptions(tags=tags, name=name, exclude=exclude, vary=vary, refresh_factory=refresh_factory)
        call_options, scope = function_options(self._cache, calls, **view)
        if not isinstance(function, Unset):
            return sync_cached_function(function, call_options, scope, self._on)
        return lambda decorated: sync_cached_function(decorated, call_options, scope, self._on)

    def delete_keys(self, keys: Sequence[str]) -> int:
        """Delete the answers under these keys; see `Cache.delete_keys`."""
        return self._run(self._cache.delete_keys(keys))

    def invalidate_tags(self, *tags: str) -> None:
        """Make every answer that carries one of `tags` invalid; see `Cache.invalidate_tags`."""
        self._run(self._cache.invalidate_tags(*tags))

    def invalidate_prefix(self, namespace: str) -> int | None:
        """Make every answer of `namespace` invalid; see `Cache.invalidate_prefix`."""
        return self._run(self._cache.invalidate_prefix(namespace))

    def invalidate_all(self) -> int | None:
        """Make every answer of this cache invalid; see `Cache.invalidate_all`."""
        return self._run(self._cache.invalidate_all())

    @property
    def stats(self) -> Stats:
        """The counts so far; a snapshot."""
        return self._cache.stats

    def health(self) -> dict[str, object]:
        """Return the state of the parts; see `Cache.health`."""
        return self._run(self._cache.health())

    def close(self) -> None:
        """Finish background work, close the store if it was built from a URL, and end the thread. Idempotent."""
        self._thread.close(self._cache.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
