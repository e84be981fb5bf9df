"""The guard and its breakers: who is refused, who is not, and how recovery is found."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore.store.memory_backend import MemoryBackend
from tests.unit.store.guarded import Guarded, opened, until


@pytest.fixture
def made() -> Guarded:
    return Guarded()


async def test_open_breaker_refuses_without_asking_the_store(made: Guarded) -> None:
    await opened(made)
    for call in (
        lambda: made.guard.get_many(["k"]),
        lambda: made.guard.set_many({"k": b"v"}, ttl=1),
        lambda: made.guard.delete_many(["k"]),
        lambda: made.guard.swap("k", None, b"v", ttl=1),
        lambda: made.guard.time(),
        lambda: anext(made.guard.scan("")),
    ):
        with pytest.raises(BackendUnavailable) as refused:
            await call()
        assert (refused.value.reason, refused.value.transient) == ("breaker_open", True)
    assert made.store.calls == []
    assert made.guard.under_way == 0


async def test_recovery_is_found_by_one_read_that_nobody_waits_for(made: Guarded) -> None:
    """When the back-off is over, callers are still refused; one read of one of their keys finds the store well."""
    await opened(made)
    made.clock.advance(1.0)
    for i in range(50):
        with pytest.raises(BackendUnavailable):
            await made.guard.set_many({f"k{i}": b"v"}, ttl=1)
    await until(lambda: made.guard.states() == {"": "closed"})
    assert [(call.operation, call.keys) for call in made.store.calls] == [("get_many", ("k0",))]
    await made.guard.set_many({"k": b"v"}, ttl=None)
    assert made.seen.states == [("", "open"), ("", "half_open"), ("", "closed")]
    assert "probe" in made.seen.calls


async def test_failed_probe_doubles_the_wait(made: Guarded) -> None:
    await opened(made)
    made.store.hang("get_many")
    made.clock.advance(1.0)
    with pytest.raises(BackendUnavailable):
        await made.guard.get_many(["k"])
    await until(lambda: made.seen.states[-2:] == [("", "half_open"), ("", "open")])
    made.clock.advance(1.0)
    with pytest.raises(BackendUnavailable):
        await made.guard.get_many(["k"])
    assert made.store.count("get_many") == 1
    made.clock.advance(1.0)
    with pytest.raises(BackendUnavailable):
        await made.guard.get_many(["k"])
    await until(lambda: made.store.count("get_many") == 2)


async def test_sign_of_life_lets_the_next_call_probe(made: Guarded) -> None:
    await opened(made)
    made.guard.sign_of_life()
    with pytest.raises(BackendUnavailable):
        await made.guard.get_many(["k"])
    await until(lambda: made.guard.states() == {"": "closed"})


async def test_errors_that_asking_again_does_not_help_do_not_open(made: Guarded) -> None:
    """A full store still answers reads."""
    made.store.fail("set_many", lambda operation: BackendError(operation, transient=False, reason="full"))
    for _ in range(20):
        with pytest.raises(BackendError, match="full"):
            await made.guard.set_many({"k": b"v"}, ttl=1)
    assert await made.guard.get_many(["k"]) == [None]
    assert made.guard.states() == {"": "closed"}


async def test_hundred_calls_under_way_open_the_breaker_once(made: Guarded) -> None:
    """Calls that fail after it opened are of an earlier generation."""
    made.store.hang("get_many", times=100)
    calls = [made.guard.get_many([f"k{i}"]) for i in range(100)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, BackendTimeout) for result in results)
    assert made.seen.states in ([("", "open")], [])  # none if this machine stalled just then


class Nodes(MemoryBackend):
    """A store of nodes, named by the first letter of a key."""

    def partition(self, key: str) -> str:
        return key[0]


async def test_each_partition_has_its_own_deadline_and_breaker() -> None:
    """Keys of healthy nodes are answered as if nothing were wrong."""
    made = Guarded(Nodes())
    await made.store.inner.set_many({"a1": b"a1", "b1": b"b1"}, ttl=None)
    assert await made.guard.get_many(["b1", "a1", "b1", "none"]) == [b"b1", b"a1", b"b1", None]
    made.store.hang(prefix="a")
    for _ in range(3):
        with pytest.raises(BackendTimeout):
            await made.guard.get_many(["b1", "a1"])
        assert await made.guard.get_many(["b1"]) == [b"b1"]
    assert made.guard.states() == {"": "closed", "a": "open", "b": "closed", "n": "closed"}
    with pytest.raises(BackendUnavailable):
        await made.guard.get_many(["a1", "b1"])
    assert await made.guard.get_many(["b1"]) == [b"b1"]
    assert ("a", "open") in made.seen.states


async def test_writes_reach_the_partitions_that_work() -> None:
    """An invalidation is carried out wherever it can be before it fails."""
    made = Guarded(Nodes())
    await made.guard.set_many({"a1": b"v", "b1": b"v", "c1": b"v"}, ttl=None)
    assert await made.guard.delete_many(["a1", "b1", "b2"]) == 2
    made.store.fail(prefix="a")
    for _ in range(5):  # the last ones with an open breaker
        with pytest.raises(BackendUnavailable):
            await made.guard.set_many({"a1": b"w", "b1": b"w"}, ttl=None)
        assert await made.guard.get_many(["b1"]) == [b"w"]
        with pytest.raises(BackendUnavailable):
            await made.guard.delete_many(["a1", "b1"])
        assert await made.guard.get_many(["b1"]) == [None]
    with pytest.raises(BackendUnavailable):
        await made.guard.swap("a1", None, b"v", ttl=None)
    assert await made.guard.swap("b1", None, b"v", ttl=None)


async def test_node_that_cannot_be_told_is_a_failure_of_the_store() -> None:
    class Lost(Nodes):
        def partition(self, key: str) -> str:
            raise KeyError(key)

    made = Guarded(Lost())
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: made.guard.get_many(["k"]),
        lambda: made.guard.set_many({"k": b"v"}, ttl=None),
        lambda: made.guard.delete_many(["k"]),
        lambda: made.guard.swap("k", None, b"v", ttl=None),
    ]
    for call in calls:
        with pytest.raises(BackendError) as failed:
            await call()
        assert isinstance(failed.value.__cause__, KeyError)
