"""`@cache.cached` of a `SyncCache`: a function without `async` whose answers are cached, with its own types."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from cachecore.api.answers import Answers
from cachecore.api.signatures import CallSignature, Decorated, Tags, name_of, unbound
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration
from cachecore.contract.results import UNSET, Lookup, Unset

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")


class SyncAnswers(Protocol):
    """What a cached function asks of the cache that it was decorated by; `SyncCache` is one."""

    def key(self, request: Any) -> str:
        """Return the key of `request`."""

    def get_or_set(
        self, request: Any, factory: Callable[[], Any], *, ttl: Duration | Unset | None, tags: Sequence[str]
    ) -> Any:
        """Return the stored answer, or compute it."""

    def lookup(
        self, request: Any, factory: Callable[[], Any], *, ttl: Duration | Unset | None, tags: Sequence[str]
    ) -> Lookup[Any]:
        """Return the answer and where it came from."""

    def refresh(
        self, request: Any, factory: Callable[[], Any], *, ttl: Duration | Unset | None, tags: Sequence[str]
    ) -> Any:
        """Compute the answer anew."""

    def delete(self, request: Any) -> bool:
        """Delete the answer."""


class SyncCachedFunction(Decorated, Generic[P, R]):
    """A function that asks the cache first. Made by `SyncCache.cached`.

    Calling it is calling the function, with the same arguments and the same type of answer, in the caller's thread.
    """

    def __init__(
        self,
        cache: SyncAnswers,
        shared: Answers[Any],
        function: Callable[P, R],
        *,
        ttl: Duration | Unset | None,
        tags: Tags,
        name: str | None,
        exclude: Sequence[str],
    ) -> None:
        binds, function = unbound(function)
        called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind is asked for, not whether there is one
        for one in (function, called):
            if inspect.iscoroutinefunction(one) or inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
                raise OptionsError(
                    f"SyncCache.cached takes a function that returns its answer; {name_of(function)} returns a "
                    "coroutine or a generator. Cache.cached is for async functions"
                )
        functools.update_wrapper(self, function)
        self.cache = cache
        self.signature = CallSignature(shared, function, binds, tags=tags, name=name, exclude=exclude)
        self._shared = shared
        self._ttl = ttl

    @overload
    def __get__(self, instance: None, owner: type) -> SyncCachedFunction[P, R]: ...
    @overload
    def __get__(
        self: SyncCachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> BoundSyncCached[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self.bound_by(BoundSyncCached, instance, owner)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the cached answer, or call the function. A hit in memory on built-in arguments encodes nothing."""
        return self.call(args, kwargs)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = False) -> R:
        """Return the answer for arguments already collected; `bound`: the first is the object of the method."""
        signature, shared = self.signature, self._shared
        if signature.static and not kwargs:
            key = signature.recall(args)
            value = UNSET if key is None else shared.find_value(key, (), True)
            if value is not UNSET:
                return cast("R", value)
        request, tags = signature.request(args, kwargs, bound=bound), signature.tags(args, kwargs)
        return cast("R", self.cache.get_or_set(request, self._factory(args, kwargs), ttl=self._ttl, tags=tags))

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of a call with these arguments."""
        return self.cache.key(self.signature.request(args, kwargs))

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Delete the answer for these arguments; return whether there was one."""
        return self.cache.delete(self.signature.request(args, kwargs))

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function for these arguments, whatever is cached, and cache what it returns."""
        return self.refresh_call(args, kwargs)

    def refresh_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = False) -> R:
        """Do what `refresh` does, for arguments already collected."""
        request, tags = self.signature.request(args, kwargs, bound=bound), self.signature.tags(args, kwargs)
        return cast("R", self.cache.refresh(request, self._factory(args, kwargs), ttl=self._ttl, tags=tags))

    def lookup(self, *args: P.args, **kwargs: P.kwargs) -> Lookup[R]:
        """Return the answer for these arguments and where it came from; calls the function if there is none."""
        return self.lookup_call(args, kwargs)

    def lookup_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = False) -> Lookup[R]:
        """Do what `lookup` does, for arguments already collected."""
        request, tags = self.signature.request(args, kwargs, bound=bound), self.signature.tags(args, kwargs)
        return self.cache.lookup(request, self._factory(args, kwargs), ttl=self._ttl, tags=tags)

    def _factory(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], R]:
        return functools.partial(self.signature.function, *args, **kwargs)


class BoundSyncCached(Generic[Q, R]):
    """A cached method of one object, or of the class it was called on."""

    __slots__ = ("_cached", "_instance")

    def __init__(self, cached: SyncCachedFunction[..., R], instance: object) -> None:
        self._cached = cached
        self._instance = instance

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """Return the cached answer, or call the method."""
        return self._cached.call((self._instance, *args), kwargs, bound=True)

    def key(self, *args: Q.args, **kwargs: Q.kwargs) -> str:
        """Return the key of a call with these arguments."""
        return self._cached.cache.key(self._request(args, kwargs))

    def invalidate(self, *args: Q.args, **kwargs: Q.kwargs) -> bool:
        """Delete the answer for these arguments; return whether there was one."""
        return self._cached.cache.delete(self._request(args, kwargs))

    def refresh(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """Call the method for these arguments, whatever is cached, and cache what it returns."""
        return self._cached.refresh_call((self._instance, *args), kwargs, bound=True)

    def lookup(self, *args: Q.args, **kwargs: Q.kwargs) -> Lookup[R]:
        """Return the answer for these arguments and where it came from; calls the method if there is none."""
        return self._cached.lookup_call((self._instance, *args), kwargs, bound=True)

    def _request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return self._cached.signature.request((self._instance, *args), kwargs, bound=True)
