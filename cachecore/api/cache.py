"""`Cache`: how one is built, and the face that puts its parts together; its calls are those of `Answers`."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, Unpack, overload

from cachecore.api.answers import Answers
from cachecore.api.build import check_parts, chosen_serializer, split_options, suggestion, typed_like
from cachecore.api.cached_calls import CallOptions
from cachecore.api.decorators import cached_function
from cachecore.api.function_types import CachedClassMethod, CachedFunction, CachedStaticMethod, Decorator
from cachecore.api.option_types import BuildOptions, ConfigArguments, PolicyOptions
from cachecore.api.signatures import Vary
from cachecore.api.tag_templates import Tags
from cachecore.contract import plugins
from cachecore.contract.clock import Clock, moved_by_tests, system_clock
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import POLICY_FIELDS, Duration
from cachecore.contract.protocols import CacheBackend, KeyHasher, Serializer
from cachecore.contract.results import UNSET, Unset
from cachecore.contract.tokens import random_token
from cachecore.engine import ending
from cachecore.engine.adopt import adopt
from cachecore.engine.engine import Engine
from cachecore.engine.given import GivenStore, Sources
from cachecore.engine.scope import Admit, RescueIf, Scope, checked_tags
from cachecore.engine.telemetry import Telemetry
from cachecore.keys import KeySpace

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

if TYPE_CHECKING:  # the default, so that `Cache(…)` needs no annotation; `typing` has it from Python 3.13 on
    from typing_extensions import TypeVar

    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    V = TypeVar("V")
P = ParamSpec("P")
_CALL_OPTIONS = ("tags", "name", "exclude", "vary", "refresh_factory")
R = TypeVar("R")
S = TypeVar("S")


class Cache(Answers[V]):
    """Answers to requests, kept in this process's memory and in a store.

        async with Cache("redis://localhost", ttl=3600) as cache:
            answer = await cache.get_or_set({"q": "What is the capital of France?"}, ask)

    A request is any value with a canonical form: see `cachecore.keys`. A view made by `scoped` shares everything with
    the cache it was made from. One cache may be used from several event loops, in turn or at once.

    Args:
        backend: a URL (`memory://`, `sqlite:///path`, `redis://host`) or a backend, which stays the caller's to close.
        ttl: how long an answer is fresh: seconds, a timedelta or text such as "24h"; None means for ever.
        namespace: segments separated by `/`; part of the key; `invalidate_prefix` takes it.
        prefix: the prefix of all keys of this application.
        value_type: the type of values, for the `typed` serializer; plain data needs none.
        hasher: a name or a `KeyHasher`.
        serializer: a name or a `Serializer`; `msgpack` unless there is a `value_type`.
        tags: tags that every entry carries, for `invalidate_tags`.
        admit: told each computed value; returns whether to store it, or a `Computed` that says how.
        rescue_if: told the exception of a failed computation; returns whether `stale_if_error` covers it. Without it,
            every exception is covered.
        name: the name of this cache in metrics.
        clock: the source of time; a test gives a `FakeClock`.
        chance: the source of randomness.
        token: the source of unique tokens of 16 bytes.
        meter: the OpenTelemetry meter of the instruments; None: that of the installed SDK.
        options: any field of `Policy`, `StoreOptions` and `MemoryOptions` in `cachecore.contract.options`.

    Other options come from the environment (`CACHECORE_TTL=24h`), then from `cachecore.toml` or the table
    `[tool.cachecore]` of `pyproject.toml` in the working directory, then from the defaults.

    Raises:
        OptionsError: a setting is wrong.
        PluginNotFound: no plugin has that name.
    """

    __slots__ = ()

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
    def __init__(
        self, backend: str | CacheBackend | Unset = UNSET, *, ttl: Duration | Unset | None = UNSET, **options: Any
    ) -> None:
        given = {"backend": backend, "ttl": ttl}
        given = {**{name: value for name, value in given.items() if not isinstance(value, Unset)}, **options}
        self._build(**_complete(_configured(given)))

    def _build(
        self,
        backend: str | CacheBackend,
        *,
        ttl: Duration | None,
        namespace: str = "",
        prefix: str = "cc",
        value_type: Any = None,
        hasher: str | KeyHasher = "sha256",
        serializer: str | Serializer | None = None,
        tags: Sequence[str] = (),
        admit: Admit | None = None,
        rescue_if: RescueIf | None = None,
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
        ticking = clock or system_clock()
        check_parts(named, chosen, admit, rescue_if, ticking)
        checked_tags(tags)
        root = KeySpace(prefix, "", named)
        KeySpace(prefix, namespace, named)  # wrong names fail before anything is built
        owned = isinstance(backend, str)
        telemetry = Telemetry(name, meter)
        built: object = backend
        if isinstance(backend, str):
            moved = ticking if clock is not None or moved_by_tests() else None
            built = plugins.backend_from_url(backend, clock=moved, required=clock is not None)
        if not isinstance(built, CacheBackend):
            way_out = f": write {f'sqlite:///{built}'!r}" if isinstance(built, Path) else ""
            raise OptionsError(
                f"backend must be a URL or have the methods of CacheBackend, not {type(built).__name__}{way_out}"
            )
        prefix_of_all = root.scan_prefixes()[0].removesuffix(":e:")
        engine = Engine(
            GivenStore(backend=built, owned=owned, prefix=prefix_of_all, options=store),
            memory,
            Sources(clock=ticking, chance=chance or random.Random(), token=token),  # noqa: S311 - jitter, not secrets
            telemetry,
        )
        if engine.keeps:
            engine.adopt = adopt
        keys = KeySpace(prefix, namespace, named, shards=engine.shards)
        self._use(Scope(engine, keys, policy, chosen, tuple(tags), telemetry, admit, rescue_if))

    def __repr__(self) -> str:
        return f"Cache({self._engine.raw!r}, namespace={self._scope.keys.namespace!r})"

    @classmethod
    def from_config(
        cls, source: str | Path | Mapping[str, Any] | None = None, **arguments: Unpack[ConfigArguments]
    ) -> Cache[Any]:
        """Return a cache as configured: arguments first, then `CACHECORE_*` in the environment, then the file.

        `source` is a path, a mapping, or None: then `cachecore.toml` or `[tool.cachecore]` in the working directory.
        """
        cache: Cache[Any] = Cache.__new__(Cache)
        cache._build(**_complete(_configured(arguments, source)))
        return cache

    @staticmethod
    def configuration() -> dict[str, Any]:
        """Return the settings that `CACHECORE_*` in the environment and the file give; others are left out.

        For layers on a cache that have defaults of their own. Raises as `from_config`.
        """
        return _configured({})

    def scoped(
        self,
        namespace: str = "",
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        value_type: Any = None,
        serializer: str | Serializer | None = None,
        admit: Admit | Unset | None = UNSET,
        rescue_if: RescueIf | Unset | None = UNSET,
        name: str | None = None,
        **policy: Unpack[PolicyOptions],
    ) -> Cache[Any]:
        """Return a view of `namespace` below this one, sharing memory, store and guard.

        Options that are not given are as here; `tags` are added to this cache's own. A `name` gives it its own counts.
        """
        unknown = sorted(set(policy) - POLICY_FIELDS)
        if unknown:
            raise OptionsError(f"a view has no option {unknown[0]!r}; it has {', '.join(sorted(POLICY_FIELDS))}")
        scope = self._scope
        changes: dict[str, Any] = {**policy} if isinstance(ttl, Unset) else {**policy, "ttl": ttl}
        chosen = scope.serializer
        if serializer is not None:
            chosen = chosen_serializer(serializer, value_type)
        elif value_type is not None:
            chosen = typed_like(chosen, value_type)
        view: Cache[Any] = Cache.__new__(Cache)
        view._use(
            Scope(
                scope.engine,
                scope.keys.child(namespace),
                replace(scope.policy, **changes) if changes else scope.policy,
                chosen,
                (*scope.tags, *checked_tags(tags)),
                scope.telemetry if name is None else scope.telemetry.named(name),
                scope.admit if isinstance(admit, Unset) else admit,
                scope.rescue_if if isinstance(rescue_if, Unset) else rescue_if,
            )
        )
        return view

    @overload
    def cached(self, function: classmethod[S, P, Coroutine[Any, Any, R]], /) -> CachedClassMethod[S, P, R]: ...
    @overload
    def cached(self, function: staticmethod[P, Coroutine[Any, Any, R]], /) -> CachedStaticMethod[P, R]: ...  # type: ignore[overload-overlap]  # a staticmethod is callable too; the first that fits counts
    @overload
    def cached(self, function: Callable[P, Awaitable[R]], /) -> CachedFunction[P, R]: ...
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
        refresh_factory: Callable[..., Awaitable[Any]] | None = None,
        **policy: Unpack[PolicyOptions],
    ) -> Decorator: ...
    def cached(
        self,
        function: Any = UNSET,
        *,
        tags: Tags = (),
        name: str | None = None,
        exclude: Sequence[str] = (),
        vary: Vary = (),
        refresh_factory: Callable[..., Awaitable[Any]] | None = None,
        **view: Any,
    ) -> Any:
        """Cache the answers of an async function: `@cache.cached` or `@cache.cached(ttl=60)`.

        The result is an async function too, with the helpers `invalidate`, `refresh`, `lookup` and `key`, which take
        its arguments (those of a method take the object first), `invalidate_all()` and `stats()`.

        Args:
            function: the decorated function.
            tags: tags of every answer, with placeholders for arguments (`"user:{user_id}"`), or a function of the
                arguments that returns them.
            name: the name of the function in the request; its module and qualified name otherwise.
            exclude: parameters that do not shape the answer, and attributes of a method's object (`"self.client"`).
            vary: a ContextVar or a function without arguments, or several of them: their values are part of every
                request, such as the language of the visitor.
            refresh_factory: an async function that is called instead of the function itself to refresh behind an answer
                that was served already, with the arguments that are part of the request, by name.
            view: `ttl` (seconds; None means for ever) and any other field of `Policy`, such as `stale_if_error` and
                `finish`, for this function alone; `namespace` of the answers, below the cache's own; `value_type`, the
                type of the answers for the `typed` serializer. Without it the return annotation counts, where plain
                data would not keep the named type; with `typing.Any` it does not.

        Raises:
            OptionsError: the function is not async or an option is wrong; or one name would mean two functions.
        """
        calls = CallOptions(tags=tags, name=name, exclude=exclude, vary=vary, refresh_factory=refresh_factory)
        call_options, scope = function_options(self, calls, **view)
        if not isinstance(function, Unset):
            return cached_function(function, call_options, scope)
        return lambda decorated: cached_function(decorated, call_options, scope)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish background work, within bounded time, and close the store if it was built from a URL. Idempotent.

        Afterwards `get_or_set` and all that computes still computes, with one warning in the log; look-ups find
        nothing; explicit writes, invalidations and claims raise `CacheError`.
        """
        await ending.close(self._engine)


