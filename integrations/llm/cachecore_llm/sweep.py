"""Deleting and counting the entries that an invalidation of a tag has already killed, to give their memory back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cachecore import BackendError, Cache
from cachecore.protocols import SupportsScan


async def sweep(cache: Cache[Any], wanted: Callable[[list[str]], bool]) -> int | None:
    """Delete the entries below `cache`'s namespace whose further segments are `wanted`; return how many there were.

    None where the store cannot list its keys, or stopped answering on the way. Looks at every key, page by page.
    """
    # The core sweeps namespaces only; what a tag marks may lie in any of them.
    backend, keys = cache._engine.backend, cache._scope.keys  # noqa: SLF001 - the core offers no such sweep
    if not isinstance(backend, SupportsScan):
        return None
    own = len(keys.namespace.split("/")) if keys.namespace else 0
    deleted = 0
    try:
        for prefix in keys.scan_prefixes():
            async for page in backend.scan(prefix):
                dead = [key for key in page if (segments := _segments(key)[own:]) and wanted(segments)]
                if dead:
                    deleted += await backend.delete_many(dead)
    except BackendError:
        return None
    return deleted


def _segments(key: str) -> list[str]:
    """Return the namespace of an entry's key, `prefix:e:namespace:digest`, by segments; none contains a colon."""
    return key.split(":")[2].split("/")
