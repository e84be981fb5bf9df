"""A copy in L1, and the one rule for a hit in memory, decided without waiting or locking.

There is a copy, its time has not come, the feed vouches for it, its stamps are current, the view can read it, it
carries the caller's tags, it is not too old for the view, its refresh is not due, and the caller does not bypass the
cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

from cachecore.contract.clock import Clock
from cachecore.contract.errors import EncodingError
from cachecore.contract.eviction import PolicyFactory
from cachecore.contract.options import MemoryOptions
from cachecore.contract.protocols import Serializer, SupportsLocal
from cachecore.contract.results import UNSET
from cachecore.encoding.entry import Entry, payload_of
from cachecore.invalidation.feed import FeedState
from cachecore.invalidation.stamps import StampBook
from cachecore.memory.tier import MemoryTier
from cachecore.memory.warmth import Warmth
from cachecore.store.store_clock import StoreClock


@dataclass(slots=True)
class Copy:
    """One copy in L1: the bytes of a value, or the value itself if it is immutable.

    Of a store in this process it is neither: the payload stays there, and the copy holds the checked header.
    """

    entry: Entry
    value: Any
    """The value, or UNSET: then each reader decodes `entry.payload` for itself."""
    deadline: float
    """Monotonic second until which it may be served."""
    look_at: float
    """Monotonic second from which a reader looks closer: the deadline, or earlier, when its use is to be noted."""
    refresh_at: float
    """Monotonic second from which a reader with a factory starts an early refresh; drawn when the copy was made."""
    fed: bool
    """Whether it was made under a live feed: then it is good only while the feed is."""
    generation: int
    """The stamp generation under which `stamps` were last seen to be current."""
    stamps: tuple[tuple[str, bytes], ...]
    """(stamp key, stamp) of each tag."""
    reader: Reader
    """The view that made the copy. Another view may read it if it could read the entry in the store."""
    store: SupportsLocal | None = None
    """The store in this process that has the payload; None: the copy has it."""
    number: int = 0
    """The number of the write that put the entry into that store."""
    seen: int = -1
    """The version of that store under which the entry and its stamps were last looked at."""

    def payload(self) -> bytes | None:
        """Return the serializer's bytes; None if the store has let them go."""
        if self.store is None:
            return self.entry.payload
        raw = self.raw()
        return None if raw is None else payload_of(raw, self.entry.header)

    def raw(self) -> bytes | None:
        """Return the very bytes that a store in this process has; None if it has let them go, or is elsewhere."""
        slot = None if self.store is None else self.store.look(self.entry.key)
        return slot[0] if slot is not None and slot[1] == self.number else None

    def stands(self, store: SupportsLocal) -> bool:
        """Return whether the store in this process still has the entry, and all its stamps are current there."""
        version = store.version  # before the look: a change that comes between is looked at again
        slot = store.look(self.entry.key)
        if slot is None or slot[1] != self.number:
            return False
        for name, stamp in self.stamps:
            current = store.look(name)
            if current is None or current[0] != stamp:
                return False
        self.seen = version
        return True

    def carries(self, tags: Sequence[str]) -> bool:
        """Return whether the entry has all these tags, given as entries store them."""
        return {tag for tag, _ in self.entry.stamps}.issuperset(tags)

    def claim_refresh(self, now: float) -> bool:
        """Return whether an early refresh is due at monotonic `now`; True once, for the caller that starts it."""
        if now < self.refresh_at:
            return False
        self.refresh_at = math.inf
        return True


@dataclass(frozen=True, slots=True)
class Reader:
    """The conditions of a view for serving an entry, besides that the entry is valid."""

    serializer: Serializer
    tags: frozenset[str]
    """The view's own, as entries store them."""

    def accepts(self, copy: Copy) -> bool:
        """Return whether this view may serve a copy that another view of the namespace has made."""
        if not copy.carries(tuple(self.tags)):
            return False
        if copy.reader.serializer is self.serializer:
            return True
        if copy.entry.serializer != self.serializer.name:
            return False
        # Of one name, but perhaps of another secret.
        return self.value_of(copy, shared=False) is not UNSET

    def value_of(self, copy: Copy, *, shared: bool = True) -> Any:
        """Return the value of a copy, an object of the caller's own or an immutable one; UNSET if it is undecodable.

        With `shared=False` the payload is decoded although the copy holds the value.
        """
        value = copy.value
        if shared and value is not UNSET:
            return value
        entry, store = copy.entry, copy.store
        if store is None:
            payload = entry.payload
        else:  # as Copy.payload, in place: each call would be a part of a hit
            slot = store.look(entry.key)
            if slot is None or slot[1] != copy.number:
                return UNSET
            payload = payload_of(slot[0], entry.header)
        try:
            return self.serializer.loads(payload, entry)
        except EncodingError:
            return UNSET


