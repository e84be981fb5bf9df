"""`KVStore`: what an ingestion pipeline of LlamaIndex has computed, on a cache."""

from __future__ import annotations

import json
from typing import Any, Final

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from cachecore import Cache
from cachecore_frameworks._adapter import Adapter
from cachecore_frameworks._slot import Slot

_MOST: Final = 1_000_000_000


class KVStore(Adapter, BaseKVStore):
    """A key-value store on a cache, in all processes that share it. Takes the arguments of `Cache`, or a `Cache`.

    Values are JSON, as in the files of LlamaIndex's own store.
    """

    def __init__(self, store: str | Cache[Any] = "memory://", *, namespace: str = "llamaindex", **options: Any) -> None:
        self._slot = Slot(store, namespace, **options)

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store a value."""
        self._slot.sync_cache.scoped(collection).set(key, [key, json.dumps(val)])

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store a value."""
        await self.cache.scoped(collection).set(key, [key, json.dumps(val)])

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value, or None."""
        found = self._slot.sync_cache.scoped(collection).get(key)
        return None if found is None else json.loads(found[1])

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value, or None."""
        found = await self.cache.scoped(collection).get(key)
        return None if found is None else json.loads(found[1])

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values by their keys; nothing where the store cannot list them."""
        kept = self._slot.sync_cache.scoped(collection).contents(most=_MOST)
        return {key: json.loads(value) for _, (key, value) in kept}

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values by their keys; nothing where the store cannot list them."""
        kept = self.cache.scoped(collection).contents(most=_MOST)
        return {key: json.loads(value) async for _, (key, value) in kept}

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value; return whether there was one."""
        return self._slot.sync_cache.scoped(collection).delete(key)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value; return whether there was one."""
        return await self.cache.scoped(collection).delete(key)
