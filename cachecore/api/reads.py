"""One view of a cache, and its calls for one answer: from memory, from the store, or from a shared computation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from cachecore.api.stream import Stream
from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.options import Duration, lifetime, seconds
from cachecore.contract.results import UNSET, Computed, Lookup, Unset
from cachecore.engine.bypass import bypassed
from cachecore.engine.computation import Factory
from cachecore.engine.counts import Stats
from cachecore.engine.factories import awaited
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.health import health
from cachecore.engine.lookup import lookup, lookup_copy, on_miss
from cachecore.engine.read import fetch, read_own
from cachecore.engine.refresh import refresh
from cachecore.engine.scope import Scope, checked_tags, question, stored_tags
from cachecore.engine.stream import StreamCall
from cachecore.memory.copies import Copy

if TYPE_CHECKING:
    from cachecore.keys.explain import Explanation

C = TypeVar("C")
V = TypeVar("V")
D = TypeVar("D")
T = TypeVar("T")


class Reads(Generic[V]):
    """One view of a cache: its keys, its counts, how its arguments are read, and its calls for one answer."""

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

    @staticmethod
    def explain(a: Any, b: Any, *, text: bool = False) -> Explanation:
        """Return which fields make two requests differ; see `cachecore.explain`."""
        from cachecore.keys.explain import explain

        return explain(a, b, text=text)

    async def get(
        self, request: Any, default: D | None = None, *, tags: Sequence[str] = (), max_age: Duration | None = None
    ) -> V | D | None:
        """Return the fresh answer to `request`, or `default`. A store that fails reads as empty.

        Args:
            request: the value that the answer depends on.
            default: the result if there is no fresh answer.
            tags: an entry that lacks one of these is not served.
            max_age: seconds; an older answer is not served, even within its ttl.

        Raises:
            UnkeyableError: `request` has no canonical form.
        """
        key = self._key_of(request)
        scope = self._scope if max_age is None else self._aged(max_age)
        value = scope.find_value(key, stored_tags(tags) if tags else ())
        if value is not UNSET:
            answer: V = value  # not `cast`, which is a call
            return answer
        if not bypassed():
            if not scope.telemetry.tracing:  # a context manager that does nothing takes as long as reading ten clocks
                value, _ = await fetch(question(scope, self._engine.state(), key, tags))
            else:
                with scope.telemetry.span("cachecore.get"):
                    value, _ = await fetch(question(scope, self._engine.state(), key, tags))
            if value is not UNSET:
                fresh: V = value
                return fresh
            self._counts.misses += 1
            return default
        self._counts.bypassed += 1
        return default

    async def exists(self, request: Any, *, tags: Sequence[str] = ()) -> bool:
        """Return whether there is a fresh answer to `request`. Counts neither a hit nor a miss; decodes nothing.

        Arguments and errors are those of `get`.
        """
        key = self._key_of(request)
        stored = stored_tags(tags) if tags else ()
        if bypassed():
            return False
        scope = self._scope
        copy = scope.find_copy(key, stored)
        if copy is not None:
            return True
        return (await read_own(question(scope, self._engine.state(), key, tags))).state == "fresh"

    def peek(self, request: Any = UNSET, default: D | None = None, *, key: str | None = None) -> V | D | None:
        """Return the fresh answer that is in this process's memory, or `default`. Synchronous; does not ask the store.

        `key` may be given instead of the request, if it is at hand (`cache.key(request)`).
        """
        if key is None:
            key = self._key_of(request)
        value = self._find_value(key)
        if value is UNSET:
            return default
        answer: V = value  # not `cast`, which is a call
        return answer

    def peek_lookup(self, request: Any = UNSET, *, key: str | None = None) -> Lookup[V] | None:
        """Return the fresh answer that is in this process's memory, with its age, or None. Synchronous; any thread.

        An answer whose early refresh is due counts as none, so that the caller goes on to `lookup`, which starts it.
        `key` may be given instead of the request, if it is at hand (`cache.key(request)`).

        Raises:
            UnkeyableError: `request` has no canonical form.
        """
        if key is None:
            key = self._key_of(request)
        scope = self._scope
        copy = scope.find_copy(key, (), True)
        return None if copy is None else lookup_copy(scope, key, scope.tagset(key), copy)

    @overload
    async def get_or_set(
        self,
        request: Any,
        factory: Callable[[], Awaitable[Computed[T]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        max_age: Duration | None = None,
        refresh_factory: Callable[[], Awaitable[T | Computed[T]]] | None = None,
    ) -> T: ...
    @overload
    async def get_or_set(
        self,
        request: Any,
        factory: Callable[[], Awaitable[T | Computed[T]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        max_age: Duration | None = None,
        refresh_factory: Callable[[], Awaitable[T | Computed[T]]] | None = None,
    ) -> T: ...
    async def get_or_set(
        self,
        request: Any,
        factory: Callable[[], Awaitable[Any]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        max_age: Duration | None = None,
        refresh_factory: Callable[[], Awaitable[Any]] | None = None,
    ) -> Any:
        """Return the stored answer to `request`, computing it if there is none.

        Callers asking for one request at the same time share one `factory`: each gets a copy of its value, or an
        exception equal to its own. Where the value cannot be copied each computes for itself. A store that fails costs
        a computation, never an error.

        Args:
            request: the value that the answer depends on; the order of fields does not count.
            factory: awaited at most once, however many callers wait for it.
            ttl: seconds the answer stays fresh; None means for ever; not given: the cache's own.
            tags: tags of this answer beside the cache's own.
            max_age: seconds; an older answer is not fresh, even within its ttl.
            refresh_factory: awaited instead of `factory` to refresh behind an answer that was served already
                (`stale_while_revalidate`, `refresh_ahead`). It outlives the caller's request, so it opens its own
                sessions and connections.

        Raises:
            UnkeyableError: `request` has no canonical form.
            FlightCycleError: the factory asks for the request it is computing.
            TimeoutError: the factory took longer than `factory_timeout`.
        """
        key = self._key_of(request)
        stored = stored_tags(tags) if tags else ()
        scope = self._scope if max_age is None else self._aged(max_age)
        value = scope.find_value(key, stored, True)
        if value is not UNSET:
            return value
        copy = scope.find_copy(key, stored)
        if copy is None and not scope.telemetry.tracing and not bypassed():
            lasts = ttl if ttl is UNSET else self._checked(ttl)
            asked = question(scope, self._engine.state(), key, tags, lasts)
            value, snapshot = await fetch(asked)
            if snapshot is not None and value is UNSET:
                if refresh_factory is not None:
                    _check_behind(factory, refresh_factory)
                value = (await on_miss(asked, snapshot, factory, behind=refresh_factory)).value
            return value
        return (await self._lookup(scope, key, copy, factory, ttl, tags, behind=refresh_factory)).value

    async def lookup(
        self,
        request: Any,
        factory: Callable[[], Awaitable[V | Computed[V]]] | None = None,
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        stale: bool = False,
        max_age: Duration | None = None,
        refresh_factory: Callable[[], Awaitable[V | Computed[V]]] | None = None,
    ) -> Lookup[V]:
        """Return the answer to `request` together with where it came from and how old it is.

        Without a `factory` nothing is computed. `stale=True` accepts any answer that is not dead, however stale, whose
        stamps are verified. `max_age` and `refresh_factory`, which takes a `factory` beside it, as for `get_or_set`.
        Raises as `get_or_set`.
        """
        key = self._key_of(request)
        scope = self._scope if max_age is None else self._aged(max_age)
        copy = scope.find_copy(key, stored_tags(tags) if tags else ())
        return await self._lookup(scope, key, copy, factory, ttl, tags, stale=stale, behind=refresh_factory)

    async def refresh(
        self,
        request: Any,
        factory: Callable[[], Awaitable[V | Computed[V]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> V:
        """Compute the answer to `request` anew, store it in place of a stored one, and return it.

        Never joins a computation that began earlier. Callers that come while a refresh is under way share the next one,
        which begins when that has ended. Raises as `get_or_set`.
        """
        key = self._key_of(request)
        if bypassed():
            self._counts.bypassed += 1
            return cast("V", plain(await awaited(factory)))
        with self._span("cachecore.refresh"):
            asked = question(self._scope, self._engine.state(), key, tags, self._checked(ttl))
            return cast("V", await refresh(asked, factory))

    def stream(
        self,
        request: Any,
        factory: Callable[[], AsyncIterator[C] | Awaitable[AsyncIterator[C]]],
        *,
        assemble: Callable[[list[C]], V | Computed[V]],
        replay: Callable[[V], Iterable[C]],
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> Stream[C]:
        """Return the answer to `request` in chunks: those of a stored answer, or of one stream that callers share.

        A caller that asks while the stream runs gets the chunks so far at once, then the others as they come. The
        answer is stored once the stream has come to its end, whole or not at all; the last reader's end waits for that,
        as long as the store may take. `factory_timeout` bounds the time to the first chunk and each gap between two.

        Args:
            request: the value that the answer depends on; `get_or_set` shares its answers with this call.
            factory: an async generator of chunks, run by a task of its own in a copy of the first reader's context.
            assemble: makes the answer of all chunks: a value, or `Computed`. If it raises, that is logged, and nothing
                is stored.
            replay: makes chunks of a stored answer. Joined, they must mean the same as those it was assembled from.
            ttl: seconds the answer stays fresh; None means for ever; not given: the cache's own.
            tags: tags of this answer beside the cache's own.

        Raises:
            UnkeyableError: `request` has no canonical form.
            OptionsError: an argument is wrong.
        """
        for name, given in (("factory", factory), ("assemble", assemble), ("replay", replay)):
            if not callable(given):
                raise OptionsError(f"{name} must be a function, not a {type(given).__name__}")
        key = self._key_of(request)
        return Stream(StreamCall(self._scope, key, checked_tags(tags), factory, assemble, replay, self._checked(ttl)))

    async def _lookup(
        self,
        scope: Scope,
        key: str,
        copy: Copy | None,
        factory: Factory | None,
        ttl: Duration | Unset | None,
        tags: Sequence[str],
        *,
        stale: bool = False,
        behind: Factory | None = None,
    ) -> Lookup[Any]:
        checked = self._checked(ttl)
        if behind is not None:
            _check_behind(factory, behind)
        if bypassed():
            scope.telemetry.counts.bypassed += 1
            if factory is None:
                return Lookup(value=None, outcome="miss", key=key, reason="bypass")
            return Lookup(value=plain(await awaited(factory)), outcome="bypass", key=key)
        asked = question(scope, self._engine.state(), key, tags, checked)
        if copy is not None:
            return await lookup(asked, copy, factory, stale=stale, behind=behind)
        with self._span("cachecore.lookup"):
            return await lookup(asked, None, factory, stale=stale, behind=behind)


def _check_behind(factory: Factory | None, behind: Any) -> None:
    """Raise OptionsError if `behind` cannot refresh: while it runs there is no caller to raise to."""
    if factory is None:
        raise OptionsError("refresh_factory takes a factory beside it, which computes what is not cached at all")
    if not callable(behind):
        raise OptionsError(
            f"refresh_factory must be a function, not a {type(behind).__name__}: it is called later, if at all"
        )


def plain(value: Any) -> Any:
    """Return the value of a factory, unwrapped from `Computed`."""
    return value.value if isinstance(value, Computed) else value
