"""Leaving the caches out of it, for a block of code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_bypassed: ContextVar[bool] = ContextVar("cachecore_bypassed", default=False)


bypassed: Final[Callable[[], bool]] = _bypassed.get
"""Return whether this context is within `bypass()`; the C function itself, since every hit asks."""


@contextmanager
def bypass() -> Iterator[None]:
    """Within this block caches are not asked and no answer is stored: every factory runs, every `get` misses.

    Explicit writes, deletions and invalidations are still carried out.
    """
    token = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(token)
