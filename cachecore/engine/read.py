"""Reads of the store, checked: only an entry that passes every check here is ever served.

An entry counts if its envelope is whole and its own key's, its writer's clock was right, its serializer is ours, it
carries every tag the caller asks for, and each of its stamps is the current one. Everything else is a miss with a
reason; nothing raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from itertools import filterfalse
from typing import Any, Final, get_args

from cachecore.contract.errors import EncodingError
from cachecore.contract.results import UNSET
from cachecore.encoding.entry import Entry, Reason, Rejected, decode
from cachecore.engine.flights.coalesce import Batch, Coalescer
from cachecore.engine.freshness import MAX_CLOCK_SKEW, State, decide
from cachecore.engine.keep import keep_entry
from cachecore.engine.scope import Question, Scope, TagSet
from cachecore.engine.store_read import StoreRead
from cachecore.memory.warmth import Warmth

_UNKNOWN: Final = object()
_AT_ONCE: Final = 2048
"""Keys of one call that are read at once: a deadline counts from the sending, and that of the last of 10,000 keys would
pass while the store reads the others."""
_REJECTED: Final = frozenset(get_args(Reason))


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
    state = question.state
    batch = await _request(question, state.coalescer)
    if question.scope.engine.store_clock.unmeasured:
        await question.scope.engine.measured(state)
    value, entry, judged, reason = _fresh(question, batch)
    return (value, None) if value is not UNSET else await _not_fresh(question, batch, entry, judged, reason)


def parts(questions: Sequence[Question]) -> list[Sequence[Question]]:
    """Divide the questions of one call into those that are read at once."""
    return [questions[start : start + _AT_ONCE] for start in range(0, len(questions), _AT_ONCE)]


async def fetch_many(questions: Sequence[Question]) -> list[Any]:
    """Read keys at the same time, as `fetch` does; return their values, UNSET for those that are not fresh.

    Without a task for each: only those that need another read, because of tags that were unknown, take one.
    """
    if len(questions) > _AT_ONCE:
        return [value for part in parts(questions) for value in await fetch_many(part)]
    requests = [_request(question, question.state.coalescer) for question in questions]
    values: list[Any] = []
    again: list[tuple[int, Coroutine[Any, Any, tuple[Any, StoreRead | None]]]] = []
    batches = [await request for request in requests]
    if questions and questions[0].scope.engine.store_clock.unmeasured:
        await questions[0].scope.engine.measured(questions[0].state)
    for place, (question, batch) in enumerate(zip(questions, batches, strict=True)):
        value, entry, judged, reason = _fresh(question, batch)
        values.append(value)
        if reason in ("unknown_stamps", "claimed"):
            again.append((place, _not_fresh(question, batch, entry, judged, reason)))
    if again:
        for (place, _), (value, _) in zip(again, await asyncio.gather(*(work for _, work in again)), strict=True):
            values[place] = value
    return values


def _fresh(question: Question, batch: Batch) -> tuple[Any, Entry | None, State, str | None]:
    """Return the value in `batch` if it is fresh, counted and kept in memory, else UNSET; and the verdict."""
    scope = question.scope
    if question.key in batch.shared:
        entry, judged, reason = _shared(question, batch)
    else:
        entry, judged, reason = judge(scope, question.key, question.tagset, batch)
    if judged != "fresh" or entry is None:
        count(scope, reason)
        return UNSET, entry, judged, reason
    try:
        value = scope.serializer.loads(entry.payload, entry)
    except EncodingError:
        return UNSET, None, "dead", _rejected(scope, "payload")
    if scope.engine.keeps:
        keep_entry(scope, question.tagset, batch, entry, value)
    scope.telemetry.counts.hits_l2 += 1
    return value, entry, judged, reason


async def _not_fresh(
    question: Question, batch: Batch, entry: Entry | None, judged: State, reason: str | None
) -> tuple[Any, StoreRead | None]:
    """Return the value, or UNSET and the read, where the first read gave no fresh answer."""
    if reason == "unknown_stamps":
        result = await _with_stamps_of_its_own(question, question.state.coalescer, batch)
        return take(question.scope, result), result
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
    verdict = judge(question.scope, key, tagset, batch)
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
    if tagset.complete_at == generation:
        wanted = ()
    else:
        current = engine.book.current
        wanted = tuple([name for name in wanted if name not in current])
        if not wanted:
            tagset.complete_at = generation
    if tagset.noted_at != engine.warmth.turn:
        _note_stamps(engine.warmth, tagset)
    return wanted


def _note_stamps(warmth: Warmth, tagset: TagSet) -> None:
    """Note once a turn that memory answers for the stamps of `tagset`, and for those of entries read with it."""
    tagset.noted_at = warmth.turn
    warmth.note_stamps(tagset.stamp_keys)
    warmth.note_stamps(dict(tagset.held[1]))


def check(question: Question, batch: Batch, later: Mapping[str, bytes | None] | None = None) -> StoreRead:
    """Judge the bytes of the key in `batch`; `later` has stamps that were read after it."""
    entry, judged, reason = judge(question.scope, question.key, question.tagset, batch, later)
    count(question.scope, reason)
    return _store_read(question, batch, entry, judged, reason, later)


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
            table = later or (engine.book.current if engine.monotonic() < engine.feed_state.trusted_until else {})
            result.known = {name: stamp for name in unread if (stamp := table.get(name)) is not None}
    return result


def judge(
    scope: Scope, key: str, tagset: TagSet, batch: Batch, later: Mapping[str, bytes | None] | None = None
) -> tuple[Entry | None, State, str | None]:
    """Return the entry if everything about it is right but perhaps its age, its state, and why there is none.

    Reasons that reject bytes are counted by the callers that tell them.
    """
    raw = batch.values[key]
    if raw is None:
        return None, "dead", "absent" if batch.error is None else "store"
    engine = scope.engine
    if len(raw) > engine.store.max_value_bytes:
        return None, "dead", "length"
    entry = decode(raw, key)
    if isinstance(entry, Rejected):
        return None, "dead", entry.reason
    if entry.tombstone or entry.claim:
        return None, "dead", "deleted" if entry.tombstone else "claimed"
    now = engine.store_clock.now()
    if not entry.created <= now + MAX_CLOCK_SKEW:
        return None, "dead", "clock"
    if entry.serializer != scope.serializer.name:
        return None, "dead", "serializer"
    live = engine.monotonic() < engine.feed_state.trusted_until
    # Entries of one namespace share one tuple of stamps (see `entry.decode`): an earlier verdict on it is valid as long
    # as no stamp has changed.
    held = tagset.held
    if not (live and entry.stamps is held[0] and engine.book.generation == held[2] and not engine.outbox.busy):
        verdict = _stamps_hold(scope, entry, tagset, batch, live, later)
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
    scope: Scope, entry: Entry, tagset: TagSet, batch: Batch, live: bool, later: Mapping[str, bytes | None] | None
) -> str | None:
    """Return None if every stamp is current, else `invalidated` or `unknown_stamps`; `live`: the table is trusted."""
    engine = scope.engine
    values = batch.values
    book = engine.book
    generation = book.generation
    table: Mapping[str, bytes] = book.current if live else {}
    tags = dict(entry.stamps)
    names = scope.names(tags, entry.key)
    unknown = False
    for name, stamp in zip(names, tags.values(), strict=True):
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
    outbox = engine.outbox
    if not tags.keys() >= set(tagset.tags) or (outbox.busy and outbox.covers(entry.key, names, batch.asked_at)):
        return "invalidated"
    if unknown:
        return "unknown_stamps"
    named = tuple(zip(names, tags.values(), strict=True))
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
    names = tuple(filterfalse(batch.values.__contains__, scope.names(dict(entry.stamps), key)))
    second = await coalescer.read(None, names)
    if second.error is not None:
        return StoreRead(key, question.tagset, batch, batch.values[key], error=second.error, reason="store")
    return check(question, batch, second.values)


def load(scope: Scope, snapshot: StoreRead) -> Any:
    """Return the value of the entry that was read, or UNSET if there is none or its payload cannot be decoded."""
    return UNSET if snapshot.entry is None else decoded(scope, snapshot.entry)


def decoded(scope: Scope, entry: Entry) -> Any:
    """Return the value of `entry`, or UNSET if its payload cannot be decoded, which is counted."""
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
        keep_entry(scope, snapshot.tagset, snapshot.batch, snapshot.entry, value)


def count(scope: Scope, reason: str | None) -> None:
    """Count a reason that rejects bytes; other reasons are none of an entry's faults."""
    if reason is not None and reason in _REJECTED:
        scope.telemetry.counts.rejected[reason] += 1


def _rejected(scope: Scope, reason: str) -> str:
    scope.telemetry.counts.rejected[reason] += 1
    return reason
