"""Explicit writes: `set`, `delete`, `expire` and the invalidations, in the order that leaves nothing old behind.

Each begins by making this process forget its own copies and ends by doing so again, because a read that began in
between may have seen either state. What the store did not acknowledge becomes pending and raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from cachecore import reading
from cachecore.coherence import Ticket
from cachecore.engine import LoopState
from cachecore.entry import Entry, decode, draft, seal
from cachecore.errors import BackendError, EncodingError, InvalidationPending
from cachecore.freshness import expired
from cachecore.landing import TTL_SLACK, Sealed, longest_life, seal_value
from cachecore.pending import Tombstone
from cachecore.protocols import SupportsScan
from cachecore.reading import Found, read
from cachecore.results import UNSET, Computed
from cachecore.scope import Scope, TagSet

_TRIES: Final = 4
_PAGE: Final = 256


async def store(
    scope: Scope, state: LoopState, items: Mapping[str, Computed[Any]], tags: Sequence[str], ttl: float | None
) -> None:
    """Store values under their keys, whatever is there. Raises EncodingError before anything is written.

    Raises:
        InvalidationPending: the store did not acknowledge; until it has, the old values are treated as deleted.
    """
    engine = scope.engine
    life = longest_life(scope.policy, ttl)
    tagsets = {key: scope.tagset(key, (*tags, *computed.tags)) for key, computed in items.items()}
    for key, computed in items.items():  # wrong values are refused before anything is touched
        _sized(scope, _sealed(scope, key, computed, tagsets[key], {}, ttl))
    with _Writing(scope, items) as writing:
        try:
            stamps = await _stamps_of(scope, state, tagsets, life)
            sealed = {key: _sealed(scope, key, computed, tagsets[key], stamps, ttl) for key, computed in items.items()}
            # Stored for as long as the longest of them lives: each entry knows for itself when it is dead.
            lives = [one.life for one in sealed.values()]
            longest = None if None in lives else max((life for life in lives if life is not None), default=None)
            await engine.book.prolong(engine.backend, stamps, life=longest, ttl=scope.stamp_ttl(longest))
            await engine.backend.set_many({key: one.data for key, one in sealed.items()}, ttl=longest)
        except BackendError as error:
            _leave_pending(scope, list(items))
            raise InvalidationPending("set") from error
    for key, one in sealed.items():
        _keep_own(scope, writing, key, one, items[key].value)
    scope.telemetry.counts.stored += len(sealed)


async def store_since(
    scope: Scope, state: LoopState, key: str, computed: Computed[Any], ttl: float | None, seen: Found
) -> bool:
    """Store a value if the key and its stamps are still as `seen`; return whether it was stored."""
    engine = scope.engine
    stamps = seen.stamps()
    if not seen.replaceable or stamps is None:
        return False
    tagset = seen.tagset
    with _Writing(scope, (key,)) as writing:
        try:
            known = await engine.book.create_missing(
                engine.backend, stamps, ttl=scope.stamp_ttl(longest_life(scope.policy, ttl))
            )
            had = {name: stamp for name, stamp in known.items() if stamp is not None}
            one = _sized(scope, _sealed(scope, key, computed, tagset, had, ttl))
            if len(had) < len(known) or not await engine.backend.swap(key, seen.raw, one.data, ttl=one.life):
                return False
        except BackendError as error:
            _leave_pending(scope, [key])
            raise InvalidationPending("set") from error
    _keep_own(scope, writing, key, one, computed.value)
    scope.telemetry.counts.stored += 1
    return True


async def delete(scope: Scope, state: LoopState, keys: Sequence[str]) -> int:
    """Put a tombstone under each key and return how many had an answer. Raises InvalidationPending."""
    engine = scope.engine
    existed = 0
    with _Writing(scope, keys):
        try:
            for key in keys:
                existed += await _bury(scope, state, key)
        except BackendError as error:
            _leave_pending(scope, keys)
            raise InvalidationPending("delete") from error
    for key in keys:
        engine.failed.pop(key, None)
    scope.telemetry.counts.invalidated["delete"] += len(keys)
    return existed


async def expire(scope: Scope, state: LoopState, key: str) -> bool:
    """Make the entry stale as of now; its bytes stay for as long as the policy may serve stale answers."""
    engine = scope.engine
    with _Writing(scope, (key,)):
        for _ in range(_TRIES):
            found = await read(scope, state, key, scope.tagset(key), stamps_too=True)
            if found.error is not None:
                _leave_pending(scope, [key])  # deleted rather than stale: what cannot be marked must not be served
                raise InvalidationPending("expire") from found.error
            value = reading.load(scope, found)
            entry = found.entry
            if value is UNSET or entry is None:
                return False
            data, life = _expired(scope, entry, value)
            try:
                if await engine.backend.swap(key, found.raw, data, ttl=life):
                    scope.telemetry.counts.invalidated["expire"] += 1
                    return True
            except BackendError as error:
                _leave_pending(scope, [key])
                raise InvalidationPending("expire") from error
    return False


async def invalidate_stamps(scope: Scope, tags: Sequence[str], kind: str) -> None:
    """Delete the stamps of these tags (as entries store them): every entry that carries one is dead from now on."""
    engine = scope.engine
    names = scope.stamp_keys(tags)
    engine.forget_stamps(names)
    scope.telemetry.counts.invalidated[kind] += 1
    try:
        await engine.backend.delete_many(names)
    except BackendError as error:
        engine.pending.add_stamps(names, scope.parents())
        raise InvalidationPending(f"invalidate_{kind}") from error
    finally:
        engine.forget_stamps(names)  # a read that began meanwhile may have brought the old ones back


async def delete_entries(scope: Scope) -> int | None:
    """Delete every entry of this namespace and those below it, page by page; return how many there were.

    The stamp is deleted before: the entries are dead already, this gives their memory back. None where the store
    cannot list its keys or stopped answering on the way.
    """
    engine = scope.engine
    backend = engine.backend
    if not isinstance(backend, SupportsScan):
        return None
    deleted = 0
    try:
        for prefix in scope.keys.scan_prefixes():
            async for page in backend.scan(prefix):
                for start in range(0, len(page), _PAGE):
                    keys = page[start : start + _PAGE]
                    for key in keys:
                        engine.l1.discard(key)
                    deleted += await backend.delete_many(keys)
    except BackendError:
        return None
    return deleted


class _Writing(ExitStack):
    """The tickets of a write of several keys, with this process's own copies forgotten before and after."""

    def __init__(self, scope: Scope, keys: Sequence[str] | Mapping[str, Any]) -> None:
        super().__init__()
        self._engine = scope.engine
        self.tickets: dict[str, Ticket] = {}
        self.epoch = self._engine.coherence.epoch
        self.asked_at = self._engine.monotonic()
        for key in keys:
            self._forget(key)
            ticket = self.tickets[key] = self._engine.coherence.open_write(key)
            self.callback(self._end, key, ticket)
        self._engine.detach_keys(list(keys))

    def _end(self, key: str, ticket: Ticket) -> None:
        self._engine.coherence.close_write(ticket)
        self._forget(key)

    def _forget(self, key: str) -> None:
        self._engine.l1.discard(key)


