"""What happens to an answer once the factory has returned: admitted, sealed, stored, handed out.

Nothing here loses a paid answer: what cannot be stored is returned all the same, and counted. The owner of the factory
gets the very object it made; every other caller gets a copy of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

from cachecore.contract.errors import BackendError, EncodingError, OptionsError, TooLargeError
from cachecore.contract.options import FOR_EVER_SECONDS, Policy
from cachecore.contract.options import seconds as as_seconds
from cachecore.contract.results import UNSET, Computed, Lookup, Outcome, Tier, Unset
from cachecore.encoding.entry import Draft, Entry, decode, draft, seal
from cachecore.engine import read as reading
from cachecore.engine.computation import Computation
from cachecore.engine.flights.claim import Claim
from cachecore.engine.flights.flight import Flight
from cachecore.engine.freshness import expired, lifetime, stale_window
from cachecore.engine.read import read
from cachecore.engine.scope import Scope
from cachecore.engine.storable import unstorable
from cachecore.engine.store_read import StoreRead
from cachecore.invalidation.stamps import sound
from cachecore.invalidation.tickets import Ticket

TTL_SLACK = 1.0
"""Seconds for which the bytes outlive the entry, so that no rounding in a store shortens its life."""
_CLOCK_ERROR: Final = 0.1
"""Seconds by which two processes may disagree on the store's clock: each may be wrong by half of a slow round trip."""

_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})
"""Types whose values are the same after a round trip through any serializer, and which nobody can change."""


