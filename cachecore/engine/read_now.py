"""A hit of the store in the caller's own thread, without an event loop; see `SupportsReadNow`.

It is for callers in threads: carrying a call to the loop of another thread and back takes ten times as long as a read.
The checks are those of `read`, under a ticket of the same kind. All that is not plain goes the usual way: when no loop
attends the feed, while spans are recorded or the store's clock is due, and where the store has gone back in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cachecore.contract.errors import EncodingError
from cachecore.contract.results import UNSET
from cachecore.engine.bypass import bypassed
from cachecore.engine.flights.coalesce import Batch
from cachecore.engine.keep import keep_entry
from cachecore.engine.read import count, judge, unknown_stamps
from cachecore.engine.scope import Question, Scope, question

UNKNOWN: Final = "unknown"
"""The reason why nothing was read here: the usual way may find anything."""
_NOT_HERE: Final = UNSET, UNKNOWN
_ASK_AGAIN: Final = frozenset({"claimed", "unknown_stamps", "store"})
"""Reasons for which the usual way waits, or reads more."""


def fetch_now(scope: Scope, key: str, tags: Sequence[str] = (), *, asked_again: bool = False) -> tuple[Any, str | None]:
    """Return the value under `key` if it is fresh, counted and kept in memory; else UNSET and why there is none.

    `UNKNOWN` means that it has to be asked for in an event loop; any other reason, that there is nothing to serve.
    Callable from any thread. `asked_again`: the caller asks the usual way for what is not here, which counts a rejected
    entry. Raises OptionsError for tags that are none.
    """
    engine, telemetry = scope.engine, scope.telemetry
    if not engine.backend.reads_now:
        return _NOT_HERE
    state = engine.last_state
    if state is None or engine.closed or bypassed():
        return _NOT_HERE
    now = engine.monotonic()
    clock = engine.store_clock
    if now >= telemetry.look_at:
        telemetry.look(now)
    if telemetry.tracing or clock.unmeasured or now >= clock.due_at:
        return _NOT_HERE
    asked = question(scope, state, key, tags)
    batch = _read(asked, now)
    if batch is None:
        return _NOT_HERE
    entry, age, reason = judge(scope, key, asked.tagset, batch)
    if entry is None or age != "fresh":
        if not asked_again and reason not in _ASK_AGAIN:
            count(scope, reason)
        return UNSET, UNKNOWN if reason in _ASK_AGAIN else reason or age
    try:
        value = scope.serializer.loads(entry.payload, entry)
    except EncodingError:
        return _NOT_HERE  # counted where it is read again
    keep_entry(scope, asked.tagset, batch, entry, value)
    telemetry.counts.hits_l2 += 1
    return value, None


def _read(asked: Question, now: float) -> Batch | None:
    """Read a key and those of its stamps that are not known; None if that is not possible here."""
    engine = asked.scope.engine
    batch = Batch(engine.feed_state.epoch)
    values = batch.values
    values[asked.key] = None
    for stamp_key in unknown_stamps(asked, now):
        values[stamp_key] = None
        batch.stamp_keys.append(stamp_key)
    if engine.keeps or batch.stamp_keys:
        engine.feed_state.tickets.open(batch)  # before the store is asked: a change from here on voids it
    batch.marks = engine.marks.of(values)
    for mark in batch.marks:
        values[mark.key] = None
    batch.asked_at = now
    found = engine.backend.read_now(list(values))
    if found is None:
        return None
    values.update(zip(values, found, strict=True))
    if not engine.marks.stand(batch.marks, values):
        return None
    engine.learn_from(batch)
    return batch
