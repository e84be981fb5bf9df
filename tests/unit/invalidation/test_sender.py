"""Invalidations are sent to each node of a store by itself, and each is heard by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pytest

from cachecore.contract.errors import BackendError
from cachecore.invalidation.outbox.backlog import Invalidation, entries, stamps
from cachecore.invalidation.outbox.sender import Sender, Tombstone
from cachecore.store.memory_backend import MemoryBackend
from tests.unit.store.guarded import until

T = TypeVar("T")

ITEMS = [*entries([f"e{number}" for number in range(6)], ()), *stamps([f"s{number}" for number in range(6)], ())]


async def unmarked(items: Sequence[Invalidation], begin: Callable[[], Awaitable[T]]) -> T:
    return await begin()


class Nodes(MemoryBackend):
    """A store of as many nodes as there are last letters; `hang` names the silent, `refuse` the dead ones."""

    def __init__(self) -> None:
        super().__init__()
        self.hang = asyncio.Event()
        self.hanging: set[str] = set()
        self.refusing: set[str] = set()
        self.under_way = self.most = 0
        self.calls: list[list[str]] = []

    def partition(self, key: str) -> str:
        return key[1:]

    async def delete_many(self, keys: Sequence[str]) -> int:
        self.calls.append(list(keys))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        nodes = {self.partition(key) for key in keys}
        try:
            if nodes & self.hanging:
                await self.hang.wait()
            await asyncio.sleep(0)
            if nodes & self.refusing:
                raise BackendError("delete_many", transient=True, reason="refused")
            return await super().delete_many(keys)
        finally:
            self.under_way -= 1


def sender(store: MemoryBackend) -> Sender:
    return Sender(store, lambda key: Tombstone(b"gone", 60.0), unmarked)


async def test_node_that_is_silent_or_dead_keeps_back_its_own_only() -> None:
    store = Nodes()
    store.hanging, store.refusing = {"1"}, {"2"}
    heard: list[Invalidation] = []
    sending = asyncio.ensure_future(sender(store).send(ITEMS, heard.extend))
    await until(lambda: len(heard) == 8)
    assert not sending.done()
    assert {item.name[1:] for item in heard} == {"0", "3", "4", "5"}
    store.hang.set()
    error = await sending
    assert error is not None
    assert error.reason == "refused"
    assert {item.name[1:] for item in heard} == {"0", "1", "3", "4", "5"}
    assert await store.get_many(["e1", "e2"]) == [b"gone", None]


async def test_few_nodes_are_asked_at_once() -> None:
    """Of a cluster of a hundred."""
    store, heard = Nodes(), list[Invalidation]()
    items = stamps([f"s{number}" for number in range(100)], ())
    assert await sender(store).send(items, heard.extend) is None
    assert sorted(item.name for item in heard) == sorted(item.name for item in items)
    assert 1 < store.most <= 16


@pytest.mark.parametrize("count", [1, 256, 257, 600])
async def test_what_was_acknowledged_of_many_counts_though_the_rest_was_not(count: int) -> None:
    store, heard = MemoryBackend(), list[Invalidation]()
    items = stamps([f"s{number}" for number in range(count)], ())
    calls: list[int] = []

    class Tiring(MemoryBackend):
        async def delete_many(self, keys: Sequence[str]) -> int:
            calls.append(len(keys))
            if len(calls) > 1:
                raise BackendError("delete_many", transient=True)
            return await store.delete_many(keys)

    error = await sender(Tiring()).send(items, heard.extend)
    assert heard == items[:256]
    assert (error is None) == (count <= 256)
    assert max(calls) <= 256


async def test_store_whose_partitions_cannot_be_told_is_asked_as_one() -> None:
    class Faulty(Nodes):
        def partition(self, key: str) -> str:
            raise RuntimeError("no order yet")

        async def delete_many(self, keys: Sequence[str]) -> int:
            self.calls.append(list(keys))
            return 0

    store, heard = Faulty(), list[Invalidation]()
    assert await sender(store).send(stamps(["s1", "s2"], ()), heard.extend) is None
    assert store.calls == [["s1", "s2"]]
    assert len(heard) == 2
