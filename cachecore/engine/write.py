"""Explicit writes: `set`, `delete` and `expire`, in the order that leaves nothing old behind.

Each begins by making this process forget its own copies and ends by doing so again, because a read that began in
between may have seen either state. What the store did not acknowledge becomes pending and raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self, TypeVar

from cachecore.contract.errors import BackendError, EncodingError, InvalidationPending
from cachecore.contract.options import lifetime
from cachecore.contract.protocols import SupportsSizes
from cachecore.contract.results import UNSET, Computed, Unset
from cachecore.encoding.entry import Entry, decode
from cachecore.engine import read as reading
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.marked import marked
from cachecore.engine.publish import Sealed, longest_life, seal_value, sealed_expired
from cachecore.engine.read import completed, read
from cachecore.engine.scope import Scope, TagSet
from cachecore.engine.store_read import StoreRead
from cachecore.invalidation.outbox.backlog import entries
from cachecore.invalidation.outbox.sender import FULL
from cachecore.invalidation.stamps import sound
from cachecore.invalidation.tickets import Ticket

T = TypeVar("T")

_TRIES: Final = 4
_AT_ONCE: Final = 64  # keys that are deleted at the same time


async def carried(state: LoopState, write: Coroutine[Any, Any, T]) -> T:
    """Return what `write` returns; a caller that is cancelled leaves it to end by itself.

    A write that is given up half-way would land when nobody looks any more, and leave copies in memory older than it.
    """
    task = state.loop.create_task(write)
    state.tasks.add(task)
    task.add_done_callback(state.tasks.discard)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.add_done_callback(_retrieve)
        raise
    return task.result()


async def store(
    scope: Scope, state: LoopState, items: Mapping[str, Computed[Any]], tags: Sequence[str], ttl: float | None
) -> None:
    """Store values under their keys, whatever is there. Raises EncodingError before anything is written.

    `ttl` is for those that have none of their own.

    Raises:
        InvalidationPending: the store did not acknowledge; until it has, the old values are treated as deleted.
    """
    engine = scope.engine
    tagsets = {key: scope.tagset(key, (*tags, *computed.tags)) for key, computed in items.items()}
    ttls = {key: _ttl_of(computed, ttl) for key, computed in items.items()}
    timed = [one for one in ttls.values() if one is not None]
    most = max(timed) if len(timed) == len(ttls) else None

    def seal_all(stamps: dict[str, bytes]) -> dict[str, Sealed]:
        return {
            key: _sized(scope, _sealed(scope, key, computed, tagsets[key], stamps, ttls[key]))
            for key, computed in items.items()
        }

    engine.measure(state)
    writing = _Writing(scope, items)
    within = engine.explicit.within("set", keys=len(items))
    try:
        async with within:
            stamps, replaced = await asyncio.gather(
                _stamps_of(scope, state, tagsets, longest_life(scope.policy, most)), _replaced(scope, list(items))
            )
    except BackendError as error:
        seal_all({})  # a value that would have been refused anyway leaves the old one alone
        with writing:
            await _leave_pending(scope, list(items), error)
        raise InvalidationPending("set") from error
    await engine.measured(state)
    sealed = seal_all(stamps)
    # Stored for as long as the longest of them lives; each entry knows for itself when it is dead.
    lives = [one.life for one in sealed.values() if one.life is not None]
    longest = max(lives) if len(lives) == len(sealed) else None
    with writing:
        try:
            async with within.lengthen(engine.backend.seconds_for(sum(len(one.data) for one in sealed.values()))):
                await engine.book.prolong(
                    engine.explicit, stamps, life=longest, ttl=scope.stamp_ttl(longest), permanent=scope.permanent
                )
                data = {key: one.data for key, one in sealed.items()}
                write = partial(engine.explicit.set_many, data, ttl=longest)
                await engine.marks.beside(entries(replaced, scope.parents()), write)
        except BackendError as error:
            await _leave_pending(scope, list(items), error)
            raise InvalidationPending("set") from error
    engine.outbox.settle(items)
    for key, one in sealed.items():
        _keep_own(scope, writing, key, one)
    scope.telemetry.counts.stored += len(sealed)


async def store_since(
    scope: Scope, state: LoopState, key: str, computed: Computed[Any], ttl: float | None, seen: StoreRead
) -> bool:
    """Store a value if the key and its stamps are still as `seen`; return whether it was stored."""
    engine = scope.engine
    stamps = seen.stamps()
    if not seen.replaceable or stamps is None or seen.batch is None:
        return False
    if engine.monotonic() - seen.batch.asked_at > engine.longest_computation:
        return False  # what a `delete` left under the key to be found here may have ended by now
    tagset = seen.tagset
    with _Writing(scope, (key,)) as writing:
        try:
            async with engine.explicit.within("set"):
                again = await read(scope, state, key, tagset, stamps_too=True, explicit=True)
                if again.error is not None:
                    raise again.error
                current = again.stamps() or {}
                if again.raw != seen.raw or any(
                    stamp not in (None, current.get(name)) for name, stamp in stamps.items()
                ):
                    return False
                stamp_ttl = scope.stamp_ttl(longest_life(scope.policy, ttl))
                known = await engine.create_stamps(stamps, stamp_ttl, engine.explicit)
                had = {name: stamp for name, stamp in known.items() if stamp is not None}
                one = _sized(scope, _sealed(scope, key, computed, tagset, had, ttl))
                life = one.life
                if len(had) < len(known) or not await engine.book.prolong(
                    engine.explicit, had, life=life, ttl=scope.stamp_ttl(life), permanent=scope.permanent
                ):
                    return False
                over = [key] if seen.entry is not None else []
                write = partial(engine.explicit.swap, key, seen.raw, one.data, ttl=life)
                if not await engine.marks.beside(entries(over, scope.parents()), write):
                    return False
        except BackendError as error:
            await _leave_pending(scope, [key], error)
            raise InvalidationPending("set") from error
    engine.outbox.settle([key])
    _keep_own(scope, writing, key, one)
    scope.telemetry.counts.stored += 1
    return True


async def delete(scope: Scope, state: LoopState, keys: Sequence[str]) -> int:
    """Put a tombstone under each key and return how many had an answer. Raises InvalidationPending.

    A store that is full loses the answers all the same; the tombstones it has no room for pend, and nothing is raised.
    """
    engine = scope.engine
    buried: dict[str, _Buried] = {}
    failure: BackendError | None = None
    with _Writing(scope, keys):
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            try:
                async with engine.explicit.within("delete", keys=len(part)):
                    buries = (_bury(scope, state, key) for key in part)
                    outcomes = await asyncio.gather(*buries, return_exceptions=True)
            except BackendError as late:
                failure = late
                break
            for key, outcome in zip(part, outcomes, strict=True):
                if isinstance(outcome, _Buried):
                    buried[key] = outcome
                elif isinstance(outcome, BackendError):
                    failure = failure or outcome
                else:
                    raise outcome
            if failure is not None:
                break
        await _remember(scope, buried)
        if failure is not None:
            await _leave_pending(scope, [key for key in keys if key not in buried], failure)
            raise InvalidationPending("delete") from failure
    for key in keys:
        engine.failed.pop(key, None)
    scope.telemetry.counts.invalidated["delete"] += len(keys)
    return sum(outcome.existed for outcome in buried.values())


async def expire(scope: Scope, state: LoopState, key: str) -> bool:
    """Make the entry stale as of now; its bytes stay for as long as the policy may serve stale answers.

    Deleted rather than fresh: where somebody writes all the time, where the store has no room for the mark, and where
    the store comes back as another that may not have it.
    """
    engine = scope.engine
    with _Writing(scope, (key,)):
        try:
            async with engine.explicit.within("expire"):
                for _ in range(_TRIES):
                    found = await read(scope, state, key, scope.tagset(key), stamps_too=True, explicit=True)
                    if found.error is not None:
                        raise found.error
                    value = reading.load(scope, found)
                    entry = found.entry
                    if value is UNSET or entry is None:
                        return False
                    data, life = sealed_expired(scope, entry, value)
                    try:
                        write = partial(engine.explicit.swap, key, found.raw, data, ttl=life)
                        if await engine.marks.beside(entries([key], scope.parents()), write):
                            engine.outbox.note_entries({key: found.raw}, scope.parents())
                            break
                    except BackendError as error:
                        if error.reason != FULL:
                            raise
                        await _remember(scope, {key: await _bury(scope, state, key)})
                        break
                else:
                    await _remember(scope, {key: await _bury(scope, state, key)})
        except BackendError as error:
            # Deleted rather than stale: what cannot be marked must not be served.
            await _leave_pending(scope, [key], error)
            raise InvalidationPending("expire") from error
    scope.telemetry.counts.invalidated["expire"] += 1
    return True


class _Writing:
    """The ticket of a write, with this process's own copies forgotten before and after."""

    def __init__(self, scope: Scope, keys: Collection[str]) -> None:
        self._engine = scope.engine
        self._keys = keys
        self.ticket: Ticket
        self.epoch = -1
        self.asked_at = 0.0

    def __enter__(self) -> Self:
        engine = self._engine
        self.epoch = engine.feed_state.epoch
        self.asked_at = engine.monotonic()
        self.ticket = engine.feed_state.tickets.open_write(self._keys)
        self._forget()
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.feed_state.tickets.close_write(self.ticket)
        self._forget()  # who began in between may have seen what was there before

    def _forget(self) -> None:
        for key in self._keys:
            self._engine.l1.discard(key)
        self._engine.detach_keys(self._keys)


