"""The answers that lie in the store, read page by page: for an index, an export, an operator's list."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import SupportsScan
from cachecore.contract.results import UNSET, StoredEntry
from cachecore.encoding.entry import Entry
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.read import load, read
from cachecore.engine.scope import Scope
from cachecore.engine.store_read import StoreRead
from cachecore.keys.keyspace import given_tag

_PAGE: Final = 64


async def contents(scope: Scope, state: LoopState, most: int) -> AsyncIterator[tuple[str, Any]]:
    """Yield keys and values of this namespace, not of those below, that may be served, stale ones included.

    Looks at `most` keys at most. Ends where the store cannot list its keys, or stops answering. Nothing is counted as a
    hit, and nothing is kept in memory.
    """
    backend = scope.engine.backend
    if not isinstance(backend, SupportsScan):
        return
    looked = 0
    prefix = scope.keys.scan_prefixes()[0]
    namespace = prefix[:-1].rpartition(":")[2] if scope.keys.namespace else ""
    try:
        async for found in backend.scan(prefix):
            keys = [key for key in found if key.split(":")[-2] == namespace][: most - looked]
            looked += len(keys)
            for start in range(0, len(keys), _PAGE):
                page = keys[start : start + _PAGE]
                reads = await asyncio.gather(*(read(scope, state, key, scope.tagset(key)) for key in page))
                for one in reads:
                    value = load(scope, one) if one.state != "dead" else UNSET
                    if value is not UNSET:
                        yield one.key, value
            if looked >= most:
                return
    except BackendError:
        return


async def entries(
    scope: Scope, state: LoopState, keys: Sequence[str] | None, where: Callable[[str], bool] | None, most: int
) -> AsyncIterator[StoredEntry[Any]]:
    """Yield the entries of this namespace and those below it that may be served, stale ones included.

    Looks at `most` of them at most: those of `keys`, else those in namespaces for which `where` returns True. Ends as
    `contents` does. Nothing is counted as a hit, and nothing is kept in memory.
    """
    looked = 0
    try:
        async for found in _pages(scope, keys):
            for start in range(0, len(found), _PAGE):
                part = found[start : start + _PAGE]
                if where is not None:
                    part = [key for key in part if where(scope.namespace_of(key))]
                    await asyncio.sleep(0)  # a store in this process gives all its keys in one page
                part = part[: most - looked]
                looked += len(part)
                for one in await asyncio.gather(*(read(scope, state, key, scope.tagset(key)) for key in part)):
                    if one.entry is not None and one.state != "dead":
                        yield _told(scope, one, one.entry)
                if looked >= most:
                    return
    except BackendError:
        return


async def _pages(scope: Scope, keys: Sequence[str] | None) -> AsyncIterator[Sequence[str]]:
    """Yield keys of this namespace and those below it, a page at a time. Raises BackendError."""
    prefixes = scope.keys.scan_prefixes()
    if keys is not None:
        yield [key for key in keys if key.startswith(prefixes)]
        return
    backend = scope.engine.backend
    if isinstance(backend, SupportsScan):
        for prefix in prefixes:
            async for found in backend.scan(prefix):
                yield found


def _told(scope: Scope, found: StoreRead, entry: Entry) -> StoredEntry[Any]:
    now = scope.engine.store_clock.now()
    return StoredEntry(
        key=entry.key,
        namespace=scope.namespace_of(entry.key),
        tags=tuple(given for tag, _ in entry.stamps if (given := given_tag(tag)) is not None),
        age=max(0.0, now - entry.created),
        fresh_for=None if entry.fresh_until is None else entry.fresh_until - now,
        size_bytes=len(found.raw or b""),
        served_by=entry.served_by,
        load=partial(_value, scope, found),
    )


def _value(scope: Scope, found: StoreRead) -> Any:
    value = load(scope, found)
    return None if value is UNSET else value
