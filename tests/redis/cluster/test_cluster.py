"""A cluster: every key on its own node, nodes that die and freeze, slots that move."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from cachecore import Cache
from cachecore.contract import Alive, BackendError, Changed, InvalidationPending, Lost, OptionsError, SupportsPartitions
from cachecore.testing.groups import Cluster, ask
from cachecore.testing.servers import Server
from cachecore_redis import ClusterBackend, from_url
from cachecore_redis.cluster.topology import Topology, most_common, parse_slots, redirection, slot_of
from tests.redis.cluster.moving import Move
from tests.redis.conftest import SERVERS
from tests.redis.waiting import LoopTime, until, until_it_works

KEYS = [f"k:{{{n}}}" for n in range(64)]


@pytest.fixture
def doomed() -> Iterator[Cluster]:
    """A cluster for one test."""
    with Cluster(SERVERS[max(SERVERS)], timeout_ms=800) as cluster:
        yield cluster


@pytest.fixture
async def backend(calm: Cluster) -> AsyncIterator[ClusterBackend]:
    backend = cluster_backend(calm)
    yield backend
    await backend.aclose()


def cluster_backend(cluster: Cluster) -> ClusterBackend:
    backend = from_url(cluster.url)
    assert isinstance(backend, ClusterBackend)
    return backend


def test_slots_are_those_of_redis() -> None:
    """Our slot of a key is Redis's, hash tags, empty tags and nested braces included."""
    chance = random.Random(1)
    for _ in range(2000):
        key = "".join(chance.choices("ab{}:", k=chance.randrange(1, 12)))
        assert slot_of(key) == key_slot(key.encode())


def test_replies_of_the_cluster() -> None:
    """Slot maps and redirections are read, with nodes that do not say their host; the majority is believed."""
    one = parse_slots([[0, 1, [b"a", 1, b"id"], [b"b", 2, b"id"]], [2, 3, [b"", 3, b"id"]]], ("asked", 9))
    assert one == ((0, 1, ("a", 1)), (2, 3, ("asked", 3)))
    assert parse_slots([], ("asked", 9)) is None
    assert redirection("MOVED 5 a:1", ("asked", 9)) == ("MOVED", 5, ("a", 1))
    assert redirection("ASK 5 :1", ("asked", 9)) == ("ASK", 5, ("asked", 1))
    assert redirection("MOVED 5 ::1:6379", ("asked", 9)) == ("MOVED", 5, ("::1", 6379))
    for other in ("ERR no", "MOVED", "MOVED x a:1", "ASK 5 a:b"):
        assert redirection(other, ("asked", 9)) is None
    old = ((0, 16383, ("old", 1)),)
    new = ((0, 16383, ("new", 1)),)
    assert most_common([old, new, new]) == new
    topology = Topology()
    assert topology.owner(7) is None
    assert topology.learn(new)
    assert not topology.moved(7, ("new", 1))
    assert topology.moved(7, ("newer", 1))
    assert topology.owner(7) == ("newer", 1)


def test_wrong_urls() -> None:
    """A cluster has hosts and no databases."""
    for wrong in ("redis+cluster://", "redis+cluster://a:1/3", "redis+cluster://a:b"):
        with pytest.raises(OptionsError):
            from_url(wrong)
    assert repr(from_url("redis+cluster://u:secret@a:1,b:2")) == "ClusterBackend(a:1, b:2)"


async def test_keys_live_on_all_nodes(calm: Cluster, backend: ClusterBackend) -> None:
    """Keys spread over three partitions, known without waiting once the slot map is; one call reaches all."""
    assert isinstance(backend, SupportsPartitions)
    assert {backend.partition(key) for key in KEYS} == {"unknown"}
    await backend.set_many({key: key.encode() for key in KEYS}, ttl=60)
    assert await backend.get_many(KEYS) == [key.encode() for key in KEYS]
    assert {backend.partition(key) for key in KEYS} == {f"127.0.0.1:{node.port}" for node in calm.nodes[:3]}
    for key in KEYS[:5]:
        assert backend.partition(key) == f"127.0.0.1:{calm.owner(slot_of(key)).port}"
    assert await backend.delete_many([*KEYS, "none"]) == 64


async def test_about_every_primary(calm: Cluster, backend: ClusterBackend) -> None:
    """Each primary says what it is and can do."""
    found = await backend.about("k:")
    assert set(found) == {f"127.0.0.1:{node.port}" for node in calm.nodes[:3]}
    for said in found.values():
        assert (said["mode"], said["role"], said["feed"]) == ("cluster", "master", "client tracking")
        assert said["swap"] in ("ifeq", "script")


