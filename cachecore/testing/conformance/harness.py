"""The interface that a backend's author gives the suite, the list of its checks, and the messages of checks."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, runtime_checkable

from cachecore.contract import CacheBackend

_SHOWN: Final = 200
_CHECK_SECONDS: Final = 120.0


class Harness(Protocol):
    """The interface that a backend's author gives the suite."""

    @property
    def backend(self) -> CacheBackend:
        """Return the store, empty when a check begins."""

    @property
    def ttl_rounding(self) -> float:
        """Return the seconds by which the store may round a ttl up; at most 1."""

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass for the store: a fake clock moved on, or a real wait."""


@runtime_checkable
class SharedHarness(Harness, Protocol):
    """A harness whose store can be reached by more than one backend, as by several processes."""

    async def another(self) -> CacheBackend:
        """Return a further backend on the same store, closed by the harness in the end."""


@runtime_checkable
class LeapingHarness(Harness, Protocol):
    """A harness on a clock that is moved by hand: years pass at once."""

    async def leap(self, seconds: float) -> None:
        """Let `seconds` pass for the store, any number of them, without a real wait."""


Check = Callable[[Harness], Awaitable[None]]

CHECKS: list[Check] = []
"""Every check of the contract: each is called with a `Harness` whose store is empty."""


def registered(check: Check) -> Check:
    """Add a check to the suite. It fails with the promise that it is about, also where the backend raises or hangs."""
    promise = " ".join((check.__doc__ or check.__name__).split()).rstrip(".")

    @functools.wraps(check)
    async def named(harness: Harness) -> None:
        limit = asyncio.timeout(_CHECK_SECONDS)
        try:
            async with limit:
                await check(harness)
        except AssertionError:
            raise
        except Exception as error:  # whatever a broken backend raises: the failure names the promise
            raised = f"the backend raised {type(error).__name__}: {error}"
            if limit.expired():
                raised = f"a call of the backend has not ended after {_CHECK_SECONDS:g} s"
            raise AssertionError(f"{promise}: {raised}") from error

    CHECKS.append(named)
    return named


def same(got: object, wanted: object, promise: str) -> None:
    """Raise `AssertionError` with the promise that was broken, and both values, unless they are equal."""
    if got != wanted:
        raise AssertionError(f"{promise}: the backend gave {_shown(got)} instead of {_shown(wanted)}")


def holds(condition: object, promise: str) -> None:
    """Raise `AssertionError` with the promise that was broken if `condition` is false."""
    if not condition:
        raise AssertionError(promise)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
