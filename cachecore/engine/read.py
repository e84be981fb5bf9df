"""Reads of the store, checked: only an entry that passes every check here is ever served.

An entry counts if its envelope is whole and its own key's, its writer's clock was right, its serializer is ours, it
carries every tag the caller asks for, and each of its stamps is the current one. Everything else is a miss with a
reason; nothing raises.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

from cachecore.contract.errors import EncodingError
from cachecore.contract.results import UNSET, Unset
from cachecore.encoding.entry import Entry, Rejected, decode
from cachecore.engine.flights.coalesce import Batch, Coalescer
from cachecore.engine.freshness import MAX_CLOCK_SKEW, State, decide, refresh_at
from cachecore.engine.question import Question
from cachecore.engine.scope import Scope, TagSet
from cachecore.engine.store_read import StoreRead
from cachecore.invalidation.tickets import Ticket
from cachecore.memory.copies import Copy
from cachecore.memory.immutable import is_immutable
from cachecore.memory.warmth import Warmth

_UNKNOWN: Final = object()
_SMALL: Final = 256
"""Bytes of a payload up to which a copy of a store in this process keeps the value as well, for speed."""


async def read(
    question: Question,
    *,
    stamps_too: bool = False,
    extra: tuple[str, ...] = (),
    explicit: bool = False,
    whole: bool = True,
) -> StoreRead:
    """Read a key from the store and check it. One round trip, shared with every other read of this tick.

    With `stamps_too` the stamps come from the store even where the table of a live feed has them; `extra` are further
    keys of the same node to read along, found in `StoreRead.batch.values`. An `explicit` read has the time of a write.
    Unless `whole`, an entry with tags that were not asked for is left unjudged (`unknown_stamps`), for `completed`.
    """
    state = question.state
    coalescer = state.explicit if explicit else state.coalescer
    batch = await _request(question, coalescer, stamps_too, extra)
    engine = question.scope.engine
    if engine.store_clock.unmeasured:
        await engine.measured(state)
    result = check(question, batch)
    if whole and result.reason == "unknown_stamps":
        result = await _with_stamps_of_its_own(question, coalescer, batch)
    return result


async def completed(question: Question, snapshot: StoreRead) -> StoreRead:
    """Complete an explicit read that was not `whole`: read its missing stamps, too."""
    if snapshot.reason != "unknown_stamps" or snapshot.batch is None:
        return snapshot
    return await _with_stamps_of_its_own(question, question.state.explicit, snapshot.batch)


async def fetch(question: Question) -> tuple[Any, StoreRead | None]:
    """Read a key as `read` does; return its value if it is fresh, counted and kept in memory, else UNSET and the read.

    The hot path of a hit in the store: nothing is made for it that only a miss needs.
    """
    scope, state = question.scope, question.state
    batch = await _request(question, state.coalescer)
    if scope.engine.store_clock.unmeasured:
        await scope.engine.measured(state)
    if question.key in batch.shared:
        entry, judged, reason = _shared(question, batch)
    else:
        entry, judged, reason = _judge(question, batch, None)
    if judged == "fresh" and entry is not None:
        try:
            value = scope.serializer.loads(entry.payload, entry)
        except EncodingError:
            entry, judged, reason = None, "dead", _rejected(scope, "payload")
        else:
            _keep(scope, question.tagset, batch, entry, value)
            scope.telemetry.counts.hits_l2 += 1
            return value, None
    if reason == "unknown_stamps":
        result = await _with_stamps_of_its_own(question, state.coalescer, batch)
        return take(scope, result), result
    if reason == "claimed" and await _stored_here(question):
        return await fetch(question)
    return UNSET, _store_read(question, batch, entry, judged, reason, None)


async def read_own(question: Question) -> StoreRead:
    """Read a key as `read` does, for a caller that may have its answer already: then it waits until that is stored."""
    snapshot = await read(question)
    if snapshot.reason == "claimed" and await _stored_here(question):
        return await read(question)
    return snapshot


async def _stored_here(question: Question) -> bool:
    """Wait for an answer that callers of this loop have and the store has not acknowledged; return whether one was."""
    flight = question.state.flights.get(question.key)
    if flight is None or not flight.handed_out:
        return False
    await flight.landed()
    return True


def _shared(question: Question, batch: Batch) -> tuple[Entry | None, State, str | None]:
    """Judge for one of several readers: a fresh entry is fresh for all of them, until it ends or a stamp changes."""
    engine, key, tagset = question.scope.engine, question.key, question.tagset
    generation = engine.book.generation
    known = batch.shared[key]
    if known is not None and known[0] is tagset and known[1] == generation and not engine.outbox.busy:
        entry: Entry = known[2]
        if entry.fresh_until is None or engine.store_clock.now() < entry.fresh_until:
            return entry, "fresh", None
    verdict = _judge(question, batch, None)
    if verdict[1] == "fresh":
        batch.shared[key] = tagset, generation, verdict[0]
    return verdict


def _request(
    question: Question, coalescer: Coalescer, stamps_too: bool = False, extra: tuple[str, ...] = ()
) -> asyncio.Future[Batch]:
    """Ask the store for a key and those stamps that are not known already.

    Its clock, if that is due, is asked for at the same time, so that a store that hangs costs one deadline.
    """
    scope, tagset = question.scope, question.tagset
    engine = scope.engine
    now = engine.monotonic()
    if now >= engine.store_clock.due_at:
        engine.measure(question.state)
    if now >= scope.telemetry.look_at:
        scope.telemetry.look(now)
    wanted = tagset.stamp_keys if stamps_too else unknown_stamps(question, now)
    return coalescer.read(question.key, wanted + extra if extra else wanted)


def unknown_stamps(question: Question, now: float) -> tuple[str, ...]:
    """Return the stamp keys of the question that the table of a live feed does not have at `now` (monotonic s)."""
    engine, tagset = question.scope.engine, question.tagset
    wanted = tagset.stamp_keys
    if now >= engine.feed_state.trusted_until:
        return wanted
    generation = engine.book.generation
    if tagset.noted_at != engine.warmth.turn:
        _note_stamps(engine.warmth, tagset)
    if tagset.complete_at == generation:
        return ()
    current = engine.book.current
    wanted = tuple(name for name in wanted if name not in current)
    if not wanted:
        tagset.complete_at = generation
    return wanted


def _note_stamps(warmth: Warmth, tagset: TagSet) -> None:
    """Note once a turn that memory answers for the stamps of `tagset`, and for those of entries read with it."""
    tagset.noted_at = warmth.turn
    warmth.note_stamps(tagset.stamp_keys)
    warmth.note_stamps(name for name, _ in tagset.held[1])


def check(question: Question, batch: Batch, later: Mapping[str, bytes | None] | None = None) -> StoreRead:
    """Judge the bytes of the key in `batch`; `later` has stamps that were read after it."""
    return _store_read(question, batch, *_judge(question, batch, later), later)


def judged(question: Question, batch: Batch) -> tuple[Entry | None, State, str | None]:
    """Judge the bytes of the key in `batch`: the entry if only its age may be wrong, its state, why there is none."""
    return _judge(question, batch, None)


def keep_read(question: Question, batch: Batch, entry: Entry, value: Any) -> None:
    """Keep a copy of a fresh entry with its value in L1, if nothing has changed since `batch` was read."""
    _keep(question.scope, question.tagset, batch, entry, value)


def _store_read(
    question: Question,
    batch: Batch,
    entry: Entry | None,
    state: State,
    reason: str | None,
    later: Mapping[str, bytes | None] | None,
) -> StoreRead:
    key, tagset = question.key, question.tagset
    result = StoreRead(key, tagset, batch, batch.values[key], entry, state, reason, batch.error)
    if state != "fresh" and batch.error is None:
        # The stamps that were not read because they are known: a computation will need them.
        unread = [name for name in tagset.stamp_keys if name not in batch.values]
        if unread:
            engine = question.scope.engine
            table = later or (engine.book.current if engine.feed_state.live else {})
            result.known = {name: stamp for name in unread if (stamp := table.get(name)) is not None}
    return result


def _judge(
    question: Question, batch: Batch, later: Mapping[str, bytes | None] | None
) -> tuple[Entry | None, State, str | None]:
    """Return the entry if everything about it is right but perhaps its age, its state, and why there is none."""
    scope, key = question.scope, question.key
    raw = batch.values[key]
    if raw is None:
        return None, "dead", "absent" if batch.error is None else "store"
    engine = scope.engine
    if len(raw) > engine.store.max_value_bytes:
        return None, "dead", _rejected(scope, "length")
    entry = decode(raw, key)
    if isinstance(entry, Rejected):
        return None, "dead", _rejected(scope, entry.reason)
    if entry.tombstone or entry.claim:
        return None, "dead", "deleted" if entry.tombstone else "claimed"
    now = engine.store_clock.now()
    if not entry.created <= now + MAX_CLOCK_SKEW:
        return None, "dead", _rejected(scope, "clock")
    if entry.serializer != scope.serializer.name:
        return None, "dead", _rejected(scope, "serializer")
    verdict = _stamps_hold(scope, entry, question.tagset, batch, later)
    if verdict is not None:
        return None, "dead", verdict
    # Early refreshes are drawn once per copy in L1, not here: this entry may be read by everybody at once.
    state = decide(entry, now, scope.policy)
    if state != "dead":
        return entry, state, None
    # Too old for this caller alone: others may serve it, so it is not claimed away.
    particular = scope.policy.max_age is not None or scope.policy.keep_stale is not None
    young = particular and (entry.dead_until is None or now < entry.dead_until)
    return None, state, "max_age" if young else "expired"


def _stamps_hold(
    scope: Scope, entry: Entry, tagset: TagSet, batch: Batch, later: Mapping[str, bytes | None] | None
) -> str | None:
    """Return None if every stamp is current, else `invalidated` or `unknown_stamps`."""
    engine = scope.engine
    values = batch.values
    live = engine.feed_state.live
    book = engine.book
    generation = book.generation
    # Entries of one namespace share one tuple of stamps (see `entry.decode`): an earlier verdict on it is valid as long
    # as no stamp has changed.
    held = tagset.held
    if live and entry.stamps is held[0] and generation == held[2] and not engine.outbox.busy:
        return None
    table: Mapping[str, bytes] = book.current if live else {}
    shard = scope.keys.shard_of(entry.key) if engine.shards else None
    tags = set()
    names = []
    unknown = False
    for tag, stamp in entry.stamps:
        name = scope.name(tag, shard)
        names.append(name)
        tags.add(tag)
        current: Any = values.get(name, _UNKNOWN)
        if current is _UNKNOWN:
            current = table.get(name, _UNKNOWN)
            if current is _UNKNOWN and later is not None:
                current = later.get(name, _UNKNOWN)
            if current is _UNKNOWN:
                unknown = True
                continue
        if current != stamp:
            return "invalidated"
    if not tags.issuperset(tagset.tags) or engine.outbox.covers(entry.key, names, batch.asked_at):
        return "invalidated"
    if unknown:
        return "unknown_stamps"
    named = tuple((name, stamp) for name, (_, stamp) in zip(names, entry.stamps, strict=True))
    if live and book.holds(named):
        engine.warmth.note_stamps(names)
        tagset.held = entry.stamps, named, generation
    return None


async def _with_stamps_of_its_own(question: Question, coalescer: Coalescer, batch: Batch) -> StoreRead:
    """Check an entry with tags that were unknown before the read: their stamps cost a second round trip."""
    scope, key = question.scope, question.key
    entry = decode(batch.values[key] or b"", key)
    if isinstance(entry, Rejected):
        return check(question, batch)
    shard = scope.keys.shard_of(key) if scope.engine.shards else None
    names = tuple(name for tag, _ in entry.stamps if (name := scope.name(tag, shard)) not in batch.values)
    second = await coalescer.read(None, names)
    if second.error is not None:
        return StoreRead(key, question.tagset, batch, batch.values[key], error=second.error, reason="store")
    return check(question, batch, second.values)


def load(scope: Scope, snapshot: StoreRead) -> Any:
    """Return the value of the entry that was read, or UNSET if there is none or its payload cannot be decoded."""
    entry = snapshot.entry
    if entry is None:
        return UNSET
    try:
        return scope.serializer.loads(entry.payload, entry)
    except EncodingError:
        _rejected(scope, "payload")
        return UNSET


def take(scope: Scope, snapshot: StoreRead, *, counted: bool = True) -> Any:
    """Return the value of a read entry if it is fresh, `counted` as a hit and kept in memory; else UNSET."""
    if snapshot.state != "fresh":
        return UNSET
    value = load(scope, snapshot)
    if value is not UNSET:
        keep(scope, snapshot, value)
        scope.telemetry.counts.hits_l2 += counted
    return value


def keep(scope: Scope, snapshot: StoreRead, value: Any) -> None:
    """Keep a copy of a fresh entry in L1, if nothing has changed since it was read."""
    if snapshot.entry is not None and snapshot.batch is not None and snapshot.state == "fresh":
        _keep(scope, snapshot.tagset, snapshot.batch, snapshot.entry, value)


def _keep(scope: Scope, tagset: TagSet, batch: Batch, entry: Entry, value: Any) -> None:
    if not scope.engine.keeps or not batch.covers(entry.key):
        return
    held = tagset.held
    if entry.stamps is held[0]:
        stamps = held[1]
    else:
        shard = scope.keys.shard_of(entry.key) if scope.engine.shards else None
        stamps = tuple((scope.name(tag, shard), stamp) for tag, stamp in entry.stamps)
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
    fed = ticket.epoch == feed_state.epoch and feed_state.live
    deadline = engine.deadline_at(entry.fresh_until)
    if not fed and engine.local is None:
        deadline = min(deadline, ticket.asked_at + feed_state.max_age)
    if not engine.monotonic() < deadline:
        return
    early = math.inf
    beta = scope.policy.refresh_ahead
    if beta > 0 and entry.fresh_until is not None:
        at = refresh_at(entry, 1.0 - engine.chance.random(), beta)
        early = at if at == math.inf else engine.deadline_at(at)
    kept = value if (engine.local is None or len(entry.payload) <= _SMALL) and is_immutable(value) else UNSET
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


def _rejected(scope: Scope, reason: str) -> str:
    scope.telemetry.counts.rejected[reason] += 1
    return reason
