"""The result of reading one key from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from cachecore.contract.errors import BackendError
from cachecore.encoding.claim import ClaimMark, read_claim
from cachecore.encoding.entry import Entry
from cachecore.engine.flights.coalesce import Batch
from cachecore.engine.freshness import State
from cachecore.engine.scope import TagSet
from cachecore.invalidation.stamps import sound

_WORTHLESS: Final = frozenset({"deleted", "claimed", "expired", "invalidated"})
"""Reasons why bytes are there that nothing can be made of."""
_KEEP_REASONS: Final = frozenset({"version"})
"""Reasons to leave bytes alone that are not ours to judge: a newer version may have written them."""


@dataclass(slots=True)
class StoreRead:
    """The result of reading a key."""

    key: str
    tagset: TagSet
    batch: Batch | None
    raw: bytes | None = None
    """The bytes in the store, which a later swap compares with."""
    entry: Entry | None = None
    """The entry, if everything about it is right but perhaps its age."""
    state: State = "dead"
    reason: str | None = "absent"
    """Why there is nothing to serve: `absent`, `expired`, `max_age` (too old for this caller), `deleted`, `claimed`
    (another computation is under way), `invalidated`, `store`, or why it was rejected."""
    error: BackendError | None = None
    known: Mapping[str, bytes] | None = None
    """Stamps of the tag set that were not read because the table of a live feed had them."""

    @property
    def replaceable(self) -> bool:
        """Whether an answer may be stored over these bytes."""
        return self.error is None and self.reason not in _KEEP_REASONS

    @property
    def claim(self) -> ClaimMark | None:
        """The claim that lies there, if one does."""
        return read_claim(self.raw, self.key) if self.reason == "claimed" else None

    @property
    def claimable(self) -> bool:
        """Whether a computation claims the key itself: no bytes are there that may be served, or are not ours."""
        return self.raw is None or self.reason in _WORTHLESS

    @property
    def from_memory(self) -> bool:
        """Whether it was made from a copy in memory: then the bytes are known for a store in this process only."""
        return self.batch is None and self.entry is not None

    def same(self, again: StoreRead) -> bool:
        """Return whether the key holds the same bytes as in this read."""
        if self.from_memory and self.raw is None:
            return again.entry == self.entry
        return again.raw == self.raw

    def without_entry(self) -> StoreRead:
        """Return the same read as a miss, for a payload that could not be decoded."""
        return replace(self, entry=None, state="dead", reason="payload")

    def stamps(self) -> Mapping[str, bytes | None] | None:
        """Return the stamps of the tag set as they were read, stamp key to stamp; None if they could not be."""
        batch = self.batch
        if batch is None or batch.error is not None:
            return None
        values, known = batch.values, self.known or {}
        stamps: dict[str, bytes | None] = {}
        for key in self.tagset.stamp_keys:
            stamps[key] = stamp = sound(values[key] if key in values else known.get(key))
            if stamp is None and key not in values:
                return None
        return stamps
