"""`@cache.cached`: an async function whose answers are cached."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from cachecore.api.cached_calls import CachedCalls, CallOptions
from cachecore.api.changed_objects import watched
from cachecore.api.decorated import finished, helpers
from cachecore.api.naming import name_of
from cachecore.api.signatures import unbound
from cachecore.contract.errors import OptionsError
from cachecore.engine.scope import Scope


def cached_function(function: Any, options: CallOptions, scope: Callable[[Sequence[str]], Scope]) -> Any:
    """Return an async function that asks the cache first; a hit on built-in arguments takes about a microsecond.

    Raises:
        OptionsError: `function` is not async, or an option is wrong.
    """
    binds, plain = unbound(function)
    _check_async(plain)
    calls = CachedCalls(plain, binds, options, scope)
    asked, behind, view = calls.asked, calls.behind, calls.view
    computed = watched(plain, calls.signature, view.key, is_async=True)

    def miss(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        request, tags = asked(args, kwargs)
        return view.get_or_set(
            request, partial(computed, *args, **kwargs), tags=tags, refresh_factory=behind(args, kwargs)
        )

    call = calls.call(miss, is_async=True)
    asking = {name: _awaited(helper) for name, helper in helpers(calls, view).items()}
    return finished(call, asking, calls)


def _awaited(helper: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """Return `helper` as a coroutine function: frameworks run any other function in a thread."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await helper(*args, **kwargs)

    call.__doc__ = helper.__doc__
    return call


def _check_async(function: Any) -> None:
    if not callable(function):
        raise OptionsError(
            f"Cache.cached takes an async function, not {function!r}: @cache.cached or @cache.cached(ttl=60); "
            "put it below property and functools.cached_property"
        )
    called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind is asked for, not whether there is one
    if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(called):
        raise OptionsError(
            f"Cache.cached takes an async function that returns one answer; {name_of(function)} is an async generator: "
            "use cache.stream for it"
        )
    if not inspect.iscoroutinefunction(function) and not inspect.iscoroutinefunction(called):
        raise OptionsError(
            f"Cache.cached takes an async function; {name_of(function)} is not async. Write `async def`, or use "
            "SyncCache.cached"
        )
