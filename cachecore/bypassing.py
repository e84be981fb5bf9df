"""Leaving the caches out of it, for a block of code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_bypassed: ContextVar[bool] = ContextVar("cachecore_bypassed", default=False)


def bypassed() -> bool:
    """Return whether this context is within `bypass()`."""
    return _bypassed.get()


@contextmanager
def bypass() -> Iterator[None]:
    """Within this block caches are not asked and no answer is stored: every factory runs, every `get` misses.

    What is written, deleted or invalidated on purpose still is.
    """
    token = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(token)
