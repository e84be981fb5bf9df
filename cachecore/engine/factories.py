"""How a factory is called: the error for an object of another kind names it and the way out."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

_ASYNC = "write `async def`, or `lambda: function(…)` around one; SyncCache takes functions that are not async"
_STREAM = "write `async def` with `yield`; SyncCache.stream takes generators that are not async"
_SYNC_STREAM = "write `def` with `yield`; Cache.stream takes async generators"
_SYNC = "SyncCache takes functions that return their answer; Cache takes async ones"


async def streamed(factory: Callable[..., Any]) -> AsyncIterator[Any]:
    """Return the chunks of a factory that is an async generator, or a coroutine function that returns one.

    Raises TypeError if it is neither.
    """
    _check_callable(factory, _STREAM)
    made = factory()
    if not hasattr(made, "__aiter__") and inspect.isawaitable(made):
        made = await made
    if not hasattr(made, "__aiter__"):
        raise TypeError(f"the factory of a stream returned a {type(made).__name__}, which has no chunks: {_STREAM}")
    chunks: AsyncIterator[Any] = aiter(made)
    return chunks


async def awaited(factory: Callable[..., Any], *args: Any) -> Any:
    """Return the value of an async factory. Raises TypeError if it is none."""
    _check_callable(factory, _ASYNC)
    made = factory(*args)
    if inspect.isasyncgen(made):
        raise TypeError("the factory is an async generator, which makes many chunks: use cache.stream for it")
    if not inspect.isawaitable(made):
        raise TypeError(f"the factory returned a {type(made).__name__}, which cannot be awaited: {_ASYNC}")
    return await made


def called(factory: Callable[..., Any], *args: Any) -> Any:
    """Return the value of a synchronous factory. Raises TypeError if it is async or no function."""
    _check_callable(factory, _SYNC)
    value = factory(*args)
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that it was never awaited, besides
        raise TypeError(f"the factory is async and returned a coroutine: {_SYNC}")
    return value


def called_for_chunks(factory: Callable[..., Any]) -> Iterator[Any]:
    """Return the chunks of a factory that is a generator, or returns something to iterate over.

    Raises TypeError if it is neither.
    """
    _check_callable(factory, _SYNC_STREAM)
    made = factory()
    if inspect.iscoroutine(made):
        made.close()
    if not hasattr(made, "__iter__") or isinstance(made, str | bytes | dict):
        raise TypeError(
            f"the factory of a stream returned a {type(made).__name__}, which has no chunks: {_SYNC_STREAM}"
        )
    chunks: Iterator[Any] = iter(made)
    return chunks


def _check_callable(factory: object, advice: str) -> None:
    if callable(factory):
        return
    if inspect.iscoroutine(factory):
        factory.close()
        raise TypeError(f"the factory is a coroutine, which could be awaited once: give the function itself; {advice}")
    raise TypeError(f"the factory must be a function, not a {type(factory).__name__}: {advice}")
