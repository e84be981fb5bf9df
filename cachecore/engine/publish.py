"""The path of an answer once the factory has returned: admitted, encoded, stored, handed out.

Nothing here loses a paid answer: one that cannot be stored is returned all the same, and counted. The owner of the
factory gets the very object it made; every other caller gets a copy of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cachecore.contract.errors import BackendError, EncodingError, OptionsError, TooLargeError
from cachecore.contract.options import FOR_EVER_SECONDS
from cachecore.contract.options import seconds as as_seconds
from cachecore.contract.results import UNSET, Computed, Lookup, Outcome, Tier, Unset
from cachecore.encoding.entry import Draft, Entry, decode, draft, seal
from cachecore.engine import read as reading
from cachecore.engine.computation import Computation
from cachecore.engine.freshness import TTL_SLACK, expired, lifetime, longest_life
from cachecore.engine.keep import put
from cachecore.engine.read import read
from cachecore.engine.scope import Question, Scope
from cachecore.engine.storable import unstorable
from cachecore.engine.store_read import StoreRead
from cachecore.invalidation.stamps import sound
from cachecore.invalidation.tickets import Ticket

_PATIENCE: Final = 0.05
"""Seconds for which callers wait until the store has acknowledged their answer."""
_FAR: Final = 0.005
"""Seconds of a swap from which on the store is far away, or busy: callers wait no longer than this for it."""
_ON_ITS_WAY: Final = 65_536
"""Bytes of an entry that leave this process at once, so that it is stored although the process may end by then."""
_CLOCK_ERROR: Final = 0.1
"""Seconds by which two processes may disagree on the store's clock: each may be wrong by half of a slow round trip."""

_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
"""Immutable types with values that are the same after a round trip through any serializer."""


@dataclass(slots=True)
class FlightAnswer:
    """The answer of a computation to all its callers."""

    scope: Scope
    lookup: Lookup[Any]
    sealed: Sealed | None = None

    def for_joiner(self) -> Lookup[Any] | None:
        """Return the answer for a joined caller, with a value that no other caller holds.

        None if there is no copy: the value does not encode, or its bytes do not decode. The caller computes for itself.
        """
        lookup, sealed = replace(self.lookup, joined=True), self.sealed
        if type(lookup.value) in _PLAIN:
            return lookup
        if sealed is None:
            return None
        try:
            return replace(lookup, value=self.scope.serializer.loads(sealed.payload, sealed.context))
        except EncodingError:
            return None


@dataclass(slots=True)
class Sealed:
    """An entry ready to be stored."""

    context: Draft | Entry
    payload: bytes
    data: bytes
    life: float | None
    """Seconds for which the store must keep it; None for ever."""
    stamps: dict[str, bytes]
    """Stamp keys to stamps."""


def lookup_of(scope: Scope, snapshot: StoreRead, value: Any, outcome: Outcome, tier: Tier = "l2") -> Lookup[Any]:
    """Return the lookup of a stored entry."""
    entry = snapshot.entry
    if entry is None:
        return Lookup(value=None, outcome="miss", key=snapshot.key, reason=snapshot.reason, version=snapshot)
    return lookup_of_entry(scope, entry, value, outcome, tier, version=snapshot)


def lookup_of_entry(
    scope: Scope, entry: Entry, value: Any, outcome: Outcome, tier: Tier, version: StoreRead | None = None
) -> Lookup[Any]:
    """Return the lookup of an entry."""
    now = scope.engine.store_clock.now()
    return Lookup(
        value=value,
        outcome=outcome,
        tier=tier,
        age=max(0.0, now - entry.created),
        fresh_for=None if entry.fresh_until is None else entry.fresh_until - now,
        key=entry.key,
        served_by=entry.served_by,
        metadata=entry.metadata,
        version=version,
    )


def answer_found(scope: Scope, snapshot: StoreRead, value: Any) -> FlightAnswer:
    """Return a stored entry as the answer to a whole flight, and keep a copy of it in L1."""
    reading.keep(scope, snapshot, value)
    entry = snapshot.entry
    sealed = None if entry is None else Sealed(entry, entry.payload, b"", None, {})
    return FlightAnswer(scope, lookup_of(scope, snapshot, value, "hit"), sealed)


