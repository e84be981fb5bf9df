"""The part of an adapter that is the same for every framework: its cache, and its end."""

from __future__ import annotations

from typing import Any

from cachecore import Cache
from cachecore_frameworks._slot import Slot


class Adapter:
    """An adapter on a slot. `Cache` takes the options that the adapter's class takes, and so do their docs."""

    _slot: Slot

    @property
    def cache(self) -> Cache[Any]:
        """The cache of the answers, in the adapter's namespace."""
        return self._slot.cache

    def close(self) -> None:
        """End the threads of the cache; also its store, if it was made from an address."""
        self._slot.close()

    async def aclose(self) -> None:
        """End the threads of the cache; also its store, if it was made from an address."""
        await self._slot.aclose()
