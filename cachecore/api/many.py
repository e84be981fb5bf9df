"""The calls of a view for several answers: those to many requests, and those that lie in its namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

from cachecore.api.reads import Reads, plain
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration
from cachecore.contract.results import UNSET, Computed, StoredEntry, Unset
from cachecore.engine import contents as engine_contents
from cachecore.engine.bypass import bypassed
from cachecore.engine.computation import ABSENT
from cachecore.engine.factories import awaited
from cachecore.engine.read import fetch_many
from cachecore.engine.scope import question, stored_tags

V = TypeVar("V")
R = TypeVar("R")
T = TypeVar("T")
Unhashable = Mapping[Any, Any] | list[Any] | set[Any] | bytearray
"""Requests that are called by their positions, as far as type checkers know them: others are records."""


class Many(Reads[V]):
    """A view with its calls for several answers."""

    __slots__ = ()

    @overload
    async def get_many(self, requests: Sequence[Unhashable], *, tags: Sequence[str] = ()) -> dict[int, V]: ...
    @overload
    async def get_many(self, requests: Sequence[R] | Mapping[R, Any], *, tags: Sequence[str] = ()) -> dict[R, V]: ...
    async def get_many(self, requests: Sequence[Any] | Mapping[Any, Any], *, tags: Sequence[str] = ()) -> dict[Any, V]:
        """Return the fresh answers among `requests`, in as few round trips as the store allows.

        `requests` is a sequence of requests, or a mapping of names to requests; the result has the names that had an
        answer. A request of a sequence is its own name; if one of them cannot be the key of a dict, each is called by
        its position: 0, 1, 2.
        """
        named, scope = _named(requests), self._scope
        keys = {name: self._key_of(request) for name, request in named.items()}
        if bypassed():
            self._counts.bypassed += len(keys)
            return {}
        stored = stored_tags(tags)
        answers = {name: self._find_value(key, stored) for name, key in keys.items()}
        missing = [name for name, answer in answers.items() if answer is UNSET]
        if missing:
            with self._span("cachecore.get_many"):
                state = self._engine.state()
                values = await fetch_many([question(scope, state, keys[name], tags) for name in missing])
                answers.update(zip(missing, values, strict=True))
                self._counts.misses += sum(value is UNSET for value in values)
        return {name: cast("V", answer) for name, answer in answers.items() if answer is not UNSET}

    @overload
    async def get_or_set_many(  # type: ignore[overload-overlap]  # the first that fits counts: names, then positions
        self,
        requests: Sequence[R] | Mapping[R, Any],
        factory: Callable[[list[R]], Awaitable[Mapping[R, Computed[T]]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[R, T]: ...
    @overload
    async def get_or_set_many(  # type: ignore[overload-overlap]  # the first that fits counts: names, then positions
        self,
        requests: Sequence[R] | Mapping[R, Any],
        factory: Callable[[list[R]], Awaitable[Mapping[R, T | Computed[T]]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[R, T]: ...
    @overload  # called by their positions
    async def get_or_set_many(
        self,
        requests: Sequence[Any],
        factory: Callable[[list[int]], Awaitable[Mapping[int, Computed[T]]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[int, T]: ...
    @overload
    async def get_or_set_many(
        self,
        requests: Sequence[Any],
        factory: Callable[[list[int]], Awaitable[Mapping[int, T | Computed[T]]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[int, T]: ...
    async def get_or_set_many(
        self,
        requests: Sequence[Any] | Mapping[Any, Any],
        factory: Callable[[list[Any]], Awaitable[Mapping[Any, Any]]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
    ) -> dict[Any, Any]:
        """Return the answers to `requests`; those neither stored nor under way are computed together.

        `requests` as for `get_many`. `factory` is called once, with the names to compute, and returns a mapping of
        names to answers; a second time only for keys that another process failed to compute. A name it leaves out is
        left out of the result and not stored; a name that was not asked is ignored. Computations under way for single
        requests are joined, and this one can be joined by them.

        Raises:
            ValueError: the factory answers, but under none of the names that it was given.

        Also raises as `get_or_set`.
        """
        from cachecore.engine.batch import BatchCall
        from cachecore.engine.batch_computation import check_names

        named = _named(requests)
        if bypassed():
            self._scope.telemetry.counts.bypassed += len(named)
            fresh = await awaited(factory, list(named))
            check_names(list(named), fresh)
            return {name: plain(fresh[name]) for name in named if name in fresh}
        names: dict[str, Any] = {}
        by_name = {name: self._key_of(request) for name, request in named.items()}
        for name, key in by_name.items():
            names.setdefault(key, name)
        answers = await BatchCall(self._scope, names, tags, factory, self._checked(ttl)).answers()
        return {name: answers[key] for name, key in by_name.items() if answers[key] is not ABSENT}

    def contents(self, *, most: int = 10_000, below: bool = False) -> AsyncIterator[tuple[str, V]]:
        """Yield key and value of each answer in this namespace that may be served.

        Fresh and stale ones, checked as every read is, in no order; counted as no hit and kept nowhere. Ends early
        where the store stops answering, and yields nothing where it cannot list its keys.

        Args:
            most: keys that are looked at, at most.
            below: whether the answers in the namespaces below this one are yielded as well.

        Raises:
            OptionsError: `most` is below 1.
            CacheError: the cache is closed.
        """
        if most < 1:
            raise OptionsError(f"most must be 1 or more, not {most!r}")
        return engine_contents.contents(self._scope, self._open("contents"), most, below)

    def entries(
        self,
        *,
        keys: Sequence[str] | None = None,
        where: Callable[[str], bool] | None = None,
        most: int = 10_000,
    ) -> AsyncIterator[StoredEntry[V]]:
        """Yield the facts of each answer in this namespace and those below it that may be served, for an operator.

        Fresh and stale ones, checked as every read is, in no order; counted as no hit and kept nowhere. Values are
        decoded when they are asked for. Ends as `contents` does.

        Args:
            keys: only these, as a lookup or an earlier listing told them.
            where: given each namespace below this cache's own (`faq/v3`), says whether what lies there is wanted; what
                is not is not read.
            most: answers that are looked at, at most.

        Raises:
            OptionsError: `most` is below 1.
            CacheError: the cache is closed.
        """
        if most < 1:
            raise OptionsError(f"most must be 1 or more, not {most!r}")
        return engine_contents.entries(self._scope, self._open("entries"), keys, where, most)


def _named(requests: Sequence[R] | Mapping[R, Any]) -> dict[R, Any]:
    """Return requests by name; a request of a sequence is its own name, or all are called by their positions."""
    if isinstance(requests, Mapping):
        return dict(requests)
    named: dict[R, Any] = {}
    for request in requests:
        try:
            known = named.setdefault(request, request)
        except TypeError:  # it cannot be the key of a dict
            return cast("dict[R, Any]", dict(enumerate(requests)))
        if type(known) is not type(request):
            raise OptionsError(
                f"requests {known!r} and {request!r} are equal in Python but different here; give a mapping of names"
            )
    return named
