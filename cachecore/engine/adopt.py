"""Copies of entries in a store in this process: made by the first hit, and not by the write.

Such a copy is the checked header; the payload stays in the store. It saves later hits the checks. An entry that is not
read needs none, which is two thirds of the memory of an entry beside its value. No read of the store is waited for: the
store is looked at, from any thread, and judged by the rules of any read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cachecore.contract.errors import EncodingError
from cachecore.contract.protocols import SupportsLocal
from cachecore.contract.results import UNSET
from cachecore.engine.flights.coalesce import Batch
from cachecore.engine.keep import SMALL, keep_entry
from cachecore.engine.read import judge
from cachecore.engine.scope import Scope


class _Stamps(Mapping[str, bytes | None]):
    """The stamps that a store in this process has, each looked up when it is asked for."""

    def __init__(self, store: SupportsLocal) -> None:
        self._store = store

    def __getitem__(self, name: str) -> bytes | None:
        there = self._store.look(name)
        return None if there is None else there[0]

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def adopt(scope: Scope, key: str) -> None:
    """Make the copy of an entry that a store in this process has, if it is fresh and its stamps are known."""
    engine = scope.engine
    local = engine.local
    slot = None if local is None else local.look(key)
    if local is None or slot is None or engine.store_clock.unmeasured:
        return
    tagset = scope.tagset(key)
    batch = Batch(engine.feed_state.epoch)
    batch.asked_at = engine.monotonic()
    batch.values[key] = slot[0]
    entry, judged, _ = judge(scope, key, tagset, batch, _Stamps(local))
    if entry is None or judged != "fresh":
        return
    value = UNSET
    if len(entry.payload) <= SMALL:
        try:
            value = scope.serializer.loads(entry.payload, entry)
        except EncodingError:
            return
    keep_entry(scope, tagset, batch, entry, value)