async def _stamps_of(
    scope: Scope, state: LoopState, tagsets: Mapping[str, TagSet], life: float | None
) -> dict[str, bytes]:
    names = tuple(dict.fromkeys(name for tagset in tagsets.values() for name in tagset.stamp_keys))
    engine = scope.engine
    now = dict(zip(names, await engine.backend.get_many(names), strict=True))
    created = await engine.book.create_missing(engine.backend, now, ttl=scope.stamp_ttl(life))
    engine.book.learn(created)
    return {name: stamp for name, stamp in created.items() if stamp is not None}


def _sealed(
    scope: Scope, key: str, computed: Computed[Any], tagset: TagSet, stamps: dict[str, bytes], ttl: float | None
) -> Sealed:
    own = {name: stamps[name] for name in tagset.stamp_keys if name in stamps}
    return seal_value(scope, key, computed, scope.policy, ttl, tagset.tags, own, 0.0)


def _sized(scope: Scope, sealed: Sealed) -> Sealed:
    most = scope.engine.store.max_value_bytes
    if len(sealed.data) > most:
        raise EncodingError(f"the entry is {len(sealed.data)} bytes; max_value_bytes allows {most}")
    return sealed


def _keep_own(scope: Scope, writing: _Writing, key: str, sealed: Sealed, value: Any) -> None:
    """Keep a copy of what was just written, unless somebody else changed the key meanwhile."""
    ticket = writing.tickets[key]
    entry = decode(sealed.data, key)
    if not isinstance(entry, Entry) or ticket.void is not None:
        return
    # The value as a reader will get it, so that a hit from memory and one from the store are the same.
    found = Found(key, scope.tagset(key), None, sealed.data, entry, "fresh", None)
    loaded = reading.load(scope, found)
    if loaded is not UNSET:
        reading.put(scope, entry, loaded, tuple(sealed.stamps.items()), asked_at=writing.asked_at,
                    epoch=writing.epoch, void=None)  # fmt: skip


def _tombstone(scope: Scope, key: str) -> Tombstone:
    """Return what outlives every computation that began before now."""
    life = scope.policy.factory_timeout + 2 * TTL_SLACK
    now = scope.engine.store_clock.now()
    made = draft(key, created=now, fresh_until=now, dead_until=now + life, serializer="", tombstone=True)
    return Tombstone(seal(made, b""), life)


async def _bury(scope: Scope, state: LoopState, key: str) -> bool:
    engine = scope.engine
    tombstone = _tombstone(scope, key)
    for _ in range(_TRIES):
        found = await read(scope, state, key, scope.tagset(key), stamps_too=True)
        if found.error is not None:
            raise found.error
        if await engine.backend.swap(key, found.raw, tombstone.data, ttl=tombstone.ttl):
            return found.entry is not None
    await engine.backend.set_many({key: tombstone.data}, ttl=tombstone.ttl)
    return True


def _expired(scope: Scope, entry: Entry, value: Any) -> tuple[bytes, float]:
    """Return the bytes of `entry` with its freshness over. The payload is made anew: it may be sealed to its header."""
    now = scope.engine.store_clock.now()
    times = expired(now, scope.policy)
    dead_until = times.dead_until if times.dead_until is not None else now
    if entry.dead_until is not None:
        dead_until = min(dead_until, entry.dead_until)
    made = draft(
        entry.key,
        created=entry.created,
        compute_time=entry.compute_time,
        fresh_until=min(now, entry.fresh_until) if entry.fresh_until is not None else now,
        dead_until=dead_until,
        serializer=entry.serializer,
        stamps=entry.stamps,
        metadata=entry.metadata,
        served_by=entry.served_by,
    )
    payload = scope.serializer.dumps(value, made)
    return seal(made, payload), max(dead_until - now, 0.0) + TTL_SLACK


def _leave_pending(scope: Scope, keys: Sequence[str]) -> None:
    scope.engine.pending.add_entries({key: _tombstone(scope, key) for key in keys}, scope.parents())
