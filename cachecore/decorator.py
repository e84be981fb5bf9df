"""`@cache.cached`: a function whose answers are cached, with its own types.

The request is the function's name and its arguments as it binds them, defaults included: `f(1)`, `f(a=1)` and
`f(a=1, b=<its default>)` are one request. Of a method's own object its class counts, and nothing else unless the class
has `__cachecore_key__`; of a class method the class it is called on. Arguments that are immutable built-ins are
recognised by type and value, without encoding or hashing them again.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeVar, cast, overload

from cachecore.bypassing import bypassed
from cachecore.errors import OptionsError
from cachecore.options import Duration
from cachecore.results import UNSET, Lookup, Unset

if TYPE_CHECKING:
    from cachecore.cache import Cache

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

_ATOMS: Final = frozenset({str, bytes, int, bool, type(None)})
"""Types whose equal values are one value. Not float: 0.0 == -0.0, and NaN is not even itself."""
_MEMO_ENTRIES: Final = 4096
_MEMO_BYTES: Final = 8 * 1024 * 1024


class CachedFunction(Generic[P, R]):
    """An async function that asks the cache first. Made by `Cache.cached`.

    Calling it is calling the function, with the same arguments and the same type of answer.
    """

    def __init__(
        self,
        cache: Cache[Any],
        function: Callable[P, Awaitable[R]],
        *,
        ttl: Duration | Unset | None,
        tags: Sequence[str] | Callable[..., Sequence[str]],
        name: str | None,
        exclude: Sequence[str],
    ) -> None:
        self._binds: Callable[..., Any] | None = None
        if isinstance(function, classmethod | staticmethod):  # they bind what they hold, and are not called
            self._binds = type(function)
            function = function.__func__
        called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind is asked for, not whether there is one
        if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(called):
            raise OptionsError(
                f"cached takes an async function; {_name_of(function)} is none. SyncCache.get_or_set is for others"
            )
        functools.update_wrapper(self, function)
        self.cache = cache
        self._function = function
        self._ttl = ttl
        self._tags = tags
        self._signature = inspect.signature(function)
        parameters = list(self._signature.parameters)
        unknown = [one for one in exclude if one not in parameters]
        if unknown:
            raise OptionsError(f"{_name_of(function)} has no parameter {unknown[0]!r} to exclude")
        self._exclude = frozenset(exclude)
        self._first = parameters[0] if parameters and self._binds is not staticmethod else None
        self._owner: type | None = None
        if name is None and (inspect.ismethod(function) or not hasattr(function, "__code__")):
            # A partial, an object that can be called or its method: others like it give other answers by that name.
            raise OptionsError(f"{_name_of(function)} is one of several of that name: give it one with cached(name=…)")
        self._name = name or f"{function.__module__}.{_name_of(function)}"
        cache.claim(self._name, function, named=name is not None)
        self._memo: dict[tuple[Any, ...], tuple[tuple[type, ...], str]] = {}
        self._memo_bytes = 0
        # A view's tags are on every entry of its namespace; tags of this function alone must be checked on each hit.
        self._static = not callable(tags) and not tags
        self._peek = cache.slot_of
        self._counts = cache.counts
        if hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)

    def __repr__(self) -> str:
        return f"<cached {self._name}>"

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner

    @overload
    def __get__(self, instance: None, owner: type) -> CachedFunction[P, R]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[S, Q], R], instance: S, owner: type | None = None
    ) -> BoundCached[Q, R]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if self._binds is staticmethod:
            return self
        if self._binds is classmethod:
            return BoundCached(self, owner)
        return self if instance is None else BoundCached(self, instance)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the cached answer, or call the function. About a microsecond for a hit on built-in arguments."""
        # What `recall` does, written out: here a function call more would be a fifth of the whole.
        try:
            known = None if kwargs else self._memo.get(args)
        except TypeError:  # an argument has no hash, so it cannot be recognised
            known = None
        if known is not None:
            kinds, key = known
            # The same as `kinds == tuple(map(type, args))`, in a third of the time for the usual one or two.
            count = len(kinds)
            if (
                (not count or type(args[0]) is kinds[0])
                and (count < 2 or type(args[1]) is kinds[1])
                and (count < 3 or (*map(type, args[2:]),) == kinds[2:])
                and not bypassed()
            ):
                slot = self._peek(key)
                if slot is not None and slot.refresh_at == inf:
                    value = slot.value
                    if value is not UNSET:
                        self._counts.hits_l1 += 1
                        answer: R = value  # not `cast`, which is a call
                        return answer
        return await self.call(args, kwargs)

    async def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = False) -> R:
        """Return the answer for arguments already collected; `bound`: the first is the object of the method."""
        cache, tags = self.cache, self._tags
        if self._static and not kwargs and not bypassed():
            key = self._recall(args)
            slot = None if key is None else self._peek(key)
            if key is not None and slot is not None and cache.monotonic() < slot.refresh_at:
                value = cache.peek(key=key, default=UNSET)
                if value is not UNSET:
                    return cast("R", value)
        request = self.request(args, kwargs, bound=bound)
        if callable(tags):
            tags = tags(*args, **kwargs)
        return cast("R", await cache.get_or_set(request, self._factory(args, kwargs), ttl=self._ttl, tags=tags))

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of a call with these arguments."""
        return self.cache.key(self.request(args, kwargs))

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Delete the answer for these arguments; return whether there was one."""
        return await self.cache.delete(self.request(args, kwargs))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function for these arguments, whatever is cached, and cache what it returns."""
        return await self.refresh_call(args, kwargs)

    async def refresh_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = False) -> R:
        """Do what `refresh` does, for arguments already collected."""
        request = self.request(args, kwargs, bound=bound)
        tags = self._tags_of(args, kwargs)
        return cast("R", await self.cache.refresh(request, self._factory(args, kwargs), ttl=self._ttl, tags=tags))

    async def lookup(self, *args: P.args, **kwargs: P.kwargs) -> Lookup[R]:
        """Return the answer for these arguments and where it came from; calls the function if there is none."""
        return await self.lookup_call(args, kwargs)

    async def lookup_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = False) -> Lookup[R]:
        """Do what `lookup` does, for arguments already collected."""
        request = self.request(args, kwargs, bound=bound)
        tags = self._tags_of(args, kwargs)
        return await self.cache.lookup(request, self._factory(args, kwargs), ttl=self._ttl, tags=tags)

    def request(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool = False) -> dict[str, Any]:
        """Return what the answer depends on; `bound`: the first argument is the object of the method.

        Raises TypeError if the function does not take these arguments.
        """
        call = self._signature.bind(*args, **kwargs)
        call.apply_defaults()
        arguments = {name: value for name, value in call.arguments.items() if name not in self._exclude}
        request: dict[str, Any] = {"function": self._name, "arguments": arguments}
        first = self._first
        if first in arguments:
            whose = self._class_of(arguments[first], bound=bound)
            if whose is not None:
                del arguments[first]
                request["class"] = f"{whose.__module__}.{whose.__qualname__}"
        return request

    def _class_of(self, first: object, *, bound: bool) -> type | None:
        """Return the class that stands for the first argument in the request; None if that counts for itself."""
        if isinstance(first, type):
            # A class method's, whether it comes bound or, from Python 3.13 on, as an argument.
            return first if bound or self._first == "cls" else None
        if hasattr(type(first), "__cachecore_key__") or hasattr(first, "__cachecore_key__"):
            return None
        if self._first == "cls" and _in_class(self._function):
            raise TypeError(
                f"{self._name} does not know its class here: decorate with cached above classmethod, not below"
            )
        method = bound or (self._owner is not None and isinstance(first, self._owner))
        return type(first) if method else None

    def _factory(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], Awaitable[R]]:
        return lambda: self._function(*args, **kwargs)

    def _tags_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[str]:
        return self._tags(*args, **kwargs) if callable(self._tags) else self._tags

    def _recall(self, args: tuple[Any, ...]) -> str | None:
        """Return the key of a call whose arguments are all immutable built-ins, without encoding known ones again."""
        kinds = (*map(type, args),)
        if not _ATOMS.issuperset(kinds):
            return None
        known = self._memo.get(args)
        if known is not None and known[0] == kinds:
            return known[1]
        key = self.cache.key(self.request(args, {}))
        # What the memo keeps alive is bounded; starting over costs one encoding for each call that comes back.
        self._memo_bytes += 200 + sum(map(sys.getsizeof, args))
        if len(self._memo) >= _MEMO_ENTRIES or self._memo_bytes > _MEMO_BYTES:
            self._memo.clear()
            self._memo_bytes = 0
        # Under the values alone: of 1 and True, which are equal, the last one asked for is recognised.
        self._memo[args] = kinds, key
        return key


class BoundCached(Generic[Q, R]):
    """A cached method of one object, or of the class it was called on."""

    __slots__ = ("_cached", "_instance")

    def __init__(self, cached: CachedFunction[..., R], instance: object) -> None:
        self._cached = cached
        self._instance = instance

    async def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """Return the cached answer, or call the method."""
        return await self._cached.call((self._instance, *args), kwargs, bound=True)

    def key(self, *args: Q.args, **kwargs: Q.kwargs) -> str:
        """Return the key of a call with these arguments."""
        return self._cached.cache.key(self._request(args, kwargs))

    async def invalidate(self, *args: Q.args, **kwargs: Q.kwargs) -> bool:
        """Delete the answer for these arguments; return whether there was one."""
        return await self._cached.cache.delete(self._request(args, kwargs))

    async def refresh(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """Call the method for these arguments, whatever is cached, and cache what it returns."""
        return await self._cached.refresh_call((self._instance, *args), kwargs, bound=True)

    async def lookup(self, *args: Q.args, **kwargs: Q.kwargs) -> Lookup[R]:
        """Return the answer for these arguments and where it came from; calls the method if there is none."""
        return await self._cached.lookup_call((self._instance, *args), kwargs, bound=True)

    def _request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return self._cached.request((self._instance, *args), kwargs, bound=True)


def _in_class(function: object) -> bool:
    """Return whether a function was defined in the body of a class, by its name."""
    outer = _name_of(function).rpartition(".")[0]
    return outer != "" and not outer.endswith("<locals>")


def _name_of(function: object) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__
