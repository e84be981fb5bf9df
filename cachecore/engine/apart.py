"""Callers that must not wait for another caller: each computes apart, beside any other computation of its key.

A synchronous call in a thread whose event loop is running is one: the computation that it would wait for may need that
very loop, and both would stand still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_apart: ContextVar[bool] = ContextVar("cachecore_apart", default=False)

computes_apart: Final[Callable[[], bool]] = _apart.get
"""Return whether calls of this context neither join a computation nor wait for another process's claim."""


@contextmanager
def apart(holds: bool) -> Iterator[None]:
    """Within this block calls compute apart if it `holds`, else with others."""
    token = _apart.set(holds)
    try:
        yield
    finally:
        _apart.reset(token)
