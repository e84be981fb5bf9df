"""L1, the memory tier: copies under keys, and a memo of calls, bounded by bytes and by entries.

Decided here: reading takes no lock, how bytes are counted, and how expired copies that are never read leave. The memo
has the room that copies leave free, and an eighth of all in any case. Which
copy makes room is the policy's decision (`cachecore.eviction`); the meaning of a copy is the cache's.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from cachecore.contract.clock import Clock, SystemClock
from cachecore.contract.eviction import TOUCHES_NOTED, DefersTouches, PolicyFactory
from cachecore.contract.forks import in_child
from cachecore.memory.memo import Fact, Memo

T = TypeVar("T")

ENTRY_OVERHEAD_BYTES: Final = 550
"""Bytes of an entry beside its value and the characters of its key: measured, CPython 3.11 to 3.13, any policy."""

_MEMO_PART: Final = 8
"""The memo may take one part in so many of the bytes though copies leave for it: a copy saves more than a fact does."""

_SWEEP_EVERY: Final = 8
"""Puts from one look at other copies to the next: calls and the clock are most of the cost of a look."""

_SWEEP_STEP: Final = 2 * _SWEEP_EVERY
"""Keys looked at each time. More than the puts meanwhile, so that a sweep overtakes a tier that grows."""


class MemoryTier(Generic[T]):
    """Copies under keys, in this process; the least useful leave when there are too many.

    A copy is anything but None. Any number of threads may use them. A reader never waits: `get` is one dict read and
    one note to the policy, both atomic in themselves. Writers hold one lock, so the bounds hold whenever it is free.

    Args:
        max_bytes: bound on values, keys and `ENTRY_OVERHEAD_BYTES` per entry, and the memo, together; 0 keeps nothing.
        max_entries: bound on their number; 0 keeps nothing.
        policy: makes the eviction policy for that many entries.
        deadline_of: returns the monotonic second from which a copy is useless. If given, each eighth `put` also looks
            at 16 other copies and drops those that are past it, so that a copy which is never read again does not stay.
        clock: the clock of the deadlines.
    """

    __slots__ = (
        "__weakref__",
        "_add",
        "_bytes",
        "_clock",
        "_copies",
        "_deadline_of",
        "_evict",
        "_evictions",
        "_lock",
        "_max_bytes",
        "_max_entries",
        "_policy",
        "_sizes",
        "_sweep",
        "_touch",
        "_until_sweep",
        "memo",
    )

    def __init__(
        self,
        *,
        max_bytes: int,
        max_entries: int,
        policy: PolicyFactory,
        deadline_of: Callable[[T], float] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._deadline_of = deadline_of
        self._clock = clock or SystemClock()
        # Reentrant: dropping a copy may run a finaliser, and that may use this very cache.
        self._lock = threading.RLock()
        self._copies: dict[str, T] = {}  # written under _lock, read without
        self._sizes: dict[str, int] = {}  # guarded by _lock, as is all below
        self._bytes = 0
        self._evictions = 0
        self._policy = policy(max(1, max_entries))
        self._add, self._evict = self._policy.add, self._policy.evict  # bound once: each look-up is part of a put
        self._touch = self._touch_of_policy()
        self._sweep: Iterator[str] = iter(())
        self._until_sweep = _SWEEP_EVERY  # puts
        self.memo = Memo()
        """Facts that save work on the way to a copy; see `remember`."""
        in_child(self._after_fork)

    def __repr__(self) -> str:
        return f"MemoryTier(entries={len(self)}, bytes={self.bytes})"

    def get(self, key: str) -> T | None:
        """Return the copy of `key`, counted as a use, or None. O(1), no lock, about 0.1 µs."""
        copy = self._copies.get(key)
        if copy is not None:
            try:
                self._touch(key)
            except KeyError:  # a writer took it out since the line above; this reader was just in time
                pass
        return copy

    @property
    def reader(self) -> tuple[Callable[[str], T | None], Callable[[str], object]]:
        """The two calls that `get` consists of, look and touch, for one caller that cannot afford a third.

        The touch is due after each look that found something, and may raise KeyError as the policy's does.
        """
        return self._copies.get, self._touch

    def put(self, key: str, copy: T, size: int) -> None:
        """Keep `copy` under `key` in place of an earlier one, and make room for it. O(1) amortised.

        `size` is the bytes of the value alone: key and overhead are added here. A copy larger than the whole tier is
        not kept, and an earlier one of its key is dropped. A replacement counts as a use.
        """
        size += len(key) + ENTRY_OVERHEAD_BYTES
        if size > self._max_bytes or self._max_entries < 1:
            self.discard(key)
            return
        dropped: list[T | None] = []  # freed after the lock, since finalisers may run any code
        copies, sizes = self._copies, self._sizes
        with self._lock:
            before = sizes.get(key)
            if before is None:
                copies[key] = copy
                sizes[key] = size
                self._bytes += size
                self._add(key)
            else:
                dropped.append(copies.get(key))
                copies[key] = copy
                sizes[key] = size
                self._bytes += size - before
                self._touch(key)
            if self._deadline_of is not None:
                self._until_sweep -= 1
                if self._until_sweep <= 0:
                    self._sweep_some(self._deadline_of, dropped)
            if len(copies) > self._max_entries or self._bytes + self.memo.bytes > self._max_bytes:
                self._make_room(dropped)

    def remember(self, key: Any, fact: Fact) -> None:
        """Keep a fact in the memo; `fact[0]` is its bytes. O(1) amortised."""
        size: int = fact[0]
        if self._max_entries < 1 or size > self._max_bytes // _MEMO_PART:
            return
        dropped: list[Any] = []  # freed after the lock, as in put
        with self._lock:
            room = max(self._max_bytes // _MEMO_PART, self._max_bytes - self._bytes)
            self.memo.shrink(room - size, dropped)
            self.memo.put(key, fact)
            self._make_room(dropped)

    def discard(self, key: str) -> bool:
        """Drop the copy of `key`; return whether there was one."""
        with self._lock:
            if key not in self._copies:
                return False
            copy = self._take_out(key)
            self._policy.discard(key)
        del copy  # outside the lock, as in put
        return True

    def clear(self) -> None:
        """Drop every copy, the memo, and the policy's statistics."""
        with self._lock:
            dropped = dict(self._copies)  # freed after the lock, as in put
            self._copies.clear()  # the dict itself stays: readers hold on to it
            self._sizes.clear()
            self._bytes = 0
            self._policy.clear()
            self._sweep = iter(())
            self.memo.clear()
        del dropped

    def __len__(self) -> int:
        return len(self._copies)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys of this moment, in no particular order. O(n)."""
        return iter(list(self._copies))

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a copy, without counting it as a use."""
        return key in self._copies

    @property
    def bytes(self) -> int:
        """Bytes of all entries and of the memo now; never over `max_bytes`."""
        return self._bytes + self.memo.bytes

    @property
    def evictions(self) -> int:
        """How many entries have left because the tier was full."""
        return self._evictions

    def _touch_of_policy(self) -> Callable[[str], object]:
        """Return the call that notes a hit: the policy's own, or one that also sees to it that the notes stay few."""
        policy = self._policy
        if not isinstance(policy, DefersTouches):
            return policy.touch
        note, noted = policy.touch, policy.touched
        this = weakref.WeakMethod(self._apply_touches)  # weak, so that a tier without users is freed at once

        def touch(key: str) -> None:
            note(key)
            if len(noted) > TOUCHES_NOTED and (apply := this()) is not None:
                apply(policy)

        return touch

    def _apply_touches(self, policy: DefersTouches) -> None:
        """Let the policy see the hits it has noted. If another thread has the lock, the next hit tries again."""
        lock = self._lock
        if lock.acquire(blocking=False):
            try:
                policy.apply_touches()
            finally:
                lock.release()

    def _make_room(self, dropped: list[Any]) -> None:
        memo, copies, sizes, most = self.memo, self._copies, self._sizes, self._max_bytes
        while True:
            if len(copies) <= self._max_entries:
                if self._bytes + memo.bytes <= most:
                    return
                if memo.bytes > most // _MEMO_PART or len(copies) < 2:
                    memo.shrink(max(most - self._bytes, most // _MEMO_PART if len(copies) > 1 else 0), dropped)
                    continue
            key = self._evict()
            self._bytes -= sizes.pop(key)
            dropped.append(copies.pop(key))
            self._evictions += 1

    def _take_out(self, key: str) -> T:
        self._bytes -= self._sizes.pop(key)
        return self._copies.pop(key)

    def _sweep_some(self, deadline_of: Callable[[T], float], dropped: list[T | None]) -> None:
        self._until_sweep = _SWEEP_EVERY
        now, copies = self._clock.monotonic(), self._copies
        keys = list(islice(self._sweep, _SWEEP_STEP))
        for key in keys:
            copy = copies.get(key)
            if copy is not None and deadline_of(copy) <= now:
                dropped.append(self._take_out(key))
                self._policy.discard(key)
        if len(keys) < _SWEEP_STEP:
            # A copy of the keys once per round: a thousandth of the cost of that round's puts, and no timer, heap
            # or list that replaced and deleted keys would have to be kept out of.
            self._sweep = iter(list(copies))

    def _after_fork(self) -> None:
        """Make the tier usable in a forked child: no thread is left that could release a lock it held."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return
        self._lock = threading.RLock()
        self.clear()  # half written, so worthless