def _configured(arguments: Mapping[str, Any], source: str | Path | Mapping[str, Any] | None = None) -> dict[str, Any]:
    from cachecore.api import configuration  # with the parser of the file: not before there is a cache

    return configuration.completed(arguments, source)


def _complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a cache if they are enough for one. Raises OptionsError."""
    if settings.get("backend") is None:
        raise OptionsError(
            "no backend is configured: give one, as in Cache('memory://', ttl=60), or set CACHECORE_BACKEND, or "
            "backend in cachecore.toml, to a URL"
        )
    if "ttl" not in settings:
        raise OptionsError(
            "no ttl is configured: give one, as in Cache(…, ttl='24h'), or set CACHECORE_TTL, or ttl in "
            "cachecore.toml; None or 'forever' means for ever"
        )
    return settings


def function_options(
    cache: Cache[Any], calls: CallOptions, **options: Any
) -> tuple[CallOptions, Callable[[Sequence[str]], Scope]]:
    """Return the options of a cached function, and a function that makes its view from the tags of all its answers.

    `calls` are the options that concern requests, `options` those of `scoped`. Raises OptionsError.
    """
    known = POLICY_FIELDS | {"value_type", "namespace"}
    for option in options:
        if option not in known:
            raise OptionsError(f"cached has no option {option!r}; {suggestion(option, {*known, *_CALL_OPTIONS})}")
    value_type = options.pop("value_type", None)
    view = cache.scoped(value_type=None if value_type is Any else value_type, **options)
    return replace(calls, typed=value_type is None), lambda fixed: view.scoped(tags=fixed)._scope  # noqa: SLF001 - of a class in this module
