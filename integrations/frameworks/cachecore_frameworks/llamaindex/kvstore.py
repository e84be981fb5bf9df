"""`KVStore`: what an ingestion pipeline of LlamaIndex has computed, on a cache."""

from __future__ import annotations

import json
from typing import Any, Final

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

from cachecore import Cache, SyncCache
from cachecore_frameworks._adapter import Adapter
from cachecore_frameworks._slot import Slot

_MOST: Final = 1_000_000_000


class KVStore(Adapter, BaseKVStore):
    """A key-value store on a cache, in all processes that share it. Takes the arguments of `Cache`, or a `Cache`.

    Values are JSON, as in the files of LlamaIndex's own store.
    """

    def __init__(self, store: str | Cache[Any] = "memory://", *, namespace: str = "llamaindex", **options: Any) -> None:
        self._slot = Slot(store, namespace, **options)
        self._views: dict[str, tuple[Cache[Any], SyncCache[Any]]] = {}

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store a value."""
        self._at(collection)[1].set(key, [key, json.dumps(val)])

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Store a value."""
        await self._at(collection)[0].set(key, [key, json.dumps(val)])

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value, or None."""
        found = self._at(collection)[1].get(key)
        return None if found is None else json.loads(found[1])

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """Return the value, or None."""
        found = await self._at(collection)[0].get(key)
        return None if found is None else json.loads(found[1])

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values by their keys; nothing where the store cannot list them."""
        kept = self._at(collection)[1].contents(most=_MOST)
        return {key: json.loads(value) for _, (key, value) in kept}

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Return all values by their keys; nothing where the store cannot list them."""
        kept = self._at(collection)[0].contents(most=_MOST)
        return {key: json.loads(value) async for _, (key, value) in kept}

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value; return whether there was one."""
        return self._at(collection)[1].delete(key)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Delete a value; return whether there was one."""
        return await self._at(collection)[0].delete(key)

    def _at(self, collection: str) -> tuple[Cache[Any], SyncCache[Any]]:
        """Return both faces of a collection. They are kept: making them takes ten times as long as a hit."""
        if collection not in self._views:
            view = self.cache.scoped(collection)
            self._views[collection] = view, self._slot.sync_cache.scoped(collection)
        return self._views[collection]
