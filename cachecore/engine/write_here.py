"""`set` to a store in this process: within the call, without a task, a deadline or a turn of the loop.

The steps are those of `write.store`, with the store asked directly. Whatever is not as usual is left to it: a stamp
that is not there or does not live long enough, a clock that is to be measured, a store that is closed.
"""

from __future__ import annotations

from typing import Any

from cachecore.contract.errors import BackendError
from cachecore.contract.results import Computed
from cachecore.engine.scope import Question
from cachecore.engine.write import sealed_for
from cachecore.engine.writing import Writing
from cachecore.store.local_guard import LocalGuard


def store_here(question: Question, computed: Computed[Any]) -> bool:
    """Store a value under its key unconditionally; return whether it is stored. If not, nothing has changed.

    Raises:
        EncodingError: the value cannot be encoded, or is too large.
    """
    scope, key = question.scope, question.key
    engine = scope.engine
    guard, clock = engine.explicit, engine.store_clock
    if engine.local is None or not isinstance(guard, LocalGuard):
        return False
    if clock.unmeasured or engine.monotonic() >= clock.due_at:
        return False
    names, current = question.tagset.stamp_keys, engine.book.current
    try:
        # Read and not only looked at: what is read by each write is not evicted.
        values = guard.get_here(names)
        stamps = {name: stamp for name, stamp in zip(names, values, strict=True) if stamp is not None}
        if len(stamps) < len(names) or any(current.get(name) != stamp for name, stamp in stamps.items()):
            return False
        sealed = sealed_for(question, computed, stamps)
        if engine.book.wanting(stamps, sealed.life, scope.permanent):
            return False
        with Writing(scope, (key,)):
            guard.set_here({key: sealed.data}, ttl=sealed.life)
    except BackendError:
        return False
    engine.outbox.settle((key,))
    scope.telemetry.counts.stored += 1
    return True
