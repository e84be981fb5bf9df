"""Slots that change hands while somebody relies on where they were: a feed, copies in memory, a scan, the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract import Alive, BackendError, Changed, FeedEvent, Lost
from cachecore.testing.groups import Cluster, ask
from cachecore_redis import ClusterBackend, from_url
from cachecore_redis.cluster.topology import slot_of
from tests.redis.cluster.moving import Grown, Move
from tests.redis.conftest import SERVERS
from tests.redis.waiting import LoopTime, until, until_it_works

PROGRAM = SERVERS[max(SERVERS)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster for one test."""
    with Cluster(PROGRAM, timeout_ms=1000) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def growing() -> Iterator[Grown]:
    with Grown(PROGRAM) as grown:
        yield grown


@pytest.fixture
async def grown(growing: Grown) -> AsyncIterator[Grown]:
    """An empty cluster with a newcomer. What is moved to it is moved back."""
    growing.empty()
    yield growing
    for move in growing.moves:
        move.undo()
        await until(partial(asyncio.to_thread, move.undone), within=30)
    growing.moves.clear()


@contextmanager
def heard(stream: AsyncIterator[FeedEvent]) -> Iterator[list[FeedEvent]]:
    """What the feed says, as it comes."""
    events: list[FeedEvent] = []

    async def listen() -> None:
        async for event in stream:
            events.append(event)  # noqa: PERF401 - to be looked at while it goes on

    listening = asyncio.ensure_future(listen())
    try:
        yield events
    finally:
        listening.cancel()


def said(events: Sequence[FeedEvent], kind: type[FeedEvent]) -> bool:
    return any(isinstance(event, kind) for event in events)


def changed(events: Sequence[FeedEvent], key: str) -> bool:
    return any(isinstance(event, Changed) and key in event.keys for event in events)


def clustered(cluster: Cluster) -> ClusterBackend:
    backend = from_url(cluster.url)
    assert isinstance(backend, ClusterBackend)
    return backend


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-loop", "other-loop"])
async def test_nothing_is_kept_of_what_came_by_ask(grown: Grown, elsewhere: bool) -> None:
    """What is read, written or swapped on a node that is only receiving the slot is said to have changed."""
    backend = clustered(grown)
    await backend.set_many({"p:k": b"v"}, ttl=600)

    async def done(work: Callable[[], Any]) -> None:
        await (asyncio.to_thread(lambda: asyncio.run(work())) if elsewhere else work())

    with heard(backend.feed("p:")) as events:
        await until(lambda: said(events, Alive))
        grown.move(slot_of("p:k"))
        await until(lambda: changed(events, "p:k"))  # the source has let go of it
        for work in (
            lambda: backend.get_many(["p:k"]),
            lambda: backend.set_many({"p:k": b"w"}, ttl=600),
            lambda: backend.swap("p:k", b"w", b"x", ttl=600),
        ):
            events.clear()
            await done(work)
            await until(lambda: changed(events, "p:k"))
        assert not said(events, Lost)
        assert await backend.get_many(["p:k"]) == [b"x"]
    await backend.aclose()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same-loop", "other-loop"])
async def test_feed_listens_to_a_new_primary_at_once(grown: Grown, elsewhere: bool) -> None:
    """Who is sent to a new primary, in whichever loop, tells the feed: Lost, and soon the new one's changes."""
    backend, writer = clustered(grown), clustered(grown)
    await backend.set_many({"p:k": b"v"}, ttl=600)
    with heard(backend.feed("p:")) as events:
        await until(lambda: said(events, Alive))
        grown.move(slot_of("p:k")).finish()
        events.clear()

        async def read() -> list[bytes | None]:
            return await backend.get_many(["p:k"])

        assert await (asyncio.to_thread(lambda: asyncio.run(read())) if elsewhere else read()) == [b"v"]
        await until(lambda: said(events, Lost))
        await until(lambda: said(events, Alive))
        events.clear()
        await writer.set_many({"p:k": b"w"}, ttl=600)
        await until(lambda: changed(events, "p:k"))
    await backend.aclose()
    await writer.aclose()


async def test_copies_stay_right_while_a_slot_moves_to_a_new_primary(grown: Grown) -> None:
    """Another process never gets an old answer, neither during the move nor when it ended without its noticing."""
    options: dict[str, Any] = {"ttl": 600, "backend_timeout": 5}
    async with Cache[str](grown.url, **options) as writer, Cache[str](grown.url, **options) as reader:
        await writer.set("q", "v0")
        await reader.get("q")
        await until(lambda: reader._engine.feed_state.live)
        move = grown.move(slot_of(writer.key("q")))
        await until_it_works(lambda: reader.get("q"))

        async def sees(value: str) -> bool:
            return await reader.get("q") == value

        for value in ("v1", "v2"):
            for _ in range(3):
                assert await reader.get("q") is not None
            await writer.set("q", value)
            await until(lambda value=value: sees(value), within=1.0)  # type: ignore[misc] # mypy infers no default
        move.finish()
        await writer.set("q", "v3")
        await until(lambda: sees("v3"), within=3.0)
        await until(lambda: reader._engine.feed_state.live)

        async def from_memory() -> bool:
            return (await reader.lookup("q")).tier == "l1"

        await until(from_memory)
        await writer.set("q", "v4")
        await until(lambda: sees("v4"), within=1.0)


