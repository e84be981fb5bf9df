"""Many requests at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

from cachecore.api.reads import Reads, plain
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration
from cachecore.contract.results import UNSET, Computed, Unset
from cachecore.engine.bypass import bypassed
from cachecore.engine.computation import ABSENT
from cachecore.engine.factories import awaited
from cachecore.engine.question import question
from cachecore.engine.read import read_own, take
from cachecore.engine.scope import stored_tags

V = TypeVar("V")
R = TypeVar("R")
T = TypeVar("T")
Unhashable = Mapping[Any, Any] | list[Any] | set[Any] | bytearray
"""Requests that are called by their positions, as far as type checkers know them: others are records."""


class Many(Reads[V]):
    """Calls for many answers."""

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
                reads = (read_own(question(scope, state, keys[name], tags)) for name in missing)
                for name, snapshot in zip(missing, await asyncio.gather(*reads), strict=True):
                    answers[name] = take(scope, snapshot)
                    self._counts.misses += answers[name] is UNSET
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
