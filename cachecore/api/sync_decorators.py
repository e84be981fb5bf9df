"""`@cache.cached` of a `SyncCache`: a function without `async` whose answers are cached."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from cachecore.api.cached_calls import CachedCalls, CallOptions, Face
from cachecore.api.changed_objects import watched
from cachecore.api.decorated import finished, helpers
from cachecore.api.function_view import FunctionView
from cachecore.api.naming import name_of
from cachecore.api.signatures import unbound
from cachecore.api.thread_factories import behind_in_a_thread
from cachecore.contract.errors import OptionsError
from cachecore.engine.scope import Scope


def sync_cached_function(
    function: Any, options: CallOptions, scope: Callable[[Sequence[str]], Scope], face: Callable[[FunctionView], Face]
) -> Any:
    """Return a function that asks the cache first; `face` makes the calls of a view synchronous.

    Raises:
        OptionsError: `function` is async or a generator, or an option is wrong.
    """
    binds, plain = unbound(function)
    _check_sync(plain)
    behind_in_a_thread(options.refresh_factory)  # which checks its kind
    calls = CachedCalls(plain, binds, options, scope)
    asked, behind, sync = calls.asked, calls.behind, face(calls.view)
    computed = watched(plain, calls.signature, calls.view.key, is_async=False)

    def miss(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        request, tags = asked(args, kwargs)
        return sync.get_or_set(
            request, partial(computed, *args, **kwargs), tags=tags, refresh_factory=behind(args, kwargs)
        )

    call = calls.call(miss, is_async=False)
    return finished(call, helpers(calls, sync), calls)


def _check_sync(function: Any) -> None:
    if not callable(function):
        raise OptionsError(
            f"SyncCache.cached takes a function, not {function!r}: @cache.cached or @cache.cached(ttl=60); put it "
            "below property and functools.cached_property"
        )
    called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind is asked for, not whether there is one
    for one in (function, called):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise OptionsError(
                f"SyncCache.cached takes a function that returns its answer; {name_of(function)} is a generator: use "
                "cache.stream for it. Cache.cached is for async functions"
            )
        if inspect.iscoroutinefunction(one):
            raise OptionsError(
                f"SyncCache.cached takes a function that returns its answer; {name_of(function)} is async. "
                "Cache.cached is for async functions"
            )
