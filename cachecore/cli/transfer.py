"""Answers from elsewhere put into a store so that they stay valid: their expiry, their tags, their place.

An answer is valid while its stamps are the store's. So the stamps come along: where the store has none of that name it
gets the one that the answer carries, where it has another one the answer is left out, because an invalidation may lie
between. `restamp` gives such answers the store's own stamps instead: for a store that was in use before, when nothing
was invalidated at the source since.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from cachecore.cli.store import Store, Stored, patient
from cachecore.contract.errors import EncodingError
from cachecore.contract.protocols import SupportsExtend
from cachecore.contract.tokens import ROOT_TAG
from cachecore.encoding.entry import Entry, draft, seal
from cachecore.invalidation.stamps import careful_life

_AT_ONCE: Final = 32
_MAX_AHEAD: Final = 1.0
"""Seconds that an answer may come from the future of the store's clock, as for every reader."""
_MOVABLE: Final = ("msgpack", "json", "typed-", "zstd+")
"""Beginnings of the names of serializers that bind their bytes to no key."""

REASONS: Final = {
    "already": "were there already",
    "older": "are there in an older form; --overwrite replaces them",
    "newer": "are there in a newer form, deleted, or being computed; they stay",
    "expired": "have expired",
    "invalid": "were invalidated while they were exported",
    "other_stamps": "have tags that are of another version here: they were invalidated since, or this store was in use "
    "before; --restamp takes them",
    "sealed": "are encrypted and bound to their place: let the application compute them anew",
    "damaged": "are damaged",
    "clock": "are from the future of this store's clock: set the clocks",
    "no_answer": "are no answers",
}
"""By outcome, what became of answers that were not stored."""

Placed = tuple[str, bytes, float | None]
"""Key, bytes and ttl of what is to be stored."""