@dataclass(slots=True)
class FlightAnswer:
    """What a computation gives all its callers."""

    scope: Scope
    lookup: Lookup[Any]
    sealed: Sealed | None = None

    def for_joiner(self) -> Lookup[Any] | None:
        """Return the answer for a caller whose factory it was not, with a value that no other caller holds.

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


def lookup_of(scope: Scope, found: StoreRead, value: Any, outcome: Outcome, tier: Tier = "l2") -> Lookup[Any]:
    """Return what a caller is told of a found entry."""
    entry = found.entry
    if entry is None:
        return Lookup(value=None, outcome="miss", key=found.key, reason=found.reason, version=found)
    return lookup_of_entry(scope, entry, value, outcome, tier, version=found)


def lookup_of_entry(
    scope: Scope, entry: Entry, value: Any, outcome: Outcome, tier: Tier, version: StoreRead | None = None
) -> Lookup[Any]:
    """Return what a caller is told of an entry."""
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


def answer_found(scope: Scope, found: StoreRead, value: Any) -> FlightAnswer:
    """Return a found entry as the answer to a whole flight, and keep a copy of it in L1."""
    reading.keep(scope, found, value)
    entry = found.entry
    sealed = None if entry is None else Sealed(entry, entry.payload, b"", None, {})
    return FlightAnswer(scope, lookup_of(scope, found, value, "hit"), sealed)


async def publish(computation: Computation, value: Any, seconds: float) -> bool:
    """Store `value`, which the factory returned after `seconds`; answer the flight; return whether it was stored."""
    scope, flight = computation.scope, computation.flight
    counts = scope.telemetry.counts
    computed, refused = _admitted(computation, value)
    answer = unstored_answer(computation, computed)
    if computation.claim is not None and not await _settled(computation.claim):
        refused = refused or "store"
    refused = refused or computation.refused
    lasts = _ttl_of(computed, computation.policy, computation.ttl)
    if lasts is not None and not 0 < lasts < math.inf:
        refused = refused or _unstored(computation, "ttl", f"its ttl is {lasts:g} seconds")
        answer.lookup, lasts = replace(answer.lookup, fresh_for=min(0.0, lasts)), None
    else:
        answer.lookup = replace(answer.lookup, fresh_for=lasts)
    sealed, unsealed = await _sealed(computation, computed, lasts, seconds)
    answer.sealed, refused = sealed, refused or unsealed
    most = scope.engine.store.max_value_bytes
    if refused is None and sealed is not None and len(sealed.data) > most:
        refused = _unstored(computation, "size", str(too_large(len(sealed.data), most)))
    if refused is None and sealed is not None:
        try:
            refused = await _store(computation, sealed)
        except BackendError:
            refused = "store"
    if refused is None:
        counts.stored += 1
    else:
        counts.not_stored[refused] += 1
    clean = await _still_right(computation, answer, stored=refused is None)
    flight.answer(answer, late_too=clean)
    return refused is None


def unstored_answer(computation: Computation, value: Any) -> FlightAnswer:
    """Return what a factory returned as the answer to its flight, of which there are no copies."""
    computed = value if isinstance(value, Computed) else Computed(value)
    return FlightAnswer(
        computation.scope,
        Lookup(
            value=computed.value,
            outcome="computed",
            age=0.0,
            key=computation.found.key,
            served_by=computed.served_by,
            metadata=computed.metadata,
            reason=computation.found.reason,
        ),
    )


def _admitted(computation: Computation, value: Any) -> tuple[Computed[Any], str | None]:
    """Return `value` with what its factory and the admission rule say of storing it, and why it is not to be stored.

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

    What cannot be stored is sealed all the same if that is possible: each joiner gets a copy of its own.
    """
    scope, key, policy = computation.scope, computation.found.key, computation.policy
    refused: str | None = None
    try:
        life = longest_life(policy, lasts)
        tags, stamps = await _stamps_for(scope, computation.flight, computation.found, computed, life)
        refused = None if stamps is not None else "store"
        return seal_value(scope, key, computed, policy, lasts, tags, stamps or {}, seconds), refused
    except OptionsError as error:
        refused = _unstored(computation, "tags", "its tags are none", error)
    except TooLargeError as error:
        refused = refused or _unstored(computation, error.reason, str(error))
    except EncodingError as error:
        why = unstorable(computed.value, scope.serializer.name)
        # What is not to be stored may be anything.
        refused = refused or (_unstored(computation, "encoding", why, error) if computed.store else "encoding")
    try:
        return seal_value(scope, key, Computed(computed.value), policy, lasts, (), {}, seconds), refused
    except EncodingError:
        if type(computed.value) not in _PLAIN:
            scope.engine.unshared.note(scope.keys.namespace, computation.maker)
        return None, refused


def too_large(size: int, most: int) -> TooLargeError:
    """Return the error of an entry of `size` bytes where `most` are allowed."""
    why = f"the entry is {size} bytes; max_value_bytes allows {most}: raise it, or use the serializer `compressed`"
    return TooLargeError(why, "size")


def _unstored(computation: Computation, reason: str, why: str, error: Exception | None = None) -> str:
    """Log why an answer is not stored; return `reason`."""
    scope = computation.scope
    scope.engine.unstored_log.warn(scope.keys.namespace, computation.maker, reason, why, error)
    return reason


def seal_value(
    scope: Scope,
    key: str,
    computed: Computed[Any],
    policy: Policy,
    ttl: float | None,
    tags: tuple[str, ...],
    stamps: dict[str, bytes],
    seconds: float,
) -> Sealed:
    """Return the entry of `computed` under `key`. Raises EncodingError."""
    engine = scope.engine
    now = engine.store_clock.now()
    times = lifetime(now, ttl, engine.chance.random(), policy)
    shard = scope.keys.shard_of(key) if engine.shards else None
    made = draft(
        key,
        created=now,
        compute_time=seconds,
        fresh_until=times.fresh_until,
        dead_until=times.dead_until,
        serializer=scope.serializer.name,
        stamps=[(tag, stamp) for tag in tags if (stamp := stamps.get(scope.name(tag, shard))) is not None],
        metadata=computed.metadata,
        served_by=computed.served_by,
    )
    payload = scope.serializer.dumps(computed.value, made)
    life = None if times.dead_until is None else times.dead_until - now + TTL_SLACK
    return Sealed(made, payload, seal(made, payload), life, stamps)


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


def longest_life(policy: Policy, ttl: float | None) -> float | None:
    """Return the seconds that an entry of `ttl` can live at most, stale windows included; jitter only shortens it."""
    return None if ttl is None else ttl + stale_window(policy) + TTL_SLACK


def _ttl_of(computed: Computed[Any], policy: Policy, ttl: float | Unset | None) -> float | None:
    """Return the ttl of an answer in seconds, None for ever. One that the answer itself gives may be any number."""
    if not isinstance(computed.ttl, Unset):
        lasts = None if computed.ttl is None else as_seconds("ttl", computed.ttl)
        return None if lasts is not None and FOR_EVER_SECONDS <= lasts < math.inf else lasts
    if computed.value is None and policy.negative_ttl is not None:
        return policy.negative_ttl
    return policy.ttl if isinstance(ttl, Unset) else ttl


async def _stamps_for(
    scope: Scope, flight: Flight, found: StoreRead, computed: Computed[Any], life: float | None
) -> tuple[tuple[str, ...], dict[str, bytes] | None]:
    """Return all tags of the answer and their stamps; no stamps if one of them could not be had."""
    engine = scope.engine
    own = scope.tagset(found.key, tuple(computed.tags))
    tags = tuple(dict.fromkeys((*found.tagset.tags, *flight.pinned_tags, *own.tags)))
    if found.error is not None:
        return tags, None
    shard = scope.keys.shard_of(found.key) if engine.shards else None
    names = [scope.name(tag, shard) for tag in tags]
    stamps = {name: flight.pins.get(name) for name in names}
    unpinned = [name for name in names if name not in flight.pins]
    if unpinned:  # tags named only now: they protect from what comes later
        try:
            now = dict(zip(unpinned, map(sound, await engine.backend.get_many(unpinned)), strict=True))
            stamps.update(await engine.create_stamps(now, scope.stamp_ttl(life)))
        except BackendError:
            return tags, None  # not stored, but sealed all the same: each joiner gets a copy of its own
    had = {name: stamp for name, stamp in stamps.items() if stamp is not None}
    return tags, had if len(had) == len(stamps) else None


async def _settled(claim: Claim) -> bool:
    """Return whether it is known what lies under the claim's key."""
    try:
        await claim.settle()
    except BackendError:
        return False
    return True


