"""Invalidations: a stamp is deleted, at once and for every process; then the dead entries are deleted.

Each begins by making this process forget the stamps and ends by doing so again, because a read that began in between
may have seen either state. An invalidation that the store did not acknowledge becomes pending and raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from cachecore.contract.errors import BackendError, InvalidationPending
from cachecore.contract.protocols import SupportsScan, SupportsSizes
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.scope import Scope
from cachecore.engine.writing import carried, marked, unacknowledged

_PAGE: Final = 256


async def invalidate_stamps(scope: Scope, tags: Sequence[str], kind: str, *, again: bool = False) -> None:
    """Delete the stamps of these tags (as entries store them): every entry that carries one is dead from now on."""
    engine = scope.engine
    names = scope.stamp_keys(tags)
    current = engine.book.current
    had = {name: stamp for name in names if (stamp := current.get(name)) is not None}
    engine.forget_stamps(names)
    scope.telemetry.counts.invalidated[kind] += not again
    try:
        await engine.outbox.invalidate(names, scope.parents(), had)
    except BackendError as error:
        raise unacknowledged(scope, f"invalidate_{kind}", error) from error
    finally:
        engine.forget_stamps(names)  # a read that began meanwhile may have brought the old ones back


async def delete_entries(
    scope: Scope,
    state: LoopState,
    kind: str,
    tags: Sequence[str],
    wanted: Callable[[str], bool] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int | None:
    """Delete every entry of this namespace and those below it, page by page; return how many there were.

    `tags` (as entries store them) have just been invalidated. With `wanted` only entries in namespaces for which
    it returns True are deleted; it is given their path below this one. `progress` is called with the number so far.

    The stamp is deleted before: the entries are dead already, this gives their memory back. None where the store
    cannot list its keys or stopped answering on the way.

    This may delete the tombstones of concurrent `delete` calls, which computations that began before must find; so the
    stamp is deleted once more at the end, and their answers are dead as well.
    """
    if not isinstance(scope.engine.backend, SupportsScan):
        return None
    deleted = 0
    complete, touched = True, False
    try:
        for prefix in scope.keys.scan_prefixes():
            async for listed in scope.engine.backend.scan(prefix):
                page = listed if wanted is None else [key for key in listed if wanted(scope.namespace_of(key))]
                for start in range(0, len(page), _PAGE):
                    touched = True
                    deleted += await _delete_page(scope, page[start : start + _PAGE])
                    if progress is not None:
                        progress(deleted)
    except BackendError:
        complete = False
    except asyncio.CancelledError:
        if touched:
            with suppress(InvalidationPending):  # it pends all the same; the caller gets the cancellation
                await _invalidate_again(scope, state, kind, tags)
        raise
    if touched:
        await _invalidate_again(scope, state, kind, tags)
    return deleted if complete else None


async def _invalidate_again(scope: Scope, state: LoopState, kind: str, tags: Sequence[str]) -> None:
    await carried(state, invalidate_stamps(scope, tags, kind, again=True))


async def _delete_page(scope: Scope, keys: Sequence[str]) -> int:
    """Delete the entries among these keys and return how many there were; tombstones and claims end by themselves."""
    backend = scope.engine.backend
    if isinstance(backend, SupportsSizes):
        sizes = await backend.sizes(keys)
        marks = await marked(backend, keys, sizes)
        keys = [key for key in keys if key not in marks]
    for key in keys:
        scope.engine.l1.discard(key)
    return await backend.delete_many(keys) if keys else 0
