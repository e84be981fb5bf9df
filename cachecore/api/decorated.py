"""How a function becomes a cached one: a plain function of the same kind, with helpers as attributes.

`asyncio`, `inspect`, frameworks and type adapters treat it as any function, and it pickles by its name. The helpers
take the arguments of the function, and on methods the object first: `Class.method.invalidate(obj, …)`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from cachecore.api.cached_calls import CachedCalls, Face
from cachecore.api.naming import name_of


def helpers(calls: CachedCalls, face: Face) -> dict[str, Callable[..., Any]]:
    """Return the helpers of a cached function that ask the cache; with a `Cache` they return awaitables."""
    function, asked = calls.function, calls.asked

    def invalidate(*args: Any, **kwargs: Any) -> Any:
        """Delete the answer for these arguments; return whether there was one."""
        return face.delete(asked(args, kwargs)[0])

    def refresh(*args: Any, **kwargs: Any) -> Any:
        """Call the function for these arguments even if an answer is cached, and cache the new answer."""
        request, tags = asked(args, kwargs)
        return face.refresh(request, partial(function, *args, **kwargs), tags=tags)

    def lookup(*args: Any, **kwargs: Any) -> Any:
        """Return the answer for these arguments and where it came from; calls the function if there is none."""
        request, tags = asked(args, kwargs)
        behind = calls.behind(args, kwargs)
        return face.lookup(request, partial(function, *args, **kwargs), tags=tags, refresh_factory=behind)

    def invalidate_all() -> Any:
        """Make all answers of the function invalid, in every process, at once."""
        return face.invalidate_tags(calls.tag)

    return {one.__name__: one for one in (invalidate, refresh, lookup, invalidate_all)}


def finished(call: Callable[..., Any], asking: dict[str, Callable[..., Any]], calls: CachedCalls) -> Any:
    """Return `call` with the looks of the function and its helpers, bound in its class as the function was."""
    function, view = calls.function, calls.view

    def key(*args: Any, **kwargs: Any) -> str:
        """Return the key of a call with these arguments."""
        return view.key(calls.asked(args, kwargs)[0])

    def stats() -> Any:
        """Return the counts of this function in this process; a snapshot."""
        return view.stats

    qualified = name_of(function)
    call.__name__, call.__qualname__ = qualified.rpartition(".")[2], qualified
    plain = inspect.isroutine(function)  # the attributes of another object are none of the function's
    functools.update_wrapper(call, function, updated=("__dict__",) if plain else ())
    for name, helper in {**asking, "key": key, "stats": stats}.items():
        helper.__name__, helper.__qualname__ = name, f"{qualified}.{name}"
        helper.__module__ = call.__module__
        setattr(call, name, helper)
    return call if calls.binds is None else calls.binds(call)
