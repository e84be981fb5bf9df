"""Invalidating a tag, and giving back the memory of what it marked, wherever in the cache that lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cachecore import BackendError, Cache
from cachecore.protocols import SupportsScan


async def sweep(cache: Cache[Any], tag: str, wanted: Callable[[list[str]], bool]) -> int | None:
    """Make every answer with `tag` invalid, then delete those in namespaces that are `wanted`; return how many.

    The first is done at once and for every process; the second looks at every key of `cache`, page by page. None where
    the store cannot list its keys, or stopped answering on the way. `wanted` is given the segments of a namespace below
    that of `cache`.

    Raises:
        InvalidationPending: the store did not acknowledge; it is tried again until it does.
    """
    await cache.invalidate_tags(tag)
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
    finally:
        if deleted:
            # What was deleted may have been a mark against a computation under way: that must be born dead as well.
            await cache.invalidate_tags(tag)
    return deleted


def _segments(key: str) -> list[str]:
    """Return the namespace of an entry's key, `prefix:e:namespace:digest`, by segments; none contains a colon."""
    return key.split(":")[2].split("/")