async def publish(computation: Computation, value: Any, seconds: float) -> bool:
    """Store `value`, which the factory returned after `seconds`; answer the flight; return whether it was stored."""
    scope, flight, counts = computation.scope, computation.flight, computation.scope.telemetry.counts
    computed, refused = _admitted(computation, value)
    if computation.claim is not None and not await computation.claim.settled():
        refused = refused or "store"
    refused = refused or computation.refused
    lasts = _ttl_of(computed, computation.question)
    over = None if lasts is None or 0 < lasts < math.inf else f"its ttl is {lasts:g} seconds"
    answer = unstored_answer(computation, computed, lasts if over is None else min(0.0, lasts or 0.0))
    if refused == "store" and computation.snapshot.error is not None and not computation.shared:
        counts.not_stored[refused] += 1  # while the store is away, and no caller needs a copy: it is not encoded
        flight.answer(answer)
        return False
    if over is not None:
        refused, lasts = refused or _unstored(computation, "ttl", over), None
    sealed, unsealed = await _sealed(computation, computed, lasts, seconds)
    answer.sealed, refused = sealed, refused or unsealed
    most = scope.engine.store.max_value_bytes
    if refused is None and sealed is not None and len(sealed.data) > most:
        refused = _unstored(computation, "size", str(too_large(len(sealed.data), most)))
    if refused is None and sealed is not None:
        try:
            refused = await _store(computation, sealed, answer)
        except BackendError:
            refused = "store"
    counts.stored += refused is None
    if refused is not None:
        counts.not_stored[refused] += 1
    clean = await _still_right(computation, answer, stored=refused is None)
    flight.answer(answer, late_too=clean)
    return refused is None


def unstored_answer(computation: Computation, value: Any, fresh_for: float | None = None) -> FlightAnswer:
    """Return a factory's value as the answer to its flight; it has no copies."""
    computed = value if isinstance(value, Computed) else Computed(value)
    return FlightAnswer(
        computation.scope,
        Lookup(
            value=computed.value,
            outcome="computed",
            age=0.0,
            fresh_for=fresh_for,
            key=computation.snapshot.key,
            served_by=computed.served_by,
            metadata=computed.metadata,
            reason=computation.snapshot.reason,
        ),
    )


def _admitted(computation: Computation, value: Any) -> tuple[Computed[Any], str | None]:
    """Return `value` with the storing options of its factory and the admission rule, and why it is not stored.

    A rule that raises has judged nothing, and the answer is paid for: it is returned, and not stored.
    """
    admit = computation.scope.admit
    computed = value if isinstance(value, Computed) else Computed(value)
    if admit is not None and computed.store:
        try:
            verdict = admit(computed.value)
            if isinstance(verdict, Computed):
                computed = verdict
            elif not verdict:
                return computed, "admission"
        except Exception as error:  # noqa: BLE001 - the application's own code
            why = f"admit raised {type(error).__qualname__}"
            return computed, _unstored(computation, "admit_error", why, error)
    return computed, None if computed.store else "admission"


async def _sealed(
    computation: Computation, computed: Computed[Any], lasts: float | None, seconds: float
) -> tuple[Sealed | None, str | None]:
    """Return the entry of an answer, None if its value cannot be encoded, and why it cannot be stored, if it cannot.

    A value that is not stored is encoded all the same if possible: each joiner gets a copy of its own.
    """
    scope, question = computation.scope, computation.question
    refused: str | None = None
    try:
        tags, stamps = await _stamps_for(computation, computed, lasts)
        refused = None if stamps is not None else "store"
        return seal_value(question, computed, lasts, tags, stamps or {}, seconds), refused
    except OptionsError as error:
        refused = _unstored(computation, "tags", "its tags are none", error)
    except TooLargeError as error:
        refused = refused or _unstored(computation, error.reason, str(error))
    except EncodingError as error:
        why = unstorable(computed.value, scope.serializer.name)
        # A value that is not to be stored may be of any type.
        refused = refused or (_unstored(computation, "encoding", why, error) if computed.store else "encoding")
    try:
        return seal_value(question, Computed(computed.value), lasts, (), {}, seconds), refused
    except EncodingError:
        if type(computed.value) not in _PLAIN:
            scope.engine.unshared.note(scope.keys.namespace, computation.factory)
        return None, refused


