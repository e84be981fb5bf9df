"""Functions with values that did not encode lately: for a minute no caller waits for their computations.

A value that does not encode (a generator, a response object with a stream) has no second copy, and one object is never
handed to two callers. A caller that waited for it would have waited in vain: each computes for itself at once instead.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import CodeType
from typing import Any, Final

UNSHARED_SECONDS: Final = 60.0
"""For how long after a value that did not encode the callers of a function do not wait for each other."""
_MOST: Final = 10_000
_MOST_WRAPPERS: Final = 8  # an object may claim to wrap another without end


class Unshared:
    """Functions, by namespace, with values that did not encode within the last minute. Safe to use from threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until: dict[tuple[str, object], float] = {}

    def note(self, namespace: str, factory: Callable[..., Any]) -> None:
        """Remember that a value of `factory` did not encode just now."""
        if len(self._until) >= _MOST:
            self._until.clear()  # forgetting costs one wait in vain
        self._until[namespace, code_of(factory)] = self._monotonic() + UNSHARED_SECONDS

    def lately(self, namespace: str, factory: Callable[..., Any]) -> bool:
        """Return whether a value of `factory`, or of the same code with other variables, did not encode lately."""
        if not self._until:
            return False
        until = self._until.get((namespace, code_of(factory)))
        return until is not None and self._monotonic() < until


def code_of(factory: Callable[..., Any]) -> object:
    """Return a key that is the same for all factories made at one place in a program."""
    for _ in range(_MOST_WRAPPERS):
        if isinstance(factory, partial):
            factory = factory.func
        elif callable(wrapped := getattr(factory, "__wrapped__", None)):
            factory = wrapped
        else:
            break
    code = getattr(factory, "__code__", None)
    return code if isinstance(code, CodeType) else type(factory)
