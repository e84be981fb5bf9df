"""The guard of a store in this very process: the same calls, made at once.

Such a store takes a lock, does its work and answers; it never waits. So there is nothing to bound and nothing to give
up: no deadline, no place among a number of calls, no breaker, no task. And it cannot go back in time, as a server does
with a snapshot: it has no marks.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import CacheBackend
from cachecore.store.bulkhead import Within
from cachecore.store.call import Answered
from cachecore.store.dispatch import Observer, closed_error
from cachecore.store.guard import Guard
from cachecore.store.memory_backend import MemoryBackend

T = TypeVar("T")


def guard_of(
    backend: CacheBackend, options: StoreOptions, *, clock: Clock, chance: random.Random, observer: Observer
) -> Guard:
    """Return the guard that `backend` needs. Of a class derived from `MemoryBackend` it is not known how it answers."""
    kind = LocalGuard if type(backend) is MemoryBackend else Guard
    return kind(backend, options, clock=clock, chance=chance, observer=observer)


class LocalGuard(Guard):
    """The guard of a `MemoryBackend`: its calls end in the turn of the loop in which they begin."""

    local = True

    def __init__(
        self, backend: CacheBackend, options: StoreOptions, *, clock: Clock, chance: random.Random, observer: Observer
    ) -> None:
        self._took: dict[str, Callable[[float], object]] = {}
        super().__init__(backend, options, clock=clock, chance=chance, observer=observer)

    def _has_abilities(self, backend: Any) -> None:
        super()._has_abilities(backend)
        del self.advance
        self.scan = backend.scan
        self.time = partial(self._direct, "time", backend.time)

    async def _direct(self, operation: str, call: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        """Return the answer of `call`, counted as any call. Raises BackendError."""
        if self._calls.closed:
            raise closed_error(operation)
        began = self._now()
        try:
            return await call(*args, **kwargs)
        except BackendError as error:
            self._observer.backend_error(operation, error.reason)
            raise
        finally:
            took = self._took.get(operation)
            if took is None:
                took = self._took[operation] = self._observer.recorder(operation)
            took(self._now() - began)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`."""
        return await self._direct("get_many", self._backend.get_many, keys) if keys else []

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key."""
        if items:
            await self._direct("set_many", self._backend.set_many, items, ttl=ttl)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys; return how many existed."""
        return await self._direct("delete_many", self._backend.delete_many, keys) if keys else 0

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""
        return await self._direct("swap", self._backend.swap, key, old, new, ttl=ttl)

    async def _ask(
        self, operation: str, call: Callable[[Sequence[str]], Awaitable[list[T]]], keys: Sequence[str]
    ) -> list[T]:
        return await self._direct(operation, call, keys) if keys else []

    async def _extend(self, backend: Any, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        return await self._direct("extend", backend.extend, items, ttl=ttl) if items else []

    def begin_read(self, keys: Sequence[str], answered: Answered) -> None:
        """Read keys; `answered` gets the values or the error before this returns."""
        try:
            values = _at_once(self._direct("get_many", self._backend.get_many, keys))
        except BackendError as error:
            answered([], error.with_traceback(None))  # its frames would keep the batch
        else:
            answered(values, None)

    def get_here(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`, within this call. Raises BackendError."""
        return _at_once(self._direct("get_many", self._backend.get_many, keys))

    def set_here(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key, within this call. Raises BackendError."""
        _at_once(self._direct("set_many", self._backend.set_many, items, ttl=ttl))

    def within(self, operation: str, *, keys: int = 1) -> Within:
        """Return the deadline of explicit work: none for `set`, which makes no call that could wait.

        Other work tries again while the store fails, as one that the application has closed does for ever.
        """
        if operation != "set":
            return super().within(operation, keys=keys)
        return _UNBOUNDED


class _Unbounded(Within):
    """Work that makes no call which could wait: one for all, since there is nothing to count."""

    def __init__(self) -> None:
        pass

    def lengthen(self, seconds: float) -> Self:
        """Do nothing."""
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


_UNBOUNDED = _Unbounded()


def _at_once(call: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that never waits."""
    try:
        call.send(None)
    except StopIteration as ended:
        answer: T = ended.value
        return answer
    call.close()
    raise RuntimeError("a store in this process has waited")