def _ttl_of(computed: Computed[Any], ttl: float | None) -> float | None:
    return ttl if isinstance(computed.ttl, Unset) else lifetime("ttl", computed.ttl)


async def _replaced(scope: Scope, keys: Sequence[str]) -> list[str]:
    """Return those of the keys under which there is an answer now, so that writing over it is an invalidation.

    All of them where the store does not tell sizes. Raises BackendError.
    """
    backend = scope.engine.explicit
    if scope.engine.marks.state == "none":
        return []
    if not isinstance(backend, SupportsSizes):
        return list(keys)
    try:
        sizes = await backend.sizes(keys)
        marks = await marked(backend, keys, sizes)
    except BackendError as error:
        if error.transient:
            raise
        return list(keys)  # a key that holds no bytes, but something of another program
    return [key for key, size in zip(keys, sizes, strict=True) if size and key not in marks]


async def _stamps_of(
    scope: Scope, state: LoopState, tagsets: Mapping[str, TagSet], life: float | None
) -> dict[str, bytes]:
    """Return the stamps of all these tags, by stamp key.

    Raises:
        BackendError: the store failed, or there is one that it will not have: what is stored without it would outlive
            every invalidation of its tag.
    """
    had: dict[str, bytes | None] = {}
    names = list(dict.fromkeys(name for tagset in tagsets.values() for name in tagset.stamp_keys))
    # A read like any other, so that what it learns is void if it is old by the time it comes.
    for batch in await asyncio.gather(*state.explicit.read_stamps(names)):
        if batch.error is not None:
            raise batch.error
        had.update({name: sound(batch.values[name]) for name in names if name in batch.values})
    for _ in range(_TRIES):  # somebody may invalidate a tag all the time
        had = await scope.engine.create_stamps(had, scope.stamp_ttl(life), scope.engine.explicit)
        stamps = {name: stamp for name, stamp in had.items() if stamp is not None}
        if len(stamps) == len(names):
            return stamps
    raise BackendError("set", transient=False, reason="stamps")


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


