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
from cachecore.engine.scope import Scope, question
from cachecore.engine.store_read import StoreRead
from cachecore.keys.keyspace import given_tag

_PAGE: Final = 64


async def contents(scope: Scope, state: LoopState, most: int, below: bool = False) -> AsyncIterator[tuple[str, Any]]:
    """Yield keys and values of this namespace, and of those `below`, that may be served; as `entries` does."""
    async for entry in entries(scope, state, None, None if below else _is_own, most):
        value = entry.load()
        if value is not None:
            yield entry.key, value


def _is_own(namespace: str) -> bool:
    return not namespace


async def entries(
    scope: Scope, state: LoopState, keys: Sequence[str] | None, where: Callable[[str], bool] | None, most: int
) -> AsyncIterator[StoredEntry[Any]]:
    """Yield the entries of this namespace and those below it that may be served, stale ones included.

    Looks at `most` of them at most: those of `keys`, else those in namespaces for which `where` returns True. Ends
    where the store cannot list its keys, or stops answering. Nothing is counted as a hit or kept in memory.
    """
    looked = 0
    try:
        async for page in _pages(scope, keys):
            for start in range(0, len(page), _PAGE):
                part = page[start : start + _PAGE]
                if where is not None:
                    part = [key for key in part if where(scope.namespace_of(key))]
                    await asyncio.sleep(0)  # a store in this process gives all its keys in one page
                part = part[: most - looked]
                looked += len(part)
                # The stamps of namespaces below are among those that an entry carries, and are checked with it.
                for one in await asyncio.gather(*(read(question(scope, state, key)) for key in part)):
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
            async for page in backend.scan(prefix):
                yield page


def _told(scope: Scope, snapshot: StoreRead, entry: Entry) -> StoredEntry[Any]:
    now = scope.engine.store_clock.now()
    return StoredEntry(
        key=entry.key,
        namespace=scope.namespace_of(entry.key),
        tags=tuple(given for tag, _ in entry.stamps if (given := given_tag(tag)) is not None),
        age=max(0.0, now - entry.created),
        fresh_for=None if entry.fresh_until is None else entry.fresh_until - now,
        size_bytes=len(snapshot.raw or b""),
        served_by=entry.served_by,
        load=partial(_value, scope, snapshot),
    )


def _value(scope: Scope, snapshot: StoreRead) -> Any:
    value = load(scope, snapshot)
    return None if value is UNSET else value