async def test_feed_leaves_a_primary_that_was_demoted(cluster: Cluster) -> None:
    """A planned failover is noticed though nobody sends a command, and though the old primary goes on answering."""
    backend, writer = clustered(cluster), clustered(cluster)
    await backend.set_many({"p:k": b"v"}, ttl=600)
    old = cluster.owner(slot_of("p:k"))
    new = cluster.nodes[cluster.nodes.index(old) + 3]
    with heard(backend.feed("p:")) as events:
        await until(lambda: said(events, Alive))
        events.clear()
        assert ask(new, "CLUSTER", "FAILOVER") == "OK"
        await until(lambda: asyncio.to_thread(lambda: cluster.owner(slot_of("p:k")) is new), within=30)
        await until(lambda: said(events, Lost), within=4)
        await until(lambda: isinstance(events[-1], Alive))
        ask(old, "REPLICAOF", "NO", "ONE")
        old.kill()  # whatever is heard now comes from the new one
        events.clear()
        await until_it_works(lambda: writer.set_many({"p:k": b"w"}, ttl=600))
        await until(lambda: changed(events, "p:k"))
    await backend.aclose()
    await writer.aclose()


async def test_slot_map_that_no_node_confirms_is_not_believed_for_long(calm: Cluster) -> None:
    """Where no node tells the slot map any more, heartbeats prove nothing."""
    backend = clustered(calm)
    with heard(backend.feed("p:")) as events:
        await until(lambda: said(events, Alive))
        for node in calm.nodes:
            assert ask(node, "ACL", "SETUSER", "default", "-cluster") == "OK"

        async def silent() -> bool:
            events.clear()
            await asyncio.sleep(0.6)  # two heartbeats
            return not said(events, Alive)

        await until(silent, within=15)
        for node in calm.nodes:
            assert ask(node, "ACL", "SETUSER", "default", "+cluster") == "OK"
        await until(lambda: said(events, Alive))
    await backend.aclose()


async def test_scan_finds_what_moved_behind_it(calm: Cluster) -> None:
    """A slot moves to a primary that was listed before: its keys are found all the same."""
    backend = clustered(calm)
    keys = {f"p:{i}" for i in range(3000)}
    await backend.set_many(dict.fromkeys(keys, b"v"), ttl=600)
    addresses = backend._topology.primaries
    servers = {node.port: node for node in calm.nodes}
    first, last = (servers[addresses[i][1]] for i in (0, -1))
    of_first = {key for key in keys if backend._topology.owner(slot_of(key)) == addresses[0]}
    key = next(key for key in sorted(keys) if backend._topology.owner(slot_of(key)) == addresses[-1])
    seen: set[str] = set()
    move = None
    async for page in backend.scan("p:"):
        seen.update(page)
        if move is None and of_first <= seen and not seen <= of_first:
            move = Move(calm, slot_of(key), first)
            assert move.source is last
            move.finish()
    assert move is not None
    assert seen == keys
    await backend.aclose()
    move.undo()
    await until(lambda: asyncio.to_thread(move.undone))


@pytest.mark.parametrize("fault", ["kill", "freeze"])
async def test_clock_of_whichever_primary_answers(cluster: Cluster, fault: str) -> None:
    """With the first primary dead or frozen, and no replica to take its place, the others tell the time."""
    backend = clustered(cluster)
    await backend.get_many(["k"])
    first = next(node for node in cluster.nodes if node.port == backend._topology.primaries[0][1])
    replica = cluster.nodes[cluster.nodes.index(first) + 3]
    expected = await backend.time()
    replica.kill()
    if fault == "kill":
        first.kill()
    else:
        first.pause()
    for _ in range(5):
        with LoopTime() as waited:
            assert 0 <= await backend.time() - expected < 300
            assert waited.seconds < 0.5  # half of the time for which a frozen node is waited for
    for node in cluster.nodes:
        if node is not first:
            node.kill()
    with pytest.raises(BackendError) as failed:
        await backend.time()
    assert failed.value.transient
    await backend.aclose()


@pytest.mark.parametrize("dead", [6, 14])
async def test_any_number_of_dead_nodes_may_be_named(calm: Cluster, dead: int) -> None:
    """A living node is found behind many dead ones, if not by the first call, then by one of the next."""
    hosts = [f"127.0.0.1:{n}" for n in range(1, dead + 1)]
    backend = from_url(f"redis+cluster://{','.join(hosts)},127.0.0.1:{calm.nodes[0].port}")
    await until_it_works(lambda: backend.get_many(["k"]), within=3)
    await backend.aclose()