async def test_wrong_slot_map_is_put_right_by_redirections(calm: Cluster, backend: ClusterBackend) -> None:
    """With a slot map that is all wrong, every verb still reaches the right node."""
    await backend.set_many(dict.fromkeys(KEYS, b"v"), ttl=60)
    topology = backend._topology

    def confuse() -> None:  # guards that redirections are followed, however wrong the known slot map is
        primaries = topology.primaries
        topology._owners = [primaries[(primaries.index(a) + 1) % 3] if a else None for a in topology._owners]

    confuse()
    assert await backend.get_many(KEYS) == [b"v"] * 64
    confuse()
    await backend.set_many(dict.fromkeys(KEYS, b"w"), ttl=60)
    confuse()
    assert all([await backend.swap(key, b"w", b"x", ttl=60) for key in KEYS])
    confuse()
    assert await backend.delete_many(KEYS) == 64


async def test_slot_that_is_moving(calm: Cluster, backend: ClusterBackend) -> None:
    """While a slot moves its keys are on two nodes: every verb finds each, during and after."""
    slot = slot_of("{7}")
    keys = [f"{{7}}:{i}" for i in range(6)]
    await backend.set_many(dict.fromkeys(keys[:4], b"v"), ttl=600)
    source = calm.owner(slot)
    target = next(node for node in calm.nodes[:3] if node is not source)
    assert ask(target, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", calm.name(source)) == "OK"
    assert ask(source, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", calm.name(target)) == "OK"
    assert ask(source, "MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys[:2]) == "OK"
    assert await backend.get_many(keys) == [b"v"] * 4 + [None] * 2
    assert [await backend.get_many([key]) for key in keys] == [[b"v"]] * 4 + [[None]] * 2
    await backend.set_many({keys[0]: b"w", keys[2]: b"w", keys[4]: b"w"}, ttl=600)
    assert await backend.get_many(keys) == [b"w", b"v", b"w", b"v", b"w", None]
    assert await backend.swap(keys[1], b"v", b"x", ttl=600)
    assert await backend.swap(keys[3], b"v", b"x", ttl=600)
    assert await backend.swap(keys[5], None, b"x", ttl=600)
    assert not await backend.swap(keys[5], None, b"y", ttl=600)
    assert await backend.get_many(keys) == [b"w", b"x", b"w", b"x", b"w", b"x"]
    assert await backend.delete_many(keys[:3]) == 3
    assert ask(source, "MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", keys[3]) == "OK"
    for node in (target, source):
        assert ask(node, "CLUSTER", "SETSLOT", str(slot), "NODE", calm.name(target)) == "OK"
    assert await backend.get_many(keys) == [None] * 3 + [b"x", b"w", b"x"]
    await until(lambda: backend.partition("{7}") == f"127.0.0.1:{target.port}")
    assert await backend.delete_many(keys) == 3
    await until(lambda: asyncio.to_thread(lambda: calm.owner(slot) is target))
    Move(calm, slot, source).finish()


async def test_failover_after_a_death(doomed: Cluster) -> None:
    """A primary dies: the others go on all the time, and its replica is used soon after it was promoted."""
    await failover(doomed, freeze=False)


async def test_failover_after_a_freeze(doomed: Cluster) -> None:
    """A primary freezes: keys of the others never wait; when its replica took over, nobody needs it any more."""
    await failover(doomed, freeze=True)


async def failover(cluster: Cluster, *, freeze: bool) -> None:
    backend = cluster_backend(cluster)
    await backend.set_many(dict.fromkeys(KEYS, b"v"), ttl=600)
    slot = slot_of(KEYS[0])
    victim = cluster.owner(slot)
    name = f"127.0.0.1:{victim.port}"
    healthy = [key for key in KEYS if backend.partition(key) != name]
    replica = cluster.nodes[3 + cluster.nodes[:3].index(victim)]
    await until(lambda: asyncio.to_thread(lambda: bool(ask(replica, "WAIT", "0", "0") is None and replicated(replica))))
    slowest = [0.0]
    failures: list[BackendError] = []

    async def probe() -> None:
        chance = random.Random(1)
        with LoopTime() as waited:
            while True:
                started = waited.seconds
                try:
                    assert await backend.get_many([chance.choice(healthy)]) == [b"v"]
                except BackendError as error:
                    failures.append(error)
                slowest[0] = max(slowest[0], waited.seconds - started)
                await asyncio.sleep(0.002)

    probing = asyncio.ensure_future(probe())
    if freeze:
        victim.pause()
    else:
        victim.kill()
    with pytest.raises(BackendError) as failed:
        await backend.get_many([KEYS[0]])
    assert failed.value.transient
    await until(lambda: asyncio.to_thread(lambda: promoted(cluster, slot, victim)), within=30)
    took = await until(lambda: backend.partition(KEYS[0]) != name)  # without anybody calling
    assert took + await until_it_works(lambda: backend.get_many([KEYS[0]])) < 1.5
    assert await backend.get_many(KEYS) == [b"v"] * 64
    probing.cancel()
    outcome = (await asyncio.gather(probing, return_exceptions=True))[0]
    assert isinstance(outcome, asyncio.CancelledError)
    assert not failures
    assert slowest[0] < 0.5  # half of the time for which a frozen node is waited for
    if freeze:
        victim.resume()
    else:
        victim.start()
    await asyncio.sleep(0.5)
    await until_it_works(lambda: backend.set_many(dict.fromkeys(KEYS, b"w"), ttl=600))
    assert await backend.get_many(KEYS) == [b"w"] * 64
    await backend.aclose()


def replicated(replica: Server) -> bool:
    return "master_link_status:up" in (ask(replica, "INFO", "replication") or "")


def promoted(cluster: Cluster, slot: int, victim: Server) -> bool:
    try:
        return cluster.owner(slot) is not victim
    except ValueError:
        return False


@pytest.fixture
async def cache(calm: Cluster) -> AsyncIterator[Cache[Any]]:
    """A cache that knows the order of the cluster, with answers to 0…89 in it."""
    async with Cache[Any](calm.url, ttl=600, l1_max_entries=0, backend_timeout=0.5, write_timeout=3) as cache:
        await cache.set_many(dict.fromkeys(range(90), "old"), tags=["doc"])
        yield cache


def by_node(cluster: Cluster, cache: Cache[Any]) -> list[list[int]]:
    """The numbers whose answers live on each of the primaries."""
    partition = cache._engine.partition
    assert partition is not None
    names = [f"127.0.0.1:{node.port}" for node in cluster.nodes[:3]]
    return [[n for n in range(90) if partition(cache.key(n)) == name] for name in names]


async def computed(cache: Cache[Any], numbers: list[int]) -> int:
    """Ask for all of these; return how many of them were computed."""
    calls = 0

    async def factory() -> str:
        nonlocal calls
        calls += 1
        return "new"

    for number in numbers:
        assert await cache.get_or_set(number, factory, tags=["doc"]) == "new"
    return calls


async def all_hit(cache: Cache[Any], numbers: list[int]) -> bool:
    """Whether all of these are hits; on a busy machine a read may time out, and is computed."""
    return await computed(cache, numbers) == 0


@pytest.fixture
async def unsuspecting(calm: Cluster) -> AsyncIterator[Cache[Any]]:
    """As `cache`, but however long a test takes, no node counts as away: after that, invalidations are sent again."""
    url = f"{calm.url}?heartbeat=60"
    options: dict[str, Any] = {"ttl": 600, "l1_max_entries": 0, "backend_timeout": 0.2, "breaker_failures": 1_000_000}
    async with Cache[Any](url, **options, write_timeout=3) as cache:
        await cache.set_many(dict.fromkeys(range(90), "old"), tags=["doc"])
        yield cache


async def test_frozen_node_keeps_back_its_own_copy_of_a_stamp_only(calm: Cluster, unsuspecting: Cache[Any]) -> None:
    """After an invalidation the other nodes' answers are computed once and hit again; its own are gone."""
    cache = unsuspecting
    frozen, *others = by_node(calm, cache)
    healthy = [*others[0], *others[1]]
    assert frozen
    assert healthy
    with calm.nodes[0].paused():
        with pytest.raises(InvalidationPending):
            await cache.invalidate_tags("doc")
        partition = cache._engine.partition
        assert partition is not None
        names = cache._scope.stamp_keys(["t/doc"])
        assert len(names) == 64
        assert cache.stats.pending == sum(partition(name) == partition(cache.key(frozen[0])) for name in names)
        assert await computed(cache, healthy) == len(healthy)
        await until(lambda: all_hit(cache, healthy))
        assert cache.stats.pending > 0
    assert await until(lambda: cache.stats.pending == 0) < 2

    async def served() -> bool:
        found = await cache.get_many(range(90))
        assert "old" not in found.values()
        return found == dict.fromkeys(healthy, "new")

    await until(served)  # on a busy machine a read may time out
    assert await computed(cache, frozen) == len(frozen)
    await until(lambda: all_hit(cache, [*frozen, *healthy]))


async def test_nodes_that_come_back_one_by_one_hear_one_by_one(calm: Cluster, cache: Cache[Any]) -> None:
    """What pends for a node that answers again is delivered, whoever else is still dead."""
    parts = by_node(calm, cache)
    assert all(parts)
    calm.nodes[0].pause()
    calm.nodes[1].pause()
    with pytest.raises(InvalidationPending):
        await cache.delete_many(list(range(90)))
    with pytest.raises(InvalidationPending):
        await cache.invalidate_tags("doc")
    assert await computed(cache, parts[2]) == len(parts[2])
    await until(lambda: all_hit(cache, parts[2]))
    pending = cache.stats.pending
    calm.nodes[0].resume()
    partition = cache._engine.partition
    assert partition is not None
    first, second = (partition(cache.key(part[0])) for part in parts[:2])
    owed = [*map(cache.key, range(90)), *cache._scope.stamp_keys(["t/doc"])]
    of_second = sum(partition(name) == second for name in owed)
    assert pending == of_second + sum(partition(name) == first for name in owed)
    await until(lambda: cache.stats.pending == of_second)

    async def asked_again() -> bool:
        await cache.get(parts[0][0])
        return cache._scope.telemetry.counts.breakers[first] == "closed"

    await until(asked_again)  # an invalidation may pass while answers are not stored yet
    assert await computed(cache, parts[0]) == len(parts[0])
    await until(lambda: all_hit(cache, parts[0]))
    await until(lambda: cache.stats.pending == of_second)  # a feed that is back has the last ones sent again
    calm.nodes[1].resume()
    await until(lambda: cache.stats.pending == 0)
    assert await cache.get_many(parts[1]) == {}


async def test_cluster_that_is_not_there_yet() -> None:
    """Without any node the store is refused at once, transiently; closing it is no problem."""
    backend = from_url("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    for _ in range(3):
        with pytest.raises(BackendError) as failed:
            await backend.get_many(["k"])
        assert (failed.value.reason, failed.value.transient) == ("refused", True)
    await backend.aclose()


async def test_feed_of_all_nodes(calm: Cluster, backend: ClusterBackend) -> None:
    """Changes on every primary arrive, and heartbeats speak for all of them."""
    writer = cluster_backend(calm)
    stream = backend.feed("k:")
    while not isinstance(await anext(stream), Alive):
        pass
    await writer.set_many(dict.fromkeys(KEYS, b"v"), ttl=60)
    written = time.monotonic()
    heard: set[str] = set()
    async for event in stream:
        if isinstance(event, Changed):
            heard.update(event.keys)
        elif isinstance(event, Alive) and event.sent_at > written:
            break
    assert heard == set(KEYS)
    await stream.aclose()  # type: ignore[attr-defined] # an async generator
    await writer.aclose()


async def test_feed_through_a_failover(doomed: Cluster) -> None:
    """A primary dies: the feed is lost, and alive again with the promoted replica, whose changes it tells."""
    backend, writer = cluster_backend(doomed), cluster_backend(doomed)
    await writer.set_many(dict.fromkeys(KEYS, b"v"), ttl=600)
    victim = doomed.owner(slot_of(KEYS[0]))
    replica = doomed.nodes[3 + doomed.nodes[:3].index(victim)]
    await until(lambda: asyncio.to_thread(replicated, replica))
    stream = backend.feed("k:")
    while not isinstance(await anext(stream), Alive):
        pass
    victim.kill()
    while not isinstance(await anext(stream), Lost):
        pass
    while not isinstance(await anext(stream), Alive):
        pass
    assert promoted(doomed, slot_of(KEYS[0]), victim)
    await until_it_works(lambda: writer.set_many({KEYS[0]: b"w"}, ttl=600))
    while KEYS[0] not in getattr(await anext(stream), "keys", ()):
        pass
    await stream.aclose()  # type: ignore[attr-defined] # an async generator
    await backend.aclose()
    await writer.aclose()


def test_cluster_in_loops_in_turn(calm: Cluster) -> None:
    """`asyncio.run` again and again without closing: no error and no warning."""
    backend = cluster_backend(calm)

    async def use() -> None:
        await backend.set_many(dict.fromkeys(KEYS, b"v"), ttl=60)
        assert await backend.get_many(KEYS) == [b"v"] * 64

    for _ in range(10):
        asyncio.run(use())
    asyncio.run(backend.aclose())
