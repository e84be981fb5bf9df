"""The answers that lie in one namespace of the store, read page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import SupportsScan
from cachecore.contract.results import UNSET
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.question import question
from cachecore.engine.read import load, read
from cachecore.engine.scope import Scope

_PAGE: Final = 64


async def contents(scope: Scope, state: LoopState, most: int, below: bool = False) -> AsyncIterator[tuple[str, Any]]:
    """Yield keys and values of this namespace, and of those `below`, that may be served, stale ones included.

    Looks at `most` keys at most. Ends where the store cannot list its keys, or stops answering. Nothing is counted as a
    hit, and nothing is kept in memory.
    """
    backend = scope.engine.backend
    if not isinstance(backend, SupportsScan):
        return
    looked = 0
    prefixes = scope.keys.scan_prefixes()
    namespace = prefixes[0][:-1].rpartition(":")[2] if scope.keys.namespace else ""
    try:
        for prefix in prefixes if below else prefixes[:1]:
            async for listed in backend.scan(prefix):
                keys = [key for key in listed if below or key.split(":")[-2] == namespace][: most - looked]
                looked += len(keys)
                for start in range(0, len(keys), _PAGE):
                    # The stamps of namespaces below are among those that an entry carries, and are checked with it.
                    page = keys[start : start + _PAGE]
                    reads = await asyncio.gather(*(read(question(scope, state, key)) for key in page))
                    for one in reads:
                        value = load(scope, one) if one.state != "dead" else UNSET
                        if value is not UNSET:
                            yield one.key, value
                if looked >= most:
                    return
    except BackendError:
        return
