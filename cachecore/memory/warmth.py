"""Which keys memory answers for, so that a store that evicts by use does not take them for unused.

A hit in memory is no read of the store, and neither is a stamp that the table of a live feed has. Without word from
here the hottest entries and stamps would be the coldest keys there, and LRU and LFU policies would evict them first.
Notes are taken where they cost a hit nothing: a copy has one moment (`Copy.look_at`) from which a reader looks at it
more closely, and that is the earlier of its deadline and its next note.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import SupportsTouch

NOTE_SECONDS: Final = 2.0
"""Seconds between two notes of one copy. Stores tell uses apart by seconds at best."""
_MOST_NOTED: Final = 20_000
"""Entries that wait to be touched; further ones are noted again when they are next hit."""
_MOST_TOUCHED: Final = 4_096
"""Keys touched with one heartbeat, stamps first."""
_REFUSED_SECONDS: Final = 60.0
"""Seconds without touching after a store refused it, as for want of a permission."""


class Warmth:
    """The keys to be touched with the next heartbeat of the feed. Safe to use from several threads.

    Args:
        backend: the store; one that does not `SupportsTouch` is never touched, and nothing is noted.
        clock: measures the pause after a refusal.
    """

    def __init__(self, backend: object, clock: Clock) -> None:
        self._backend = backend if isinstance(backend, SupportsTouch) else None
        self.turn = 0 if self._backend is None else 1
        """Counts the touches: stamps that were noted in this turn need not be noted again. Stays 0 without any."""
        self._monotonic = clock.monotonic
        self._entries: dict[str, None] = {}  # each change is one C call, so atomic; oldest note first
        self._stamps: dict[str, None] = {}
        self._resting_until = -math.inf
        self._touching = False

    def __len__(self) -> int:
        """Return how many keys wait to be touched."""
        return len(self._entries) + len(self._stamps)

    def look_at(self, deadline: float, now: float) -> float:
        """Return the monotonic second from which a reader looks closer at a copy that was made, or noted, at `now`."""
        return deadline if self._backend is None else min(deadline, now + NOTE_SECONDS)

    def note_copy(self, key: str, stamps: Iterable[tuple[str, bytes]]) -> None:
        """Note that memory answered for an entry and, by (stamp key, stamp), for its stamps."""
        if len(self._entries) < _MOST_NOTED:
            self._entries[key] = None
        self.note_stamps(stamp_key for stamp_key, _ in stamps)

    def note_stamps(self, stamp_keys: Iterable[str]) -> None:
        """Note that memory answered for these stamps."""
        if self._backend is not None and len(self._stamps) < _MOST_NOTED:
            self._stamps.update(dict.fromkeys(stamp_keys))

    @property
    def due(self) -> bool:
        """Whether `touch` has something to do and is not under way."""
        return bool(self._stamps or self._entries) and not self._touching and self._monotonic() >= self._resting_until

    async def touch(self) -> None:
        """Touch the noted keys in the store. A failure is counted by the guard and has no other effect."""
        if self._backend is None or not self.due:
            return
        self._touching = True
        try:
            await self._backend.touch(self._take())
        except BackendError as error:
            if not error.transient:
                self._resting_until = self._monotonic() + _REFUSED_SECONDS
        finally:
            self._touching = False

    def _take(self) -> list[str]:
        self.turn += 1
        keys = [*list(self._stamps), *list(self._entries)][:_MOST_TOUCHED]
        for key in keys:
            self._stamps.pop(key, None)
            self._entries.pop(key, None)
        return keys

    def after_fork(self) -> None:
        """Start anew in a child process: the notes are the parent's to send."""
        self._entries.clear()
        self._stamps.clear()
        self._touching = False
