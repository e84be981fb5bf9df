"""The calls of a `set` to a store with one node, sizes and marks: one before the write, and the write.

Each is one call of the guard, though the backend is asked for two things: its command costs less than its place, its
deadline and its outcome. What is asked first is sent first, in the same packet where the backend does so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from cachecore.contract.errors import BackendError
from cachecore.contract.futures import InlineFuture
from cachecore.contract.protocols import CacheBackend, SupportsMarks, SupportsPartitions, SupportsSizes
from cachecore.store.call import Answered
from cachecore.store.guard import Guard, Observer

_FULL: Final = "full"
_FEW: Final = 16
"""Values of one write that are read for their lengths, where that costs less than another look."""


class _Store(CacheBackend, SupportsSizes, SupportsMarks, Protocol):
    """What such a store can do."""


class SetCalls:
    """Makes the calls of `set` as explicit ones."""

    def __init__(self, guard: Guard, store: _Store, observer: Observer) -> None:
        self._observer = observer
        self._guard = guard
        self._store = store

    def look(
        self,
        keys: Sequence[str],
        told: Callable[[list[int] | BackendError], object],
        stamp_keys: Sequence[str],
        answered: Answered,
    ) -> None:
        """Read `stamp_keys` for `answered`, and tell the lengths of the values under `keys`, 0 for none, before that.

        Where the store tells no lengths, since one of `keys` holds something of another program, `told` gets its error.
        Both are called within this call where the store is read at once. Raises `BackendUnavailable`.
        """
        if self._guard.reads_now and len(keys) <= _FEW:
            values = self._guard.read_now([*stamp_keys, *keys])
            if values is not None:
                count = len(stamp_keys)
                told([len(value or b"") for value in values[count:]])
                answered(values[:count], None)
                return
        calls = partial(self._store.sizes, keys), partial(self._store.get_many, stamp_keys)
        looking = self._guard.begin_joined("get_many", calls, [*stamp_keys, *keys], _is_foreign)
        assert isinstance(looking, InlineFuture)  # noqa: S101 - as of every explicit call
        looking.at_end(partial(self._looked, len(keys), told, len(stamp_keys), answered))

    def _looked(
        self,
        keys: int,
        told: Callable[[list[int] | BackendError], object],
        stamp_keys: int,
        answered: Answered,
        looking: InlineFuture[list[Any]],
    ) -> None:
        error = looking.exception()
        if error is None:
            sizes, values = looking.result()
            if len(values) == stamp_keys and (isinstance(sizes, BackendError) or len(sizes) == keys):
                told(sizes)
                answered(values, None)
                return
            self._observer.backend_error("get_many", "protocol")  # the values of other keys
            error = BackendError("get_many", transient=True, reason="protocol")
        if not isinstance(error, BackendError):
            raise error
        answered([], error)

    async def replace(self, items: Mapping[str, bytes], counter: str, *, ttl: float | None) -> int | None:
        """Replace each key and advance `counter`; return its number, None where the store has no room for it.

        Raises BackendError as `set_many` and `advance`; a store that another process has locked is not asked again.
        """
        calls = partial(self._store.set_many, items, ttl=ttl), partial(self._store.advance, counter)
        size = sum(map(len, items.values()))
        _, number = await self._guard.begin_joined("set_many", calls, list(items), _is_full, size)
        if isinstance(number, BackendError):
            self._observer.backend_error("advance", number.reason)
            return None
        return int(number)


def _is_foreign(call: int, error: BackendError) -> bool:
    return call == 0 and not error.transient


def _is_full(call: int, error: BackendError) -> bool:
    return call == 1 and error.reason == _FULL


def set_calls_of(guard: Guard, store: Any, observer: Observer) -> SetCalls | None:
    """Return the calls of `set` to `store`, made through its `guard` for explicit calls; None: it cannot do them."""
    able = isinstance(guard, SupportsSizes) and isinstance(guard, SupportsMarks)
    return SetCalls(guard, store, observer) if able and not isinstance(guard, SupportsPartitions) else None
