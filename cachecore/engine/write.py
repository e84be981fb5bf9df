"""`set`: a value is stored over whatever is there, or only where nothing changed since it was looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from cachecore.contract.errors import BackendError, EncodingError, InvalidationPending
from cachecore.contract.options import lifetime
from cachecore.contract.protocols import SupportsSizes
from cachecore.contract.results import UNSET, Computed, Unset
from cachecore.encoding.entry import Entry, decode
from cachecore.engine import read as reading
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.marked import marked
from cachecore.engine.publish import Sealed, longest_life, seal_value
from cachecore.engine.read import read
from cachecore.engine.scope import Scope, TagSet
from cachecore.engine.storable import unstorable
from cachecore.engine.store_read import StoreRead
from cachecore.engine.writing import Writing, leave_pending
from cachecore.invalidation.outbox.backlog import entries
from cachecore.invalidation.stamps import sound

T = TypeVar("T")

_TRIES: Final = 4


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
    writing = Writing(scope, items)
    within = engine.explicit.within("set", keys=len(items))
    try:
        async with within:
            stamps, replaced = await asyncio.gather(
                _stamps_of(scope, state, tagsets, longest_life(scope.policy, most)), _replaced(scope, list(items))
            )
    except BackendError as error:
        seal_all({})  # a value that would have been refused anyway leaves the old one alone
        with writing:
            await leave_pending(scope, list(items), error)
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
            await leave_pending(scope, list(items), error)
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
    if seen.batch is None and seen.entry is not None:  # known from memory: the bytes to compare with are in the store
        again = await read(scope, state, key, seen.tagset, stamps_too=True, explicit=True)
        if again.entry != seen.entry:
            return False
        seen = again
    stamps = seen.stamps()
    if not seen.replaceable or stamps is None or seen.batch is None:
        return False
    if engine.monotonic() - seen.batch.asked_at > engine.longest_computation:
        return False  # what a `delete` left under the key to be found here may have ended by now
    tagset = seen.tagset
    with Writing(scope, (key,)) as writing:
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
            await leave_pending(scope, [key], error)
            raise InvalidationPending("set") from error
    engine.outbox.settle([key])
    _keep_own(scope, writing, key, one)
    scope.telemetry.counts.stored += 1
    return True


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
    try:
        return seal_value(scope, key, computed, scope.policy, ttl, tagset.tags, own, 0.0)
    except EncodingError as error:
        raise EncodingError(f"{error}: {unstorable(computed.value, scope.serializer.name)}") from error


def _sized(scope: Scope, sealed: Sealed) -> Sealed:
    most = scope.engine.store.max_value_bytes
    if len(sealed.data) > most:
        raise EncodingError(f"the entry is {len(sealed.data)} bytes; max_value_bytes allows {most}")
    return sealed


def _keep_own(scope: Scope, writing: Writing, key: str, sealed: Sealed) -> None:
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
