"""A store of py-key-value on a `Cache`, for programs that take an `AsyncKeyValue`, such as FastMCP's middleware."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from key_value.aio._utils.managed_entry import ManagedEntry
from key_value.aio.errors import DeserializationError
from key_value.aio.stores.base import BaseDestroyCollectionStore, BaseDestroyStore

from cachecore import Cache


class CacheCoreStore(BaseDestroyStore, BaseDestroyCollectionStore):
    """An `AsyncKeyValue` on `cache`: exact times to live, JSON values, any text as key and collection.

    A store that is away reads as empty and keeps nothing; `delete` and `destroy` raise `InvalidationPending` then.

    Args:
        cache: the cache; it stays the caller's to close.
        namespace: where the entries lie, below the cache's own namespace.
        options: those of py-key-value's own stores: `default_collection`, `seed`, …
    """

    def __init__(self, cache: Cache[Any], *, namespace: str = "keyvalue", **options: Any) -> None:
        self._cache = cache.scoped(namespace, ttl=None, jitter=0.0)
        self._namespace = namespace
        super().__init__(**{"stable_api": True, **options})

    def _tag(self, collection: str) -> str:
        return f"{self._namespace}:{hashlib.sha256(collection.encode()).hexdigest()[:32]}"

    def _read(self, text: Any) -> ManagedEntry | None:
        try:
            return None if text is None else self._serialization_adapter.load_json(json_str=text)
        except DeserializationError:
            return None

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        return self._read(await self._cache.get((collection, key)))

    async def _get_managed_entries(self, *, collection: str, keys: Sequence[str]) -> list[ManagedEntry | None]:
        found = await self._cache.get_many({key: (collection, key) for key in keys})
        return [self._read(found.get(key)) for key in keys]

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        ttl = managed_entry.ttl
        if ttl is not None and ttl <= 0:  # over before it is stored
            await self._delete_managed_entry(collection=collection, key=key)
            return
        text = self._serialization_adapter.dump_json(entry=managed_entry, key=key, collection=collection)
        await self._cache.set((collection, key), text, ttl=ttl, tags=[self._tag(collection)])

    async def _put_managed_entries(
        self,
        *,
        collection: str,
        keys: Sequence[str],
        managed_entries: Sequence[ManagedEntry],
        ttl: float | None,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> None:
        adapter = self._serialization_adapter
        made = {
            (collection, key): adapter.dump_json(entry=entry, key=key, collection=collection)
            for key, entry in zip(keys, managed_entries, strict=True)
        }
        if made and (ttl is None or ttl > 0):
            await self._cache.set_many(made, ttl=ttl, tags=[self._tag(collection)])
        else:
            await self._delete_managed_entries(keys=keys, collection=collection)

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        return await self._cache.delete((collection, key))

    async def _delete_managed_entries(self, *, keys: Sequence[str], collection: str) -> int:
        return await self._cache.delete_many([(collection, key) for key in keys])

    async def _delete_store(self) -> bool:
        await self._cache.invalidate_all()
        return True

    async def _delete_collection(self, *, collection: str) -> bool:
        await self._cache.invalidate_tags(self._tag(collection))
        return True