def _keep_own(scope: Scope, writing: _Writing, key: str, sealed: Sealed) -> None:
    """Keep a copy of what was just written, unless somebody else changed the key meanwhile."""
    ticket = writing.ticket
    entry = decode(sealed.data, key)
    if not isinstance(entry, Entry) or not ticket.covers(key):
        return
    # The value as a reader will get it, so that a hit from memory and one from the store are the same.
    found = StoreRead(key, scope.tagset(key), None, sealed.data, entry, "fresh", None)
    loaded = reading.load(scope, found)
    if loaded is not UNSET:
        stamps = tuple(sealed.stamps.items())
        reading.put(scope, entry, loaded, stamps, asked_at=writing.asked_at, epoch=writing.epoch, ticket=ticket)


@dataclass(frozen=True, slots=True)
class _Buried:
    """What became of a key that the store has acknowledged to be deleted."""

    existed: bool
    marked: bool
    """Whether a tombstone stands there; a store that is full takes none."""
    had: bytes | None = None
    """What it took the place of; None where nothing is known."""


async def _bury(scope: Scope, state: LoopState, key: str) -> _Buried:
    engine = scope.engine
    tombstone = engine.bury(key)
    beside, item = engine.marks.beside, entries([key], scope.parents())
    existed = False
    try:
        for _ in range(_TRIES):
            found = await read(scope, state, key, scope.tagset(key), stamps_too=True, explicit=True, whole=False)
            if found.error is not None:
                raise found.error
            # At once: on a slow link each further round trip may be the one too many.
            swap = partial(engine.explicit.swap, key, found.raw, tombstone.data, ttl=tombstone.ttl)
            swapped, whole = await asyncio.gather(
                beside(item, swap), completed(scope, state, found), return_exceptions=True
            )
            existed = isinstance(whole, StoreRead) and whole.entry is not None
            for outcome in (whole, swapped):  # a full store refuses the tombstone; the answer was there
                if isinstance(outcome, BaseException):
                    raise outcome
            if swapped:
                return _Buried(existed, True, found.raw)
        await beside(item, partial(engine.explicit.set_many, {key: tombstone.data}, ttl=tombstone.ttl))
    except BackendError as error:
        if error.reason != FULL:
            raise
    else:
        return _Buried(existed, True)
    await beside(item, partial(engine.explicit.delete_many, [key]))
    try:
        await engine.explicit.set_many({key: tombstone.data}, ttl=tombstone.ttl)  # there may be room by now
    except BackendError as error:
        if error.reason != FULL:
            raise
        return _Buried(existed, False)
    return _Buried(existed, True)


async def _remember(scope: Scope, buried: Mapping[str, _Buried]) -> None:
    """End what pended under these keys, and keep what the store may have to be told again."""
    pending = scope.engine.outbox
    marked = {key: outcome.had for key, outcome in buried.items() if outcome.marked}
    owed = [key for key, outcome in buried.items() if not outcome.marked]
    pending.deleted(marked, scope.parents())
    if owed:  # without its tombstone a computation that began before lands as soon as there is room
        pending.add_entries(owed, scope.parents())
        await pending.saved()


async def _leave_pending(scope: Scope, keys: Sequence[str], error: BackendError) -> None:
    pending = scope.engine.outbox
    pending.add_entries(keys, scope.parents())
    await pending.saved()
    if error.reason == FULL:
        await pending.empty(keys)


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # nobody is left to be told; what it means was counted or is pending