def too_large(size: int, most: int) -> TooLargeError:
    """Return the error of an entry of `size` bytes where `most` are allowed."""
    why = f"the entry is {size} bytes; max_value_bytes allows {most}: raise it, or use the serializer `compressed`"
    return TooLargeError(why, "size")


def _unstored(computation: Computation, reason: str, why: str, error: Exception | None = None) -> str:
    """Log why an answer is not stored; return `reason`."""
    scope = computation.scope
    scope.engine.unstored_log.warn(scope.keys.namespace, computation.factory, reason, why, error)
    return reason


def seal_value(
    question: Question,
    computed: Computed[Any],
    ttl: float | None,
    tags: tuple[str, ...],
    stamps: dict[str, bytes],
    seconds: float,
) -> Sealed:
    """Return the entry of `computed` with `ttl` seconds, computed in `seconds`. Raises EncodingError."""
    scope, key = question.scope, question.key
    engine = scope.engine
    by_tag = zip(tags, _stamp_keys(question, tags), strict=True)
    had = [(tag, stamp) for tag, name in by_tag if (stamp := stamps.get(name)) is not None]
    now = engine.store_clock.now()
    times = lifetime(now, ttl, engine.chance.random(), scope.policy)
    made = draft(
        key,
        created=now,
        compute_time=seconds,
        fresh_until=times.fresh_until,
        dead_until=times.dead_until,
        serializer=scope.serializer.name,
        stamps=had,
        metadata=computed.metadata,
        served_by=computed.served_by,
    )
    payload = scope.serializer.dumps(computed.value, made)
    life = None if times.dead_until is None else times.dead_until - now + TTL_SLACK
    return Sealed(made, payload, seal(made, payload), life, stamps)


def _stamp_keys(question: Question, tags: tuple[str, ...]) -> Sequence[str]:
    """Return the stamp keys of `tags` beside the key of `question`, in their order."""
    scope, tagset = question.scope, question.tagset
    if tags == tagset.tags:
        return tagset.stamp_keys
    return scope.names(tags, question.key)


def sealed_expired(scope: Scope, entry: Entry, value: Any) -> tuple[bytes, float]:
    """Return the bytes of `entry` with its freshness over. The payload is made anew: it may be sealed to its header."""
    now = scope.engine.store_clock.now()
    times = expired(now, scope.policy)
    dead_until = times.dead_until if times.dead_until is not None else now
    if entry.dead_until is not None:
        dead_until = min(dead_until, entry.dead_until)
    # Never the same bytes as before: a computation that read those must not store over these.
    # And a little earlier than now, since other processes' idea of the store's clock may be behind ours.
    past = max(0.0, now - _CLOCK_ERROR)
    fresh_until = past if entry.fresh_until is None else math.nextafter(min(past, entry.fresh_until), 0.0)
    made = draft(
        entry.key,
        created=entry.created,
        compute_time=entry.compute_time,
        fresh_until=fresh_until,
        dead_until=dead_until,
        serializer=entry.serializer,
        stamps=entry.stamps,
        metadata=entry.metadata,
        served_by=entry.served_by,
    )
    payload = scope.serializer.dumps(value, made)
    return seal(made, payload), max(dead_until - now + TTL_SLACK, scope.engine.protection)


def _ttl_of(computed: Computed[Any], question: Question) -> float | None:
    """Return the ttl of an answer in seconds, None for ever. One that the answer itself gives may be any number."""
    if not isinstance(computed.ttl, Unset):
        lasts = None if computed.ttl is None else as_seconds("ttl", computed.ttl)
        return None if lasts is not None and FOR_EVER_SECONDS <= lasts < math.inf else lasts
    negative_ttl = question.scope.policy.negative_ttl
    return negative_ttl if computed.value is None and negative_ttl is not None else question.lasts