class Importer:
    """Puts answers into `store`.

    Args:
        stamps: by the key of a stamp at the source, the stamp that was current there.
        shards: how many hash tags the source's keys have; 0: none.
        restamp: whether an answer gets the store's stamps where its own are others.
        overwrite: whether an older answer that the store has makes way.
        dry: whether nothing is written.
    """

    def __init__(
        self,
        store: Store,
        *,
        shards: int,
        stamps: Mapping[str, bytes] | None = None,
        restamp: bool = False,
        overwrite: bool = False,
        dry: bool = False,
    ) -> None:
        self._store = store
        self._source = store.keys if shards == store.shards else store.keys_of(shards)
        self._moved = shards != store.shards
        self._extends = isinstance(store.backend, SupportsExtend)
        self._stamps = stamps
        self._restamp = restamp
        self._overwrite = overwrite
        self._dry = dry
        self._first: dict[str, bytes] = {}
        """Where hash tags change: by tag, the stamp that stands for it."""
        self._there: dict[str, bytes] = {}
        """By its key, the stamp that the store is known to have."""
        self._until: dict[str, float] = {}
        """By its key, the Unix second until which that stamp lives at least."""
        self.counts: Counter[str] = Counter()
        """What became of the answers: stored, already, older, newer, expired, invalid, other_stamps, sealed, …"""

    async def put(self, answers: Iterable[tuple[str, bytes]]) -> None:
        """Store `answers` (key and bytes at the source), or count why one was left out. Raises BackendError."""
        now = await self._store.now()
        ready: list[tuple[Stored, str]] = []
        for key, data in answers:
            one = Stored(key, data)
            why = self._unfit(one, now)
            if why is not None:
                self.counts[why] += 1
            else:
                ready.append((one, self._key_here(key)))
        await self._learn(sorted({name for one, key in ready for name in self._names(one, key)}))
        placed: list[Placed] = []
        for one, key in ready:
            made = await self._placed(one, key, now)
            if made is not None:
                placed.append(made)
        for start in range(0, len(placed), _AT_ONCE):
            outcomes = await asyncio.gather(*map(self._store_one, placed[start : start + _AT_ONCE]))
            self.counts.update(outcomes)

    def _unfit(self, one: Stored, now: float) -> str | None:
        entry = one.entry
        if entry is None or not one.key.startswith(self._store.entry_prefix):
            return "damaged"
        if entry.tombstone or entry.claim:
            return "no_answer"
        if entry.dead_until is not None and entry.dead_until <= now:
            return "expired"
        if entry.created > now + _MAX_AHEAD:
            return "clock"
        if self._stamps is not None:
            shard = self._source.shard_of(one.key)
            if any(self._stamps.get(self._source.stamp_key(tag, shard)) != stamp for tag, stamp in entry.stamps):
                return "invalid"
        return None

    def _key_here(self, key: str) -> str:
        """Return the key under which the store looks for what lies under `key` at the source."""
        if not self._moved:
            return key
        start, _, digest = key.rpartition(":")
        digest = digest.rpartition("}")[2]
        slot = f"{{{int(digest, 16) % self._store.shards}}}" if self._store.shards else ""
        return f"{start}:{slot}{digest}"

    def _names(self, one: Stored, key: str) -> list[str]:
        shard = self._store.keys.shard_of(key)
        return [self._store.keys.stamp_key(tag, shard) for tag, _ in self._entry(one).stamps]

    @staticmethod
    def _entry(one: Stored) -> Entry:
        assert one.entry is not None  # noqa: S101 - what is unfit was left out
        return one.entry

    async def _learn(self, names: Sequence[str]) -> None:
        wanted = [name for name in names if name not in self._there]
        for start in range(0, len(wanted), 256):
            part = wanted[start : start + 256]
            for name, stamp in zip(part, await self._store.values(part), strict=True):
                if stamp is not None:
                    self._there[name] = stamp

    async def _placed(self, one: Stored, key: str, now: float) -> Placed | None:
        """Return what to store, its stamps being in the store and living as long; None if it was left out."""
        entry = self._entry(one)
        life = None if entry.dead_until is None else max(0.001, entry.dead_until - now)
        stamps: list[tuple[str, bytes]] = []
        for (tag, stamp), name in zip(entry.stamps, self._names(one, key), strict=True):
            wanted = self._first.setdefault(tag, stamp) if self._moved else stamp
            permanent = tag == ROOT_TAG or (not self._extends and not tag.startswith("t/"))
            there = await self._ensured(name, wanted, None if permanent else life, permanent, now)
            if there != wanted and not self._restamp:
                self.counts["other_stamps"] += 1
                return None
            stamps.append((tag, there))
        if key == one.key and tuple(stamps) == tuple(entry.stamps):
            return key, one.data, life
        if not entry.serializer.startswith(_MOVABLE):
            self.counts["sealed"] += 1  # an encrypted payload is bound to its key and its header
            return None
        try:
            return key, _written(entry, key, stamps), life
        except EncodingError:
            self.counts["damaged"] += 1
            return None

    async def _ensured(self, name: str, stamp: bytes, life: float | None, permanent: bool, now: float) -> bytes:
        """Return the stamp that the store has under `name`, `stamp` if it had none; it outlives `life` seconds."""
        backend = self._store.backend
        there = self._there.get(name)
        if self._dry:
            return self._there.setdefault(name, stamp)
        ttl = None if permanent else careful_life(life)
        until = float("inf") if ttl is None else now + ttl
        needed = float("inf") if life is None else now + life
        if there is None:
            if not await patient("swap", backend.swap(name, None, stamp, ttl=ttl)):
                (found,) = await self._store.values([name])
                return self._there.setdefault(name, found or b"")
            self._there[name], self._until[name] = stamp, until
            return stamp
        if self._until.get(name, 0.0) < needed and not permanent:
            if isinstance(backend, SupportsExtend):
                (same,) = await patient("extend", backend.extend({name: there}, ttl=ttl))
            else:
                same = await patient("swap", backend.swap(name, there, there, ttl=ttl))
            if not same:
                self._there[name] = b""
                return b""
            self._until[name] = until
        return there

    async def _store_one(self, placed: Placed) -> str:
        """Store one answer where nothing newer is; return what became of it."""
        key, data, ttl = placed
        backend = self._store.backend
        if self._dry:
            (there,) = await self._store.values([key])
            return "stored" if there is None else "already" if there == data else self._besides(key, there, data)
        if await patient("swap", backend.swap(key, None, data, ttl=ttl)):
            return "stored"
        (there,) = await self._store.values([key])
        if there == data:
            return "already"
        if there is None:
            return "newer"  # taken away at this moment
        kept = self._besides(key, there, data)
        if kept == "older" and self._overwrite:
            return "stored" if await patient("swap", backend.swap(key, there, data, ttl=ttl)) else "newer"
        return kept

    @staticmethod
    def _besides(key: str, there: bytes, data: bytes) -> str:
        """Return how what the store has compares with `data`: `older`, or `newer`."""
        old, new = Stored(key, there).entry, Stored(key, data).entry
        if old is None or new is None or old.tombstone or old.claim:
            return "newer"
        return "older" if old.created < new.created else "newer"

    async def void(self, names: Iterable[str]) -> int:
        """Invalidate the tags whose stamps changed at the source after they were copied; return how many.

        `names` are keys of stamps at the source. Raises BackendError.
        """
        voided = 0
        for name in names:
            tag_part = name.removeprefix(f"{self._store.start}s:").rpartition("}")[2]
            for here in self._everywhere(tag_part):
                stamp = self._there.get(here)
                if stamp:
                    voided += await patient("swap", self._store.backend.swap(here, stamp, None, ttl=None))
        return voided

    def _everywhere(self, tag: str) -> list[str]:
        start = f"{self._store.start}s:"
        return [f"{start}{{{n}}}{tag}" for n in range(self._store.shards)] or [start + tag]


def _written(entry: Entry, key: str, stamps: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the bytes of `entry` under another key or with other stamps. Raises EncodingError."""
    made = draft(
        key,
        created=entry.created,
        compute_time=entry.compute_time,
        fresh_until=entry.fresh_until,
        dead_until=entry.dead_until,
        serializer=entry.serializer,
        stamps=stamps,
        metadata=entry.metadata,
        served_by=entry.served_by,
    )
    return seal(made, entry.payload)


def left_out(counts: Mapping[str, int]) -> int:
    """Return how many answers were left out that could have been wanted."""
    return sum(counts[why] for why in ("other_stamps", "sealed", "damaged", "clock", "older") if why in counts)


def reasons(counts: Mapping[str, int]) -> Iterator[str]:
    """Yield a line for each reason for which answers were not stored."""
    for why, number in sorted(counts.items()):
        if why != "stored":
            yield f"{number:,} {REASONS[why]}"
