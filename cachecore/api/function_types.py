"""The types of cached functions for type checkers. At run time each is a plain function, method or class method.

`P` are all parameters, those that helpers take; `Q` the parameters of a call, which on a bound method lack the object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from cachecore.contract.results import Lookup
from cachecore.engine.counts import Stats

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class Keyed(Protocol[P]):
    """The helpers that ask neither memory nor store."""

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of a call with these arguments."""

    def stats(self) -> Stats:
        """Return the counts of this function in this process; a snapshot."""


class Helpers(Keyed[P], Protocol[P, R_co]):
    """The helpers of a cached async function."""

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Delete the answer for these arguments; return whether there was one."""

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function for these arguments even if an answer is cached, and cache the new answer."""

    async def lookup(self, *args: P.args, **kwargs: P.kwargs) -> Lookup[R_co]:
        """Return the answer for these arguments and where it came from; calls the function if there is none."""

    async def invalidate_all(self) -> None:
        """Make all answers of the function invalid, in every process, at once."""


class BoundCached(Helpers[P, R_co], Protocol[P, Q, R_co]):
    """A cached async function or method, as it is called."""

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> Coroutine[Any, Any, R_co]:
        """Return the cached answer, or call the function."""


class CachedOnClass(Helpers[P, R_co], Protocol[P, R_co]):
    """A cached async method as an attribute of its class."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]: ...
    @overload  # a class method, which type checkers see as a function with its class as a parameter
    def __call__(
        self: CachedOnClass[Concatenate[type[S], Q], R], *args: Q.args, **kwargs: Q.kwargs
    ) -> Coroutine[Any, Any, R]: ...


class CachedFunction(BoundCached[P, P, R_co], Protocol[P, R_co]):
    """A cached async function; in a class, its instances bind it."""

    @overload
    def __get__(self, instance: None, owner: type) -> CachedOnClass[P, R_co]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> BoundCached[Concatenate[S, Q], Q, R]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[type[S], Q], R], instance: S, owner: type | None = None
    ) -> BoundCached[Concatenate[type[S], Q], Q, R]: ...


class CachedClassMethod(Protocol[S_co, P, R_co]):
    """A cached async class method: `cached` above `classmethod`."""

    def __get__(
        self, instance: object, owner: type | None = None
    ) -> BoundCached[Concatenate[type[S_co], P], P, R_co]: ...


class CachedStaticMethod(Protocol[P, R_co]):
    """A cached async static method: `cached` above `staticmethod`."""

    def __get__(self, instance: Any, owner: type | None = None) -> BoundCached[P, P, R_co]: ...


class Decorator(Protocol):
    """The decorator that `Cache.cached(…)` with options returns."""

    @overload
    def __call__(self, function: classmethod[S, P, Coroutine[Any, Any, R]], /) -> CachedClassMethod[S, P, R]: ...
    @overload
    def __call__(self, function: staticmethod[P, Coroutine[Any, Any, R]], /) -> CachedStaticMethod[P, R]: ...  # type: ignore[overload-overlap]  # a staticmethod is callable too; the first that fits counts
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> CachedFunction[P, R]: ...


class SyncHelpers(Keyed[P], Protocol[P, R_co]):
    """The helpers of a cached function that is not async."""

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Delete the answer for these arguments; return whether there was one."""

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function for these arguments even if an answer is cached, and cache the new answer."""

    def lookup(self, *args: P.args, **kwargs: P.kwargs) -> Lookup[R_co]:
        """Return the answer for these arguments and where it came from; calls the function if there is none."""

    def invalidate_all(self) -> None:
        """Make all answers of the function invalid, in every process, at once."""


class BoundSyncCached(SyncHelpers[P, R_co], Protocol[P, Q, R_co]):
    """A cached function or method, as it is called."""

    def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R_co:
        """Return the cached answer, or call the function."""


class SyncCachedOnClass(SyncHelpers[P, R_co], Protocol[P, R_co]):
    """A cached method as an attribute of its class."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload  # a class method, which type checkers see as a function with its class as a parameter
    def __call__(self: SyncCachedOnClass[Concatenate[type[S], Q], R], *args: Q.args, **kwargs: Q.kwargs) -> R: ...


class SyncCachedFunction(BoundSyncCached[P, P, R_co], Protocol[P, R_co]):
    """A cached function; in a class, its instances bind it."""

    @overload
    def __get__(self, instance: None, owner: type) -> SyncCachedOnClass[P, R_co]: ...
    @overload
    def __get__(
        self: SyncCachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> BoundSyncCached[Concatenate[S, Q], Q, R]: ...
    @overload
    def __get__(
        self: SyncCachedFunction[Concatenate[type[S], Q], R], instance: S, owner: type | None = None
    ) -> BoundSyncCached[Concatenate[type[S], Q], Q, R]: ...


class SyncCachedClassMethod(Protocol[S_co, P, R_co]):
    """A cached class method: `cached` above `classmethod`."""

    def __get__(
        self, instance: object, owner: type | None = None
    ) -> BoundSyncCached[Concatenate[type[S_co], P], P, R_co]: ...


class SyncCachedStaticMethod(Protocol[P, R_co]):
    """A cached static method: `cached` above `staticmethod`."""

    def __get__(self, instance: Any, owner: type | None = None) -> BoundSyncCached[P, P, R_co]: ...


class SyncDecorator(Protocol):
    """The decorator that `SyncCache.cached(…)` with options returns."""

    @overload
    def __call__(self, function: classmethod[S, P, R], /) -> SyncCachedClassMethod[S, P, R]: ...
    @overload
    def __call__(self, function: staticmethod[P, R], /) -> SyncCachedStaticMethod[P, R]: ...  # type: ignore[overload-overlap]  # a staticmethod is callable too; the first that fits counts
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncCachedFunction[P, R]: ...
