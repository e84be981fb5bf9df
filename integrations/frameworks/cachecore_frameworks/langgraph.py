"""`LangGraphCache`: the cache of a graph's nodes, `graph.compile(cache=LangGraphCache("redis://localhost"))`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.cache.base import BaseCache, FullKey, Namespace
from langgraph.checkpoint.serde.base import SerializerProtocol

from cachecore import Cache, Computed
from cachecore_frameworks._adapter import Adapter
from cachecore_frameworks._slot import Slot


class LangGraphCache(Adapter, BaseCache[Any]):
    """The results of nodes, in all processes that share the store. Takes the arguments of `Cache`, or a `Cache`.

    Values are what LangGraph's serializer makes of them, without pickle unless you hand it one that pickles. What no
    `CachePolicy` gives a ttl lives as long as `ttl` says here.
    """

    def __init__(
        self,
        store: str | Cache[Any] = "memory://",
        *,
        namespace: str = "langgraph",
        serde: SerializerProtocol | None = None,
        **options: Any,
    ) -> None:
        super().__init__(serde=serde)
        self._slot = Slot(store, namespace, **options)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Return the results that are there, in one round trip."""
        return self._loaded(self._slot.look_many({key: _request(key) for key in keys}))

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """Return the results that are there, in one round trip."""
        return self._loaded(await self.cache.get_many({key: _request(key) for key in keys}))

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Store results, each with its ttl, in one round trip for each namespace."""
        for tag, entries in self._by_tag(pairs).items():
            self._slot.sync_cache.set_many(entries, tags=[tag])

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Store results, each with its ttl, in one round trip for each namespace."""
        for tag, entries in self._by_tag(pairs).items():
            await self.cache.set_many(entries, tags=[tag])

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Make the results of these namespaces invalid, in every process; without any, all of them."""
        self._slot.clear(None if namespaces is None else map(_tag, namespaces))

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Make the results of these namespaces invalid, in every process; without any, all of them."""
        await self._slot.aclear(None if namespaces is None else map(_tag, namespaces))

    def _by_tag(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> dict[str, dict[Any, Any]]:
        entries: dict[str, dict[Any, Any]] = {}
        for key, (value, ttl) in pairs.items():
            stored = self.serde.dumps_typed(value)
            computed = Computed(list(stored)) if ttl is None else Computed(list(stored), ttl=ttl)
            entries.setdefault(_tag(key[0]), {})[_request(key)] = computed
        return entries

    def _loaded(self, found: Mapping[FullKey, Any]) -> dict[FullKey, Any]:
        return {key: self.serde.loads_typed(tuple(stored)) for key, stored in found.items()}


def _request(key: FullKey) -> tuple[str, ...]:
    namespace, name = key
    return (*namespace, name)


def _tag(namespace: Namespace) -> str:
    return "/".join(("graph", *namespace))
