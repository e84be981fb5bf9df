"""Copies of fresh entries are put into L1, as of the read or write that saw them."""

from __future__ import annotations

import math
from typing import Any, Final

from cachecore.contract.results import UNSET, Unset
from cachecore.encoding.entry import Entry
from cachecore.engine.flights.coalesce import Batch
from cachecore.engine.freshness import refresh_at
from cachecore.engine.scope import Scope, TagSet
from cachecore.invalidation.tickets import Ticket
from cachecore.memory.copies import Copy
from cachecore.memory.immutable import is_immutable

SMALL: Final = 256
"""Bytes of a payload up to which a copy of a store in this process keeps the value as well, for speed."""


def keep_entry(scope: Scope, tagset: TagSet, batch: Batch, entry: Entry, value: Any) -> None:
    """Keep a copy of a fresh entry that was read in `batch`, likewise; without its value if that is UNSET."""
    if not scope.engine.keeps or not batch.covers(entry.key):
        return
    held = tagset.held
    if entry.stamps is held[0]:
        stamps = held[1]
    else:
        tags = dict(entry.stamps)
        stamps = tuple(zip(scope.names(tags, entry.key), tags.values(), strict=True))
    raw = batch.values.get(entry.key)
    put(scope, entry, raw, value, stamps, batch)


def put(
    scope: Scope,
    entry: Entry,
    raw: bytes | None,
    value: Any | Unset,
    stamps: tuple[tuple[str, bytes], ...],
    ticket: Ticket,
) -> None:
    """Put a copy of `entry`, the bytes `raw`, into L1, as of the second and the feed's epoch of `ticket`."""
    engine = scope.engine
    feed_state, book = engine.feed_state, engine.book
    generation = book.generation
    if ticket.void is not None and not ticket.void.isdisjoint((entry.key, *(name for name, _ in stamps))):
        return
    if not book.holds(stamps):
        return  # invalidated since, or not known: the copy would be worthless at once
    now = engine.monotonic()
    fed = ticket.epoch == feed_state.epoch and now < feed_state.trusted_until
    deadline = engine.store_clock.monotonic_at(entry.fresh_until)
    if not fed and engine.local is None:
        deadline = min(deadline, ticket.asked_at + feed_state.max_age)
    if not now < deadline:
        return
    early = math.inf
    beta = scope.policy.refresh_ahead
    if beta > 0 and entry.fresh_until is not None:
        at = refresh_at(entry, 1.0 - engine.chance.random(), beta)
        early = at if at == math.inf else engine.store_clock.monotonic_at(at)
    kept = value if (engine.local is None or len(entry.payload) <= SMALL) and is_immutable(value) else UNSET
    look_at = engine.warmth.look_at(deadline, ticket.asked_at) if fed else deadline
    copy = Copy(entry, kept, deadline, look_at, early, fed, generation, stamps, scope.reader)
    if engine.local is not None:
        there = engine.local.look(entry.key)
        if there is None or there[0] != raw:
            return
        copy.entry, copy.store, copy.number = entry._replace(payload=b""), engine.local, there[1]
    engine.l1.put(entry.key, copy, len(copy.entry.payload))
    if not ticket.covers(entry.key):  # voided by another thread meanwhile; its own discard may have come before
        engine.l1.discard(entry.key)
