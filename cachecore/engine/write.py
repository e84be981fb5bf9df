"""`set`: a value is stored unconditionally, or only where nothing changed since it was looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from cachecore.contract.errors import BackendError, BackendTimeout, EncodingError, TooLargeError
from cachecore.contract.options import lifetime
from cachecore.contract.results import Computed, Unset
from cachecore.engine.engine import Engine
from cachecore.engine.flights.coalesce import Batch
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.freshness import longest_life
from cachecore.engine.publish import Sealed, keep_written, seal_value, too_large
from cachecore.engine.read import read
from cachecore.engine.scope import Question, Scope, checked_tags, question
from cachecore.engine.storable import unstorable
from cachecore.engine.store_read import StoreRead
from cachecore.engine.writing import Writing, leave_pending, marked, unacknowledged
from cachecore.invalidation.outbox.backlog import Invalidation, entries
from cachecore.invalidation.stamps import sound
from cachecore.store.bulkhead import Within

T = TypeVar("T")

_TRIES: Final = 4


@dataclass(slots=True)
class Part:
    """Those of the values that one node of the store takes."""

    items: dict[str, Computed[Any]]
    within: Within
    stamps: dict[str, bytes] = field(default_factory=dict)
    occupied: list[str] | None = None
    """The keys under which something lay before the write; None: not known."""
    replaced: list[str] = field(default_factory=list)
    """Those under which there was an answer, so that writing over it is an invalidation."""
    error: BackendError | None = None

    def only(self, keys: Collection[str]) -> Part:
        """Return the part that some of its keys are, as far as it has come, with the same deadline."""
        occupied = None if self.occupied is None else [key for key in self.occupied if key in keys]
        items = {key: self.items[key] for key in keys}
        replaced = [key for key in self.replaced if key in keys]
        return Part(items, self.within.another(), self.stamps, occupied, replaced, self.error)


async def store(
    scope: Scope,
    state: LoopState,
    items: Mapping[str, Computed[Any]],
    tags: Sequence[str],
    ttl: float | None,
    *,
    required: bool = False,
) -> dict[str, bool]:
    """Store values under their keys unconditionally; return which are stored, by key.

    `ttl` is for those that have none of their own. Where the store did not take a value, the old one is treated as
    deleted, and its deletion pends, unless the store has said that there was none.

    Raises:
        EncodingError: before anything is written.
        InvalidationPending: `required`, and one of them is not stored.
    """
    engine, tags = scope.engine, checked_tags(tags)
    questions = {
        key: question(scope, state, key, (*tags, *computed.tags), _ttl_of(computed, ttl))
        for key, computed in items.items()
    }
    timed = [one.lasts for one in questions.values() if one.lasts is not None]
    most = max(timed) if len(timed) == len(questions) else None
    engine.measure(state)
    parts = [Part(part, engine.explicit.within("set", keys=len(part))) for part in _by_node(engine.partition, items)]
    life = longest_life(scope.policy, most)
    if len(parts) == 1:
        await prepare(parts[0], list(questions.values()), life)
    else:
        await asyncio.gather(*(prepare(part, [questions[key] for key in part.items], life) for part in parts))
    if engine.store_clock.unmeasured and not all(part.error for part in parts):
        await engine.measured(state)
    # Also where the store is away: a value that would have been refused anyway leaves the old one alone.
    sealed = {
        key: sealed_for(questions[key], computed, part.stamps) for part in parts for key, computed in part.items.items()
    }
    if len(parts) == 1:
        await write(scope, parts[0], sealed)
    else:
        await asyncio.gather(*(write(scope, part, sealed) for part in parts))
    errors = [part.error for part in parts if part.error is not None]
    if errors and required:
        raise unacknowledged(scope, "set", errors[0]) from errors[0]
    return {key: part.error is None for part in parts for key in part.items}


def _by_node(
    partition: Callable[[str], str] | None, items: Mapping[str, Computed[Any]]
) -> list[dict[str, Computed[Any]]]:
    """Return the items of each node."""
    if partition is None or len(items) == 1:
        return [dict(items)]
    parts: dict[str, dict[str, Computed[Any]]] = {}
    try:
        for key, computed in items.items():
            parts.setdefault(partition(key), {})[key] = computed
    except Exception:  # noqa: BLE001 - the guard meets it again when it is asked, and says so in the log
        return [dict(items)]
    return list(parts.values())


async def prepare(part: Part, questions: Sequence[Question], life: float | None) -> None:
    """Read the stamps, and the bytes under the keys, at the same time."""
    scope, state = questions[0].scope, questions[0].state
    names = list(dict.fromkeys(name for question in questions for name in question.tagset.stamp_keys))
    try:
        async with part.within:
            part.stamps = await _stamps_here(scope, names)
            if not part.stamps:
                # A read like any other, so that its stamps are void if they are old by the time they come.
                batches = await _look(scope, state, part, names)
                part.stamps = await _created(scope, names, batches, life)
    except BackendError as error:
        part.error = error


async def write(scope: Scope, part: Part, sealed: Mapping[str, Sealed]) -> None:
    """Write the entries of one part, and keep copies of them in memory; a failure is noted in the part."""
    engine, counts = scope.engine, scope.telemetry.counts
    mine = {key: sealed[key] for key in part.items}
    # Stored for as long as the longest of them lives; each entry knows for itself when it is dead.
    lives = [one.life for one in mine.values() if one.life is not None]
    longest = max(lives) if len(lives) == len(mine) else None
    with Writing(scope, part.items) as writing:
        try:
            if part.error is not None:
                raise part.error
            async with part.within.lengthen(engine.backend.seconds_for(sum(len(one.data) for one in mine.values()))):
                await engine.book.prolong(engine.explicit, part.stamps, life=longest, permanent=scope.permanent)
                data = {key: one.data for key, one in mine.items()}
                await _replace(engine, data, longest, entries(part.replaced, scope.parents()))
        except BackendError as error:
            part.error = error
            counts.not_stored["store"] += len(mine)
            old = list(mine) if part.occupied is None else part.occupied
            if old:
                await leave_pending(scope, old, error)
            return
    engine.outbox.settle(mine)
    for key, one in mine.items():
        keep_written(scope, key, one, writing.ticket)
    counts.stored += len(mine)


async def _replace(
    engine: Engine, data: Mapping[str, bytes], life: float | None, invalidated: Sequence[Invalidation]
) -> None:
    """Replace keys of one node, and advance the marks of the answers that this removes. Raises BackendError."""
    explicit = engine.explicit
    if invalidated:
        try:
            if engine.set_calls is not None:
                await engine.marks.within(invalidated, partial(engine.set_calls.replace, data, ttl=life))
            else:
                await engine.marks.beside(invalidated, partial(explicit.begin_write, data, ttl=life))
        except BackendTimeout as error:
            if error.reason != "locked":
                raise
        else:
            return
        await engine.marks.beside(invalidated, partial(explicit.set_many, data, ttl=life))
    else:
        await explicit.set_many(data, ttl=life)


async def store_since(question: Question, computed: Computed[Any], seen: StoreRead, *, required: bool = False) -> bool:
    """Store a value if the key and its stamps are still as `seen`; return whether it was stored.

    Where the store does not take it, what was seen to be no answer stays none, and nothing pends.
    """
    scope = question.scope
    refused, error = await _store_since(question, computed, seen)
    if refused is not None:
        scope.telemetry.counts.not_stored[refused] += 1
    if error is not None and required:
        raise unacknowledged(scope, "set", error) from error
    return refused is None


async def _store_since(
    question: Question, computed: Computed[Any], seen: StoreRead
) -> tuple[str | None, BackendError | None]:
    """Return why the value was not stored, if it was not, and the error of the store, if that is why."""
    scope, key = question.scope, question.key
    engine = scope.engine
    # An entry tells by itself whether its stamps are current; those that a live feed knew were not read with it.
    stamps = {} if seen.entry is not None else seen.stamps()
    if not seen.replaceable or stamps is None:
        return "store" if seen.error is not None else "newer", seen.error
    if seen.batch is not None and engine.monotonic() - seen.batch.asked_at > engine.longest_computation:
        return "late", None  # the tombstone of a `delete` may have expired by now
    with Writing(scope, (key,)) as writing:
        try:
            async with engine.explicit.within("set"):
                again = await read(question, stamps_too=True, explicit=True)
                if again.error is not None:
                    raise again.error
                current = again.stamps() or {}
                if not seen.same(again) or again.reason == "invalidated":
                    return "changed", None
                if any(stamp not in (None, current.get(name)) for name, stamp in stamps.items()):
                    return "changed", None
                known = await engine.create_stamps(
                    stamps or current, longest_life(scope.policy, question.lasts), scope.permanent, engine.explicit
                )
                had = {name: stamp for name, stamp in known.items() if stamp is not None}
                one = sealed_for(question, computed, had)
                life = one.life
                if len(had) < len(known) or not await engine.book.prolong(
                    engine.explicit, had, life=life, permanent=scope.permanent
                ):
                    return "changed", None
                over = [key] if seen.entry is not None else []
                write = partial(engine.explicit.swap, key, again.raw, one.data, ttl=life)
                if not await engine.marks.beside(entries(over, scope.parents()), write):
                    return "changed", None
        except BackendError as error:
            if not seen.claimable:
                await leave_pending(scope, [key], error)
            return "store", error
    engine.outbox.settle([key])
    keep_written(scope, key, one, writing.ticket)
    scope.telemetry.counts.stored += 1
    return None, None


def _ttl_of(computed: Computed[Any], ttl: float | None) -> float | None:
    return ttl if isinstance(computed.ttl, Unset) else lifetime("ttl", computed.ttl)


async def _look(scope: Scope, state: LoopState, part: Part, names: Sequence[str]) -> list[Batch]:
    """Read these stamps, and note which of the keys hold answers, as far as the store tells it. Raises BackendError."""
    engine, explicit = scope.engine, state.explicit
    if engine.marks.state == "none":
        return [await reading for reading in explicit.read_stamps(names)]
    part.replaced = list(part.items)
    if engine.set_calls is not None:
        sizes: list[list[int] | BackendError] = []
        look = partial(engine.set_calls.look, part.replaced, sizes.append)
        batch = await explicit.read_beside(names, look)
        if batch.error is None:
            await _note(scope, part, sizes[0])
        return [batch]
    readings = explicit.read_stamps(names)
    if engine.tells_sizes:
        try:
            lengths: list[int] | BackendError = await engine.explicit.sizes(part.replaced)
        except BackendError as error:
            lengths = error
        await _note(scope, part, lengths)
    return [await reading for reading in readings]


async def _note(scope: Scope, part: Part, sizes: list[int] | BackendError) -> None:
    """Note which of the keys hold answers, given the sizes of their values. Raises BackendError."""
    keys = part.replaced
    try:
        if isinstance(sizes, BackendError):
            raise sizes
        marks = await marked(scope.engine.explicit, keys, sizes)
    except BackendError as error:
        if error.transient:
            raise
        return  # a key that holds no bytes, but something of another program
    # A claim or a tombstone is no answer; but an older answer may be on its way to take its place.
    part.occupied = [key for key, size in zip(keys, sizes, strict=True) if size]
    part.replaced = [key for key in part.occupied if key not in marks]


async def _created(
    scope: Scope, names: Sequence[str], batches: Sequence[Batch], life: float | None
) -> dict[str, bytes]:
    """Return the stamps that were read, by stamp key; those that are not there are created.

    Raises:
        BackendError: the store failed, or refuses one of them: an answer stored without it would outlive
            every invalidation of its tag.
    """
    had: dict[str, bytes | None] = {}
    failed: BackendError | None = None
    for batch in batches:
        failed = failed or batch.error
        had.update({name: sound(batch.values[name]) for name in names if name in batch.values})
    if failed is not None:
        raise failed
    for _ in range(_TRIES):  # a tag may be invalidated all the time
        had = await scope.engine.create_stamps(had, life, scope.permanent, scope.engine.explicit)
        stamps = {name: stamp for name, stamp in had.items() if stamp is not None}
        if len(stamps) == len(names):
            return stamps
    raise BackendError("set", transient=False, reason="stamps")


async def _stamps_here(scope: Scope, names: Sequence[str]) -> dict[str, bytes]:
    """Return these stamps if a store in this process has all of them, and they are those that this process knows.

    Otherwise, none.

    Read and not only looked at: what is read by each write is not evicted.
    """
    engine = scope.engine
    if engine.local is None:
        return {}
    current, stamps = engine.book.current, dict[str, bytes]()
    for name, stamp in zip(names, await engine.explicit.get_many(names), strict=True):
        if stamp is None or current.get(name) != stamp:
            return {}
        stamps[name] = stamp
    return stamps


def sealed_for(question: Question, computed: Computed[Any], stamps: dict[str, bytes]) -> Sealed:
    """Return the entry of a value that is set. Raises EncodingError: it cannot be encoded, or is too large."""
    scope = question.scope
    own = {name: stamps[name] for name in question.tagset.stamp_keys if name in stamps}
    try:
        made = seal_value(question, computed, question.lasts, question.tagset.tags, own, 0.0)
    except TooLargeError:
        raise
    except EncodingError as error:
        raise EncodingError(f"{error}: {unstorable(computed.value, scope.serializer.name)}") from error
    most = scope.engine.store.max_value_bytes
    if len(made.data) > most:
        raise too_large(len(made.data), most)
    return made