async def _store(computation: Computation, sealed: Sealed) -> str | None:
    """Write the entry over our claim, or over what was read; return why it was not written, if it was not."""
    scope, key = computation.scope, computation.found.key
    engine = scope.engine
    alive = await engine.book.prolong(
        engine.backend,
        sealed.stamps,
        life=sealed.life,
        ttl=scope.stamp_ttl(sealed.life),
        permanent=scope.permanent,
    )
    if not alive:
        return "changed"
    asked_at, epoch = engine.monotonic(), engine.feed_state.epoch
    fed = engine.feed_state.live
    ticket = engine.feed_state.tickets.open_write((key,))
    try:
        stored = await engine.insisting.swap(key, computation.base, sealed.data, ttl=sealed.life)
    finally:
        engine.feed_state.tickets.close_write(ticket)
        engine.l1.discard(key)
    if stored and fed and epoch == engine.feed_state.epoch:
        keep_written(scope, key, sealed, asked_at=asked_at, epoch=epoch, ticket=ticket)
        computation.kept = True
    return None if stored else "changed"


def keep_written(scope: Scope, key: str, sealed: Sealed, *, asked_at: float, epoch: int, ticket: Ticket) -> None:
    """Keep a copy in memory of what this process has just written, unless the key was changed meanwhile.

    Its value is decoded from the bytes, so that a hit from memory and one from the store are the same.
    """
    entry = decode(sealed.data, key)
    if not isinstance(entry, Entry):
        return
    found = StoreRead(key, scope.tagset(key), None, sealed.data, entry, "fresh", None)
    loaded = reading.load(scope, found)
    if loaded is not UNSET:
        reading.put(
            scope,
            entry,
            sealed.data,
            loaded,
            tuple(sealed.stamps.items()),
            asked_at=asked_at,
            epoch=epoch,
            ticket=ticket,
        )


async def _still_right(computation: Computation, answer: FlightAnswer, *, stored: bool) -> bool:
    """Return whether the answer may go to callers who joined late; keep a copy in L1 if it may, unless there is one.

    Where the store cannot be asked it may: an outage costs one computation, not one for each caller. Nothing is read
    where no caller joined late and the feed vouches for the copy that was kept as it was written.
    """
    scope, flight, found = computation.scope, computation.flight, computation.found
    if found.error is not None or (not flight.joined_late and (computation.kept or not stored)):
        return True
    again = await read(scope, computation.state, found.key, found.tagset, stamps_too=True)
    if again.error is not None:
        return True
    if not stored or answer.sealed is None:
        before = {name: flight.pins.get(name) for name in found.tagset.stamp_keys}
        return again.raw == computation.base and again.stamps() == before
    if again.raw != answer.sealed.data or again.entry is None:
        return False
    # The value as a reader will get it, so that a hit from memory and one from the store are the same.
    value = answer.lookup.value
    kept = value if type(value) in _PLAIN else reading.load(scope, again)
    if kept is not UNSET:
        reading.keep(scope, again, kept)
    return True
