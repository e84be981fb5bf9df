"""Keys that callers bring: only the provider can judge them, and its judgement holds for 5 minutes, in every process.

A key is good for that long after a success with it; a 401 or 403 ends it at once. The store has a digest of it.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from cachecore import Cache
from cachecore.contract.errors import CacheError

GOOD_FOR: Final = 300.0
"""Seconds."""
_RENEWED_AFTER: Final = 60.0
"""Seconds after which another success is written again."""
_MOST_WRITTEN: Final = 10_000

logger = logging.getLogger("cachecore.proxy")


class JudgedKeys:
    """The keys that are good now, in the store of `cache`."""

    def __init__(self, cache: Cache[Any], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._view: Cache[int] = cache.scoped(
            "proxy-keys",
            ttl=GOOD_FOR,
            value_type=int,
            name="proxy.keys",
            jitter=0.0,
            stale_while_revalidate=0.0,
            stale_if_error=0.0,
            soft_timeout=None,
        )
        self._clock = clock
        self._written: OrderedDict[str, float] = OrderedDict()

    def entry(self, family: str, digest: str) -> str:
        """Return the name of the entry of a key, for the methods below."""
        return self._view.key(_request(family, digest))

    def is_good_here(self, entry: str) -> bool:
        """Whether this process knows that the key is good. Waits for nothing."""
        return self._view.peek(key=entry) is not None

    async def is_good(self, family: str, digest: str) -> bool:
        """Whether the key is good, as far as any process knows."""
        return await self._view.get(_request(family, digest)) is not None

    async def succeeded(self, family: str, digest: str, entry: str | None = None) -> None:
        """Record that a provider answered a request with this key; `entry`: its name, where that is known."""
        entry, now = entry or self.entry(family, digest), self._clock()
        if now - self._written.get(entry, -_RENEWED_AFTER) < _RENEWED_AFTER and self.is_good_here(entry):
            return
        self._written[entry] = now
        self._written.move_to_end(entry)
        if len(self._written) > _MOST_WRITTEN:
            self._written.popitem(last=False)
        await self._view.set(_request(family, digest), 1)

    async def refused(self, family: str, digest: str) -> None:
        """Record that a provider refused this key."""
        self._written.pop(self.entry(family, digest), None)
        try:
            await self._view.delete(_request(family, digest))
        except CacheError as error:  # it is forgotten here, and delivered by itself when the store answers
            logger.warning("that a key was refused did not reach the store yet: %s", type(error).__name__)


def _request(family: str, digest: str) -> dict[str, str]:
    return {"family": family, "key": digest}
