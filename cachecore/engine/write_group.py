"""Calls of `set` that begin in one turn of the loop are one write.

They share one read of stamps, one write and one deadline, and need no task (`InlineRun`); each has an entry of its own,
and an error of its own if its value cannot be encoded. Together go those of one view with one ttl to one node of the
store, so that none waits for another node, or lives longer than it is to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cachecore.contract.errors import BackendError
from cachecore.contract.futures import InlineFuture, InlineRun
from cachecore.contract.results import Computed
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.freshness import longest_life
from cachecore.engine.publish import Sealed
from cachecore.engine.scope import Question
from cachecore.engine.write import Part, prepare, sealed_for, write
from cachecore.engine.writing import unacknowledged
from cachecore.store.bulkhead import Within

_LARGE: Final = 16_384
"""Bytes of an entry from which on it is written by itself: no small one waits until it is sent."""


@dataclass(slots=True)
class _Set:
    """One call of `set`."""

    question: Question
    computed: Computed[Any]
    stored: asyncio.Future[BackendError | None]
    """Gets None once it is stored, or the error of the store."""


async def store_one(question: Question, computed: Computed[Any], *, required: bool = False) -> bool:
    """Store a value under its key unconditionally, with the others of this turn; return whether it is stored.

    A caller that is cancelled leaves a write that ends by itself. As `write.store` otherwise, errors included.
    """
    scope, state = question.scope, question.state
    together = scope, _node(scope.engine.partition, question.key), question.lasts
    one = _Set(question, computed, state.loop.create_future())
    waiting = state.waiting_sets.get(together)
    if waiting is not None and len(waiting) < scope.engine.store.batch_keys:
        waiting.append(one)
    elif state.explicit.quiet:
        _begin(state, [one])
    else:
        state.waiting_sets[together] = waiting = [one]
        state.loop.call_soon(_begin, state, waiting, together)
    error = await one.stored
    if error is not None and required:
        raise unacknowledged(scope, "set", error) from error
    return error is None


def _begin(state: LoopState, sets: list[_Set], together: Hashable = None) -> None:
    """Begin to write what is collected: no call of a later turn joins it."""
    if state.waiting_sets.get(together) is sets:
        del state.waiting_sets[together]
    within = sets[0].question.scope.engine.explicit.within("set", keys=len(sets))
    run = InlineRun(_store(sets, within))
    within.of(run)
    state.tasks.add(run)
    run.at_end(partial(_ended, state, sets))
    run.begin()


def _node(partition: Callable[[str], str] | None, key: str) -> str:
    try:
        return "" if partition is None else partition(key)
    except Exception:  # noqa: BLE001 - the guard meets it again when it is asked, and says so in the log
        return ""


def _ended(state: LoopState, sets: Sequence[_Set], run: InlineFuture[None]) -> None:
    """See that every caller has an outcome, whichever way the work has ended."""
    state.tasks.discard(run)
    error = None if run.cancelled() else run.exception()
    for one in sets:
        if one.stored.done():
            continue
        if error is None:
            one.stored.cancel()
        else:
            one.stored.set_exception(error)


async def _store(sets: Sequence[_Set], within: Within) -> None:
    first = sets[0].question
    scope, engine = first.scope, first.scope.engine
    computed = {one.question.key: one.computed for one in sets}  # of two with one key, the last
    part = Part(computed, within)
    engine.measure(first.state)
    await prepare(part, [one.question for one in sets], longest_life(scope.policy, first.lasts))
    if part.error is None and engine.store_clock.unmeasured:
        await engine.measured(first.state)
    # Also where the store is away: a value that would have been refused anyway leaves the old one alone.
    sealed: dict[str, Sealed] = {}
    for one in sets:
        try:
            sealed[one.question.key] = sealed_for(one.question, one.computed, part.stamps)
        except Exception as error:  # noqa: BLE001 - this caller's alone: its value, or a bug in a serializer
            if not one.stored.done():
                one.stored.set_exception(error)
    parts = _parts(part, computed, sealed)
    if len(parts) == 1:
        parts[0].within = within  # no task is made for it
        await write(scope, parts[0], sealed)
    else:
        await asyncio.gather(*(write(scope, one, sealed) for one in parts))
    errors = {key: one.error for one in parts for key in one.items}
    for one in sets:
        if not one.stored.done():
            one.stored.set_result(errors[one.question.key])


def _parts(part: Part, computed: dict[str, Computed[Any]], sealed: dict[str, Sealed]) -> list[Part]:
    """Return what is to be written together: all that can be encoded, but each large entry by itself."""
    large = [key for key, one in sealed.items() if len(one.data) >= _LARGE]
    if len(sealed) == len(computed) and (not large or len(sealed) == 1):
        return [part]
    rest = [key for key in sealed if key not in large]
    return [part.only(keys) for keys in (*([key] for key in large), rest) if keys]
