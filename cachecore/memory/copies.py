"""A copy in L1, and the one way to it: whether it may be served is decided here, without waiting or locking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachecore.contract.clock import Clock
from cachecore.contract.errors import EncodingError
from cachecore.contract.protocols import Serializer
from cachecore.encoding.entry import Entry
from cachecore.invalidation.feed import FeedState
from cachecore.invalidation.stamps import StampBook
from cachecore.memory.tier import MemoryTier


@dataclass(slots=True)
class Copy:
    """One copy in L1: the bytes of a value, or the value itself if nobody can change it."""

    entry: Entry
    value: Any
    """The value, or UNSET: then each reader decodes `entry.payload` for itself."""
    deadline: float
    """Monotonic second until which it may be served."""
    refresh_at: float
    """Monotonic second from which a reader with a factory starts an early refresh; drawn when the copy was made."""
    fed: bool
    """Whether it was made under a live feed: then it is good only while the feed is."""
    generation: int
    """The stamp generation under which `stamps` were last seen to be current."""
    stamps: tuple[tuple[str, bytes], ...]
    """(stamp key, stamp) of each tag."""
    reader: Reader
    """Whose copy it is; another view of the namespace may read it as far as it could read the entry in the store."""


@dataclass(frozen=True, slots=True)
class Reader:
    """What a view asks of an entry before it serves it, besides that it holds."""

    serializer: Serializer
    tags: frozenset[str]
    """The view's own, as entries store them."""

    def accepts(self, copy: Copy) -> bool:
        """Return whether this view may serve a copy that another view of the namespace has made."""
        if not self.tags.issubset([tag for tag, _ in copy.entry.stamps]):
            return False
        if copy.reader.serializer is self.serializer:
            return True
        if copy.entry.serializer != self.serializer.name:
            return False
        try:  # of one name, but perhaps of another secret
            self.serializer.loads(copy.entry.payload, copy.entry)
        except EncodingError:
            return False
        return True


def peeker(
    l1: MemoryTier[Copy], book: StampBook, feed_state: FeedState, clock: Clock, reader: Reader
) -> Callable[[str], Copy | None]:
    """Return a view's way to copies in L1: a closure, because every attribute it need not look up is part of a hit."""
    (look, touch), discard, monotonic = l1.reader, l1.discard, clock.monotonic

    def peek(key: str) -> Copy | None:
        """Return the copy of `key` that may be served now, or None. Synchronous; no lock; O(1)."""
        copy = look(key)
        if copy is None:
            return None
        now = monotonic()
        if now >= copy.deadline:
            discard(key)
            return None
        try:
            touch(key)
        except KeyError:  # a writer took it out since it was looked up
            pass
        if copy.fed and now >= feed_state.trusted_until:
            return None
        generation = book.generation
        if copy.generation != generation:
            if not book.holds(copy.stamps):
                discard(key)
                return None
            copy.generation = generation
        made_by = copy.reader
        if made_by is not reader and made_by != reader and not reader.accepts(copy):
            return None
        return copy

    return peek


def deadline_of(copy: Copy) -> float:
    """Return the monotonic second from which a copy is useless."""
    return copy.deadline