async def _stamps_for(
    computation: Computation, computed: Computed[Any], lasts: float | None
) -> tuple[tuple[str, ...], dict[str, bytes] | None]:
    """Return all tags of the answer and their stamps; no stamps if one of them could not be had."""
    scope, flight, snapshot = computation.scope, computation.flight, computation.snapshot
    engine = scope.engine
    tags = snapshot.tagset.tags
    if computed.tags or flight.pins.tags:
        own = scope.tagset(snapshot.key, tuple(computed.tags))
        tags = tuple(dict.fromkeys((*tags, *flight.pins.tags, *own.tags)))
    if snapshot.error is not None:
        return tags, None
    names = _stamp_keys(computation.question, tags)
    pinned = flight.pins.stamps
    stamps = {name: pinned.get(name) for name in names}
    unpinned = [name for name in names if name not in pinned]
    if unpinned:  # tags named only now: they protect from later invalidations
        try:
            now = dict(zip(unpinned, map(sound, await engine.backend.get_many(unpinned)), strict=True))
            stamps.update(await engine.create_stamps(now, longest_life(scope.policy, lasts), scope.permanent))
        except BackendError:
            return tags, None  # not stored, but sealed all the same: each joiner gets a copy of its own
    had = {name: stamp for name, stamp in stamps.items() if stamp is not None}
    return tags, had if len(had) == len(stamps) else None


async def _store(computation: Computation, sealed: Sealed, answer: FlightAnswer) -> str | None:
    """Write the entry over our claim or over the bytes that were read; return None, or why it was not written.

    Callers that came in time do not wait for a store that is far away: the answer is right whether it is stored or not.
    """
    scope, key = computation.scope, computation.snapshot.key
    engine = scope.engine
    store = engine.claim_rules.store
    alive = await engine.book.prolong(engine.backend, sealed.stamps, life=sealed.life, permanent=scope.permanent)
    if not alive:
        return "changed"
    base, prompt = computation.base, computation.prompt
    feed, now = engine.feed_state, engine.monotonic()
    fed = now < feed.trusted_until
    ticket = feed.tickets.open_write((key,), epoch=feed.epoch, asked_at=now)
    if prompt and len(sealed.data) <= _ON_ITS_WAY:
        engine.l1.discard(key)  # an older copy must not be served beside the answer in hand
        patience = _PATIENCE if store.latest < _FAR else _FAR
        computation.state.loop.call_later(patience, computation.flight.hand_out, answer)
    try:
        stored = await store.swap(key, base, sealed.data, ttl=sealed.life)
    finally:
        feed.tickets.close_write(ticket)
        engine.l1.discard(key)
    if stored and fed and ticket.epoch == feed.epoch:
        keep_written(scope, key, sealed, ticket)
        computation.kept = True
    return None if stored else "changed"


def keep_written(scope: Scope, key: str, sealed: Sealed, ticket: Ticket) -> None:
    """Keep a copy in memory of an entry that this process has just written, unless the key was changed meanwhile.

    Its value is decoded from the bytes, so that a hit from memory and one from the store are the same.
    """
    if not scope.engine.keeps or scope.engine.local is not None:  # there, the first hit makes the copy
        return
    entry = decode(sealed.data, key)
    if not isinstance(entry, Entry):
        return
    loaded = reading.decoded(scope, entry)
    if loaded is not UNSET:
        put(scope, entry, sealed.data, loaded, tuple(sealed.stamps.items()), ticket)


async def _still_right(computation: Computation, answer: FlightAnswer, *, stored: bool) -> bool:
    """Return whether the answer may go to callers that joined late; keep a copy in L1 if it may, unless there is one.

    Where the store cannot be asked it may: an outage costs one computation, not one for each caller. Nothing is read
    where no caller joined late and the feed vouches for the copy that was kept as it was written.
    """
    scope, flight, snapshot = computation.scope, computation.flight, computation.snapshot
    if snapshot.error is not None or (not flight.joined_late and (computation.kept or not stored)):
        return True
    again = await read(computation.question, stamps_too=True)
    if again.error is not None:
        return True
    if not stored or answer.sealed is None:
        before = {name: flight.pins.stamps.get(name) for name in snapshot.tagset.stamp_keys}
        return again.raw == computation.base and again.stamps() == before
    if again.raw != answer.sealed.data or again.entry is None:
        return False
    if scope.engine.local is not None:
        return True
    # The value as a reader will get it, so that a hit from memory and one from the store are the same.
    value = answer.lookup.value
    kept = value if type(value) in _PLAIN else reading.load(scope, again)
    if kept is not UNSET:
        reading.keep(scope, again, kept)
    return True
