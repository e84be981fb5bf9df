"""`delete` and `expire`: the answer under a key is no longer served, or no longer as fresh."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from cachecore.contract.errors import BackendError
from cachecore.contract.results import UNSET
from cachecore.engine import read as reading
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.publish import sealed_expired
from cachecore.engine.read import completed, read
from cachecore.engine.scope import Scope, question
from cachecore.engine.store_read import StoreRead
from cachecore.engine.writing import Writing, leave_pending, unacknowledged
from cachecore.invalidation.outbox.backlog import entries
from cachecore.invalidation.outbox.sender import FULL

_TRIES: Final = 4
_AT_ONCE: Final = 64  # keys that are deleted at the same time


async def delete(scope: Scope, state: LoopState, keys: Sequence[str]) -> int:
    """Put a tombstone under each key and return how many had an answer. Raises InvalidationPending.

    A store that is full loses the answers all the same; the tombstones it has no room for pend, and nothing is raised.
    """
    engine = scope.engine
    buried: dict[str, _Buried] = {}
    failure: BackendError | None = None
    with Writing(scope, keys):
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
            await leave_pending(scope, [key for key in keys if key not in buried], failure)
            raise unacknowledged(scope, "delete", failure) from failure
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
    with Writing(scope, (key,)):
        try:
            async with engine.explicit.within("expire"):
                for _ in range(_TRIES):
                    snapshot = await read(question(scope, state, key), stamps_too=True, explicit=True)
                    if snapshot.error is not None:
                        raise snapshot.error
                    value = reading.load(scope, snapshot)
                    entry = snapshot.entry
                    if value is UNSET or entry is None:
                        return False
                    data, life = sealed_expired(scope, entry, value)
                    try:
                        write = partial(engine.explicit.swap, key, snapshot.raw, data, ttl=life)
                        if await engine.marks.beside(entries([key], scope.parents()), write):
                            engine.outbox.note_entries({key: snapshot.raw}, scope.parents())
                            break
                    except BackendError as error:
                        if error.reason != FULL:
                            raise
                        await _remember(scope, {key: await _bury(scope, state, key)})
                        break
                else:
                    await _remember(scope, {key: await _bury(scope, state, key)})
        except BackendError as error:
            # Deleted rather than stale: an answer that cannot be marked must not be served.
            await leave_pending(scope, [key], error)
            raise unacknowledged(scope, "expire", error) from error
    scope.telemetry.counts.invalidated["expire"] += 1
    return True


@dataclass(frozen=True, slots=True)
class _Buried:
    """The outcome of a key whose deletion the store has acknowledged."""

    existed: bool
    marked: bool
    """Whether a tombstone stands there; a store that is full takes none."""
    had: bytes | None = None
    """The bytes that it replaced; None where they are not known."""


async def _bury(scope: Scope, state: LoopState, key: str) -> _Buried:
    engine = scope.engine
    tombstone = engine.bury(key)
    beside, item = engine.marks.beside, entries([key], scope.parents())
    existed = False
    asked = question(scope, state, key)
    try:
        for _ in range(_TRIES):
            snapshot = await read(asked, stamps_too=True, explicit=True, whole=False)
            if snapshot.error is not None:
                raise snapshot.error
            # At once: on a slow link each further round trip may be the one too many.
            swap = partial(engine.explicit.swap, key, snapshot.raw, tombstone.data, ttl=tombstone.ttl)
            swapped, whole = await asyncio.gather(
                beside(item, swap), completed(asked, snapshot), return_exceptions=True
            )
            existed = isinstance(whole, StoreRead) and whole.entry is not None
            for outcome in (whole, swapped):  # a full store refuses the tombstone; the answer was there
                if isinstance(outcome, BaseException):
                    raise outcome
            if swapped:
                return _Buried(existed, True, snapshot.raw)
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
    """End the pending invalidations of these keys, and remember their deletions for a repetition."""
    pending = scope.engine.outbox
    marked = {key: outcome.had for key, outcome in buried.items() if outcome.marked}
    owed = [key for key, outcome in buried.items() if not outcome.marked]
    pending.deleted(marked, scope.parents())
    if owed:  # without its tombstone a computation that began before lands as soon as there is room
        pending.add_entries(owed, scope.parents())
        await pending.saved()