class HitCounts(Protocol):
    """Where hits in memory are counted."""

    hits_l1: int


class FindCopy(Protocol):
    """The rule for a hit in memory; see `copy_reader`."""

    def __call__(self, key: str, tags: Sequence[str] = (), unless_due: bool = False, /) -> Copy | None:
        """Return the copy of `key` that may be served now, or None.

        Args:
            key: the entry's key.
            tags: the tags that the caller asks for, as entries store them.
            unless_due: whether a copy due for an early refresh counts as none: the caller can compute a new one.
        """


class FindValue(Protocol):
    """The value of a hit in memory; see `value_reader`."""

    def __call__(self, key: str, tags: Sequence[str] = (), unless_due: bool = False, /) -> Any:
        """Return the value of `key` that may be served now, counted as a hit; UNSET if there is none."""


class Memory(Protocol):
    """L1, and the parts of a cache that tell whether a copy in it holds."""

    l1: MemoryTier[Copy]
    book: StampBook
    feed_state: FeedState
    warmth: Warmth
    monotonic: Callable[[], float]
    store_clock: StoreClock


def copy_reader(
    memory: Memory,
    reader: Reader,
    *,
    max_age: float | None,
    bypassed: Callable[[], bool],
    adopt: Callable[[str], None] | None = None,
) -> FindCopy:
    """Return a view's way to copies in L1: a closure, because each attribute that is looked up is part of a hit.

    `adopt` makes the copy of a key that has none, if it can without waiting. `max_age` is the oldest that the view
    serves, by the store's clock; None: as old as the ttl allows. It is synchronous, takes no lock, and costs O(1).
    """
    (look, touch), discard, monotonic = memory.l1.reader, memory.l1.discard, memory.monotonic
    book, feed_state, warmth, unix = memory.book, memory.feed_state, memory.warmth, memory.store_clock.now

    def look_closer(key: str, copy: Copy, now: float, generation: int) -> bool:
        """Return whether a copy holds after its time or the stamps have moved on. Here, because it is rarely needed."""
        if now >= copy.deadline or (copy.generation != generation and not book.holds(copy.stamps)):
            discard(key)
            return False
        copy.generation = generation
        if now >= copy.look_at:
            copy.look_at = warmth.look_at(copy.deadline, now)
            warmth.note_copy(key, copy.stamps)
        return True

    def find_copy(key: str, tags: Sequence[str] = (), unless_due: bool = False, /) -> Copy | None:
        copy = look(key)
        if copy is None:
            if adopt is None or bypassed():
                return None
            adopt(key)
            copy = look(key)
        if copy is None or bypassed():
            return None
        now = monotonic()
        store = copy.store
        if store is not None:
            if store.version != copy.seen and not copy.stands(store):
                discard(key)
                return None
        elif copy.fed and now >= feed_state.trusted_until:
            return None
        generation = book.generation
        if (now >= copy.look_at or copy.generation != generation) and not look_closer(key, copy, now, generation):
            return None
        try:
            touch(key)
        except KeyError:  # a writer took it out since it was looked up
            pass
        made_by = copy.reader
        if made_by is not reader and made_by != reader and not reader.accepts(copy):
            return None
        if max_age is not None and unix() - copy.entry.created >= max_age:
            return None
        if (unless_due and now >= copy.refresh_at) or (tags and not copy.carries(tags)):
            return None
        return copy

    return find_copy


def value_reader(find_copy: FindCopy, reader: Reader, counts: HitCounts) -> FindValue:
    """Return a view's way to the values of copies in L1, each counted as a hit."""
    value_of = reader.value_of

    def find_value(key: str, tags: Sequence[str] = (), unless_due: bool = False, /) -> Any:
        copy = find_copy(key, tags, unless_due)
        value = UNSET if copy is None else copy.value
        if copy is None or (value is UNSET and (value := value_of(copy)) is UNSET):
            return UNSET
        counts.hits_l1 += 1
        return value

    return find_value


def tier_of_copies(memory: MemoryOptions, policy: PolicyFactory, clock: Clock) -> MemoryTier[Copy]:
    """Return an empty L1 of the size that `memory` allows."""
    return MemoryTier(
        max_bytes=memory.l1_max_bytes,
        max_entries=memory.l1_max_entries,
        policy=policy,
        deadline_of=attrgetter("deadline"),
        clock=clock,
    )
