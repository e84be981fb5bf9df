"""The interface that a backend's author gives the suite, and the list of its checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from cachecore.contract import CacheBackend


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


Check = Callable[[Harness], Awaitable[None]]

CHECKS: list[Check] = []


def registered(check: Check) -> Check:
    """Add a check to the suite."""
    CHECKS.append(check)
    return check
