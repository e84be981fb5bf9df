"""`Cache`: the policy, put together. What is decided here is the order in which an answer is looked for.

L1 first, without waiting for anything; then the store, together with everybody who asks in the same tick; then the one
computation that all callers of the key share. A store that fails costs a computation, never an error.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, Self, TypeVar, cast, overload

from opentelemetry.metrics import Meter

from cachecore import configuration, plugins, reading, writing
from cachecore.asking import ask, recompute, take
from cachecore.batches import ABSENT, ask_many
from cachecore.building import chosen_serializer, split_options
from cachecore.bypassing import bypassed
from cachecore.clock import Clock, SystemClock
from cachecore.compute import Factory, pin_tag
from cachecore.decorator import CachedFunction
from cachecore.engine import Engine, Slot
from cachecore.errors import OptionsError
from cachecore.explain import Explanation, explain
from cachecore.flight import current_flight
from cachecore.invalidating import delete_entries, invalidate_stamps
from cachecore.keys import KeySpace, user_tag
from cachecore.lease import random_token
from cachecore.options import POLICY_FIELDS, Duration, lifetime
from cachecore.protocols import CacheBackend, KeyHasher, Serializer
from cachecore.reading import Found, read
from cachecore.results import UNSET, Computed, Lookup, Unset
from cachecore.scope import Admit, Scope, checked_tags
from cachecore.telemetry import Counts, Stats, Telemetry
from cachecore.writing import carried

V = TypeVar("V")
D = TypeVar("D")
P = ParamSpec("P")
R = TypeVar("R")


class Cache(Generic[V]):
    """Answers to requests, kept in this process's memory and in a store.

        async with Cache("redis://localhost", ttl=3600) as cache:
            answer = await cache.get_or_set({"q": "What is the capital of France?"}, ask)

    A request is any value with a canonical form: see `cachecore.keys`. A view made by `scoped` shares everything with
    the cache it was made from. One cache may be used from several event loops, in turn or at once.

    Args:
        backend: a URL (`memory://`, `sqlite:///path`, `redis://host`) or a backend, which stays the caller's to close.
        ttl: seconds (or a timedelta) for which an answer is fresh; None means for ever.
        namespace: segments separated by `/`; part of the key, and what `invalidate_prefix` takes.
        prefix: what all keys of this application begin with.
        value_type: the type of values, for the `typed` serializer; plain data needs none.
        hasher: a name or a `KeyHasher`.
        serializer: a name or a `Serializer`; `msgpack` unless there is a `value_type`.
        tags: tags that every entry carries, for `invalidate_tags`.
        admit: told each computed value; returns whether to store it, or a `Computed` that says how.
        name: what metrics call this cache.
        clock, chance, token, meter: where time, randomness, unique tokens of 16 bytes and instruments come from.
        options: any field of `Policy`, `StoreOptions` and `MemoryOptions` in `cachecore.options`.

    Raises:
        OptionsError: a setting is wrong.
        PluginNotFound: no plugin has that name.
    """

    __slots__ = ("__weakref__", "_counts", "_engine", "_key_of", "_peek", "_scope")

    def __init__(
        self,
        backend: str | CacheBackend,
        *,
        ttl: Duration | None,
        namespace: str = "",
        prefix: str = "cc",
        value_type: type[V] | Any = None,
        hasher: str | KeyHasher = "sha256",
        serializer: str | Serializer | None = None,
        tags: Sequence[str] = (),
        admit: Admit | None = None,
        name: str = "default",
        clock: Clock | None = None,
        chance: random.Random | None = None,
        token: Callable[[], bytes] = random_token,
        meter: Meter | None = None,
        **options: Any,
    ) -> None:
        policy, store, memory = split_options(ttl, options)
        named = plugins.hasher(hasher) if isinstance(hasher, str) else hasher
        chosen = chosen_serializer(serializer, value_type)
        checked_tags(tags)
        root = KeySpace(prefix, "", named)
        KeySpace(prefix, namespace, named)  # wrong names fail before anything is built
        owned = isinstance(backend, str)
        telemetry = Telemetry(name, meter)
        built = plugins.backend_from_url(backend) if isinstance(backend, str) else backend
        if not isinstance(built, CacheBackend):
            raise OptionsError(f"backend must be a URL or have the methods of CacheBackend, not {type(built).__name__}")
        self._engine = Engine(
            built,
            prefix=root.scan_prefixes()[0].removesuffix(":e:"),
            owns_backend=owned,
            store=store,
            memory=memory,
            clock=clock or SystemClock(),
            chance=chance or random.Random(),  # noqa: S311 - jitter, not secrets
            token=token,
            telemetry=telemetry,
        )
        keys = KeySpace(prefix, namespace, named, shards=self._engine.shards)
        self._use(Scope(self._engine, keys, policy, chosen, tuple(tags), telemetry, admit))

    def _use(self, scope: Scope) -> None:
        self._scope = scope
        self._engine = scope.engine
        self._key_of = scope.keys.key
        self._peek = scope.engine.peek
        self._counts = scope.telemetry.counts

    def __repr__(self) -> str:
        return f"Cache({self._engine.raw!r}, namespace={self._scope.keys.namespace!r})"

    @classmethod
    def from_config(cls, source: str | Path | Mapping[str, Any] | None = None, **arguments: Any) -> Cache[Any]:
        """Return a cache as configured: arguments first, then `CACHECORE_*` in the environment, then the file.

        `source` is a path, a mapping, or None: then `cachecore.toml` or `[tool.cachecore]` in the working directory.
        """
        settings = {**configuration.load(source, value_type=arguments.get("value_type")), **arguments}
        if "serializer" not in arguments and not isinstance(settings.get("serializer", ""), str):
            settings.pop("value_type", None)  # the configured serializer was built with it
        backend = settings.pop("backend", None)
        if backend is None:
            raise OptionsError(
                "no backend is configured: set `backend`, or CACHECORE_BACKEND, to a URL such as memory://"
            )
        if "ttl" not in settings:
            raise OptionsError("no ttl is configured: set `ttl`, or CACHECORE_TTL, to a duration such as '24h'")
        return Cache(cast("str", backend), **settings)

    def scoped(
        self,
        namespace: str = "",
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        value_type: Any = None,
        serializer: str | Serializer | None = None,
        admit: Admit | Unset | None = UNSET,
        name: str | None = None,
        **policy: Any,
    ) -> Cache[Any]:
        """Return a view of `namespace` below this one, sharing memory, store and guard.

        What is not given is as here; `tags` are added to this cache's own. A `name` gives it counts of its own.
        """
        unknown = sorted(set(policy) - POLICY_FIELDS)
        if unknown:
            raise OptionsError(f"a view has no option {unknown[0]!r}; it has {', '.join(sorted(POLICY_FIELDS))}")
        scope = self._scope
        if not isinstance(ttl, Unset):
            policy["ttl"] = ttl
        chosen = scope.serializer
        if serializer is not None or value_type is not None:
            chosen = chosen_serializer(serializer, value_type)
        view: Cache[Any] = Cache.__new__(Cache)
        view._use(
            Scope(
                scope.engine,
                scope.keys.child(namespace),
                replace(scope.policy, **policy) if policy else scope.policy,
                chosen,
                (*scope.tags, *checked_tags(tags)),
                scope.telemetry if name is None else scope.telemetry.named(name),
                scope.admit if isinstance(admit, Unset) else admit,
            )
        )
        return view

    # Reading

    def key(self, request: Any) -> str:
        """Return the key of `request`. Raises UnkeyableError."""
        return self._key_of(request)

    @staticmethod
    def explain(a: Any, b: Any, *, text: bool = False) -> Explanation:
        """Return which fields make two requests differ; see `cachecore.explain`."""
        return explain(a, b, text=text)

    async def get(self, request: Any, default: D | None = None, *, tags: Sequence[str] = ()) -> V | D | None:
        """Return the fresh answer to `request`, or `default`. A store that fails reads as empty.

        Args:
            request: what the answer depends on.
            default: what to return if there is no fresh answer.
            tags: an entry that lacks one of these is not served.

        Raises:
            UnkeyableError: `request` has no canonical form.
        """
        key = self._key_of(request)
        if not bypassed():
            slot = self._peek(key)
            if slot is not None and (not tags or self._carries(slot, tags)):
                value = slot.value
                if value is UNSET:
                    value = reading.slot_value(self._scope, slot)
                if value is not UNSET:
                    self._counts.hits_l1 += 1
                    answer: V = value  # not `cast`, which is a call
                    return answer
            scope = self._scope
            tracer = scope.telemetry.tracer()
            if tracer is None:  # a context manager that does nothing takes as long as reading the clock ten times
                value = take(scope, await read(scope, self._engine.state(), key, scope.tagset(key, tags)))
            else:
                with tracer.start_as_current_span("cachecore.get"):
                    value = take(scope, await read(scope, self._engine.state(), key, scope.tagset(key, tags)))
            if value is not UNSET:
                found: V = value
                return found
            self._counts.misses += 1
            return default
        self._counts.bypassed += 1
        return default

    def peek(self, request: Any = UNSET, default: D | None = None, *, key: str | None = None) -> V | D | None:
        """Return the fresh answer that is in this process's memory, or `default`. Synchronous; asks nobody.

        `key` may be given instead of the request, if it is at hand (`cache.key(request)`).
        """
        if key is None:
            key = self._key_of(request)
        slot = self._peek(key)
        if slot is not None:
            value = slot.value
            if value is UNSET:
                value = reading.slot_value(self._scope, slot)
            if value is not UNSET:
                self._counts.hits_l1 += 1
                answer: V = value  # not `cast`, which is a call
                return answer
        return default

    async def get_or_set(
        self,
        request: Any,
        factory: Callable[[], Awaitable[V | Computed[V]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> V:
        """Return the stored answer to `request`, computing it if there is none.

        Callers asking for one request at the same time share one `factory`, its value and its exception. A store that
        fails costs a computation, never an error.

        Args:
            request: what the answer depends on; the order of fields does not count.
            factory: awaited at most once, however many callers wait for it.
            ttl: seconds the answer stays fresh; None means for ever; not given: the cache's own.
            tags: tags of this answer beside the cache's own.

        Raises:
            UnkeyableError: `request` has no canonical form.
            FlightCycleError: the factory asks for the request it is computing.
            TimeoutError: the factory took longer than `factory_timeout`.
        """
        key = self._key_of(request)
        slot = self._peek(key)
        if (
            slot is not None
            and (not tags or self._carries(slot, tags))
            and (slot.refresh_at == math.inf or self._engine.monotonic() < slot.refresh_at)
            and not bypassed()
        ):
            value = slot.value
            if value is UNSET:
                value = reading.slot_value(self._scope, slot)
            if value is not UNSET:
                self._counts.hits_l1 += 1
                answer: V = value  # not `cast`, which is a call
                return answer
        return cast("V", (await self._lookup(key, slot, factory, ttl, tags)).value)

    async def lookup(
        self,
        request: Any,
        factory: Callable[[], Awaitable[V | Computed[V]]] | None = None,
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        stale: bool = False,
    ) -> Lookup[V]:
        """Return the answer to `request` together with where it came from and how old it is.

        Without a `factory` nothing is computed. `stale=True` accepts any answer that is not dead, however stale, whose
        stamps are verified. Raises what `get_or_set` raises.
        """
        key = self._key_of(request)
        return await self._lookup(key, self._engine.peek(key), factory, ttl, tags, stale=stale)

    async def refresh(
        self,
        request: Any,
        factory: Callable[[], Awaitable[V | Computed[V]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> V:
        """Compute the answer to `request` anew and store it, whatever is stored; return it.

        Never joins a computation that began earlier. Raises what `get_or_set` raises.
        """
        key = self._key_of(request)
        with self._span("cachecore.refresh"):
            tagset = self._scope.tagset(key, tags)
            return cast("V", await recompute(self._scope, key, tagset, factory, self._checked(ttl)))

    async def _lookup(
        self,
        key: str,
        slot: Slot | None,
        factory: Factory | None,
        ttl: Duration | Unset | None,
        tags: Sequence[str],
        *,
        stale: bool = False,
    ) -> Lookup[Any]:
        scope = self._scope
        checked = self._checked(ttl)
        if bypassed():
            scope.telemetry.counts.bypassed += 1
            if factory is None:
                return Lookup(value=None, outcome="miss", key=key, reason="bypass")
            return Lookup(value=_plain(await factory()), outcome="bypass", key=key)
        if slot is not None and tags and not self._carries(slot, tags):
            slot = None
        with self._span("cachecore.lookup"):
            return await ask(scope, key, scope.tagset(key, tags), slot, factory, checked, stale=stale)

    def _carries(self, slot: Slot, tags: Sequence[str]) -> bool:
        return reading.has_tags(slot, [user_tag(tag) for tag in checked_tags(tags)])

    # Writing

    async def set(
        self,
        request: Any,
        value: V | Computed[V],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        since: Lookup[Any] | None = None,
        served_by: str | None = None,
    ) -> bool:
        """Store `value` as the answer to `request`; return whether it was stored.

        Args:
            request: what the answer depends on.
            value: the answer, or a `Computed` that says how to store it.
            ttl: seconds it stays fresh; None means for ever; not given: the cache's own.
            tags: tags of this answer beside the cache's own.
            since: store only if nothing was stored, deleted or invalidated since this lookup of the same request.
            served_by: what made it; told by later lookups.

        Raises:
            EncodingError: the value cannot be encoded, or is over `max_value_bytes`.
            InvalidationPending: the store did not acknowledge. The old answer is treated as deleted.
        """
        key = self._key_of(request)
        computed = value if isinstance(value, Computed) else Computed(value, served_by=served_by)
        life = self._life(ttl if isinstance(computed.ttl, Unset) else computed.ttl)
        with self._span("cachecore.set"):
            state = self._engine.state()
            if since is None:
                await carried(state, writing.store(self._scope, state, {key: computed}, tags, life))
                return True
            seen = since.version
            if not isinstance(seen, Found) or seen.key != key:
                raise OptionsError("since must be what `lookup` returned for the same request, read from the store")
            return await carried(state, writing.store_since(self._scope, state, key, computed, life, seen))

    async def set_many(
        self, items: Mapping[R, V | Computed[V]], *, ttl: Duration | Unset | None = UNSET, tags: Sequence[str] = ()
    ) -> None:
        """Store several answers, request to value, in one round trip. Raises what `set` raises."""
        entries = {
            self._key_of(request): value if isinstance(value, Computed) else Computed(value)
            for request, value in items.items()
        }
        if entries:
            with self._span("cachecore.set_many"):
                state = self._engine.state()
                await carried(state, writing.store(self._scope, state, entries, tags, self._life(ttl)))

    async def delete(self, request: Any) -> bool:
        """Delete the answer to `request`, also one that is being computed; return whether there was one.

        Raises:
            InvalidationPending: the store did not acknowledge; it is tried again until it does.
        """
        return bool(await self.delete_many([request]))

    async def delete_many(self, requests: Sequence[Any]) -> int:
        """Delete several answers; return how many there were. Raises what `delete` raises."""
        keys = list(dict.fromkeys(self._key_of(request) for request in requests))
        with self._span("cachecore.delete"):
            state = self._engine.state()
            return await carried(state, writing.delete(self._scope, state, keys))

    async def expire(self, request: Any) -> bool:
        """Make the answer stale as of now, keeping its bytes for rescue; return whether there was one.

        Raises:
            InvalidationPending: the store did not acknowledge; until it has, the answer is treated as deleted.
        """
        with self._span("cachecore.expire"):
            state, key = self._engine.state(), self._key_of(request)
            return await carried(state, writing.expire(self._scope, state, key))

    async def invalidate_tags(self, *tags: str) -> None:
        """Make every answer that carries one of `tags` invalid, in every process, at once. O(1) per tag.

        Raises:
            InvalidationPending: the store did not acknowledge; it is tried again until it does.
        """
        stored = [user_tag(tag) for tag in checked_tags(tags)]
        if stored:
            with self._span("cachecore.invalidate_tags"):
                await carried(self._engine.state(), invalidate_stamps(self._scope, stored, "tags"))

    async def invalidate_prefix(self, namespace: str) -> int | None:
        """Make every answer of `namespace` (whole segments, below this cache's own) invalid, at once.

        Returns how many entries were deleted to give their memory back: exact without concurrent writers, None where
        the store cannot list its keys. Raises what `invalidate_tags` raises.
        """
        if not namespace:
            raise OptionsError("namespace must not be empty here; `invalidate_all` invalidates everything")
        return await self._invalidate_namespace(self._scope.keys.child(namespace), "prefix")

    async def invalidate_all(self) -> int | None:
        """Make every answer of this cache's namespace and those below it invalid; returns as `invalidate_prefix`."""
        return await self._invalidate_namespace(self._scope.keys, "all")

    async def sweep_tag(self, tag: str, wanted: Callable[[str], bool]) -> int | None:
        """Make every answer that carries `tag` invalid, at once, then delete those that lie in `wanted` namespaces.

        For tags whose answers the caller can find by namespace: `wanted` is given each namespace below this cache's own
        (`faq/v3`) and says whether what lies there carries the tag. Returns and raises as `invalidate_prefix`.
        """
        return await self._sweep(self._scope, [user_tag(one) for one in checked_tags([tag])], "tags", wanted)

    async def _invalidate_namespace(self, keys: KeySpace, kind: str) -> int | None:
        return await self._sweep(replace(self._scope, keys=keys), keys.namespace_tags()[-1:], kind)

    async def _sweep(
        self, scope: Scope, tags: Sequence[str], kind: str, wanted: Callable[[str], bool] | None = None
    ) -> int | None:
        with self._span("cachecore.invalidate"):
            state = self._engine.state()
            await carried(state, invalidate_stamps(scope, tags, kind))
            return await delete_entries(scope, state, kind, tags, wanted)

    async def pin_tag(self, tag: str) -> None:
        """Inside a factory: depend on `tag` from now on. Call it before reading what the tag stands for.

        An invalidation of the tag between this call and the end of the factory makes the answer be born dead. Outside
        a factory it does nothing. A store that cannot be read means that the answer will not be stored.
        """
        flight = current_flight()
        (stored,) = (user_tag(one) for one in checked_tags([tag]))
        state = self._engine.state()
        if flight is None or flight.flights is not state.flights:  # none, or another cache's
            return
        # One factory computes a whole batch, and nobody can tell for which of its answers it pins.
        await asyncio.gather(*(pin_tag(self._scope, state, one, stored) for one in flight.group if not one.answered))

    # Many at once

    async def get_many(self, requests: Sequence[R] | Mapping[R, Any], *, tags: Sequence[str] = ()) -> dict[R, V]:
        """Return the fresh answers among `requests`, in as few round trips as the store allows.

        `requests` is a sequence of hashable requests, or a mapping of names to requests of any kind; the result has
        the requests, or the names, that had an answer.
        """
        named = _named(requests)
        answers = await asyncio.gather(*(self.get(request, _MISSING, tags=tags) for request in named.values()))
        return {name: cast("V", answer) for name, answer in zip(named, answers, strict=True) if answer is not _MISSING}

    async def get_or_set_many(
        self,
        requests: Sequence[R] | Mapping[R, Any],
        factory: Callable[[list[R]], Awaitable[Mapping[R, V | Computed[V]]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[R, V]:
        """Return the answers to `requests`, computing together those that nobody has or computes.

        `requests` as for `get_many`. `factory` is called once, with the names to compute, and returns a mapping of
        names to answers; a second time only for keys whose other process failed to compute them. What it leaves out
        is left out of the result and not stored; what nobody asked for is ignored. Computations under way for single
        requests are joined, and this one can be joined by them. Raises what `get_or_set` raises.
        """
        named = _named(requests)
        if bypassed():
            self._scope.telemetry.counts.bypassed += len(named)
            fresh = await factory(list(named))
            return {name: _plain(fresh[name]) for name in named if name in fresh}
        names: dict[str, R] = {}
        by_name = {name: self._key_of(request) for name, request in named.items()}
        for name, key in by_name.items():
            names.setdefault(key, name)
        with self._span("cachecore.get_or_set_many"):
            answers = await ask_many(self._scope, names, tags, factory, self._checked(ttl))
        return {name: cast("V", answers[key]) for name, key in by_name.items() if answers[key] is not ABSENT}

    # Around it

    @overload
    def cached(self, function: Callable[P, Awaitable[R]], /) -> CachedFunction[P, R]: ...
    @overload
    def cached(
        self,
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] | Callable[..., Sequence[str]] = (),
        name: str | None = None,
        exclude: Sequence[str] = (),
    ) -> Callable[[Callable[P, Awaitable[R]]], CachedFunction[P, R]]: ...
    def cached(
        self,
        function: Callable[..., Any] | None = None,
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] | Callable[..., Sequence[str]] = (),
        name: str | None = None,
        exclude: Sequence[str] = (),
    ) -> Any:
        """Cache the answers of an async function: `@cache.cached` or `@cache.cached(ttl=60)`.

        Args:
            function: what is decorated.
            ttl: seconds an answer stays fresh; None means for ever; not given: the cache's own.
            tags: tags of every answer, or a function of the arguments that returns them.
            name: what the function is called in the request; its module and qualified name otherwise.
            exclude: parameters that do not shape the answer.

        Raises:
            OptionsError: it is not async, or one name would mean two functions.
        """

        def decorate(decorated: Callable[..., Any]) -> CachedFunction[..., Any]:
            checked = tags if callable(tags) else tuple(checked_tags(tags))
            return CachedFunction(
                self, decorated, ttl=self._checked(ttl), tags=checked, name=name, exclude=tuple(exclude)
            )

        return decorate if function is None else decorate(function)

    def claim(self, name: str, function: object, *, named: bool) -> None:
        """Take note that `name` means `function` in this namespace.

        A definition that is run again with other variables around it is another function under the same name: they
        would get each other's answers. Raises OptionsError.
        """
        code = getattr(function, "__code__", None)
        claims = self._engine.claims
        place = (self._scope.keys.namespace, name)
        closed_over = getattr(function, "__closure__", None) is not None
        if code is not None and not named and closed_over and claims.get(place) is code:
            raise OptionsError(
                f"{name} is decorated a second time with other variables around it; both would share their answers. "
                "Give each a name of its own: cached(name=…)"
            )
        if code is not None:
            claims[place] = code

    @property
    def slot_of(self) -> Callable[[str], Slot | None]:
        """What returns the copy in memory under a key, for callers that keep keys; see `Engine.peek`."""
        return self._peek

    @property
    def monotonic(self) -> Callable[[], float]:
        """The clock that `Slot.refresh_at` is told by."""
        return self._engine.monotonic

    @property
    def counts(self) -> Counts:
        """The live counts; `stats` is a snapshot of them."""
        return self._counts

    @property
    def stats(self) -> Stats:
        """The counts so far; a snapshot."""
        return self._scope.telemetry.counts.snapshot()

    async def health(self) -> dict[str, object]:
        """Return what works now, by asking the store; never raises and is bounded by the store's deadline."""
        return await self._engine.health()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish background work, within bounded time, and close the store if it was built from a URL. Idempotent."""
        await self._engine.aclose()

    def _checked(self, ttl: Duration | Unset | None) -> float | Unset | None:
        return ttl if isinstance(ttl, Unset) else lifetime("ttl", ttl)

    def _life(self, ttl: Duration | Unset | None) -> float | None:
        return self._scope.policy.ttl if isinstance(ttl, Unset) else lifetime("ttl", ttl)

    def _span(self, name: str) -> AbstractContextManager[object]:
        tracer = self._scope.telemetry.tracer()
        return _NO_SPAN if tracer is None else tracer.start_as_current_span(name)


_NO_SPAN: Final = nullcontext()
_MISSING: Final[Any] = object()


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Computed) else value


def _named(requests: Sequence[R] | Mapping[R, Any]) -> dict[R, Any]:
    """Return requests by name; a request of a sequence is its own name."""
    if isinstance(requests, Mapping):
        return dict(requests)
    named: dict[R, Any] = {}
    for request in requests:
        try:
            known = named.setdefault(request, request)
        except TypeError as error:
            raise OptionsError(
                f"a {type(request).__name__} cannot name its answer in a dict; give a mapping of names to requests"
            ) from error
        if type(known) is not type(request):
            raise OptionsError(
                f"requests {known!r} and {request!r} are equal in Python but different here; give a mapping of names"
            )
    return named
