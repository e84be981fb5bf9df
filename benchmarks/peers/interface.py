"""What a peer can do. Each part is None if it cannot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

Request = dict[str, Any]
Compute = Callable[[], Awaitable[Any]]
Decorate = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Store:
    """An open cache. It is given requests as an application has them: making keys of them is its work."""

    get: Callable[[Request], Awaitable[Any]]
    set: Callable[[Request, Any], Awaitable[object]]
    get_or_set: Callable[[Request, Compute], Awaitable[Any]] | None = None
    """One computation for all who ask at the same time, as far as the peer goes."""


Opens = Callable[[str], AbstractAsyncContextManager[Store]]
"""Opens a cache for the length of a block."""


@dataclass(frozen=True, slots=True)
class SyncStore:
    """An open cache for code without an event loop."""

    get: Callable[[Request], Any]
    set: Callable[[Request, Any], object]


OpensSync = Callable[[str], AbstractContextManager[SyncStore]]
"""Opens a cache for the length of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A cache, or a way to have one."""

    name: str
    module: str
    """What must be importable."""
    package: str
    """The distribution whose version is told."""
    memory: Opens | None = None
    """In this process; the argument is not used."""
    redis: Opens | None = None
    """On the server of a URL."""
    disk: Opens | None = None
    """In the folder of a path."""
    disk_sync: OpensSync | None = None
    """The same, called from a thread without an event loop."""
    cached: Decorate | None = None
    """Caches what an async function returns, by its arguments, for an hour."""
    cached_sync: Decorate | None = None
    """The same for a plain function."""
    key: Callable[[Request], str] | None = None


def text_key(request: Request) -> str:
    """Return the key that applications make for caches whose keys are text."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def opens(
    make: Callable[[str], Any],
    get: Callable[[Any, str], Awaitable[Any]],
    set: Callable[[Any, str, Any], Awaitable[object]],  # noqa: A002 - as the field is called
    close: Callable[[Any], Awaitable[object]] | None = None,
) -> Opens:
    """Return how to open a cache whose keys are text."""

    @asynccontextmanager
    async def opened(place: str) -> AsyncIterator[Store]:
        cache = make(place)
        try:
            yield Store(
                lambda request: get(cache, text_key(request)),
                lambda request, value: set(cache, text_key(request), value),
            )
        finally:
            if close is not None:
                await close(cache)

    return opened
