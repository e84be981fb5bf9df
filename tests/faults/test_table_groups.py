"""What each call does while one of several servers is sick or has changed its part: rows of the table, as `test_table`.

A driver that follows the slots of a cluster, or the primary that Sentinels name, makes most of these no fault at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cachecore import Cache
from cachecore.testing.groups import SERVICE, Cluster, SentinelGroup, ask
from cachecore.testing.servers import Server
from cachecore_redis.cluster.topology import slot_of
from tests.conftest import SERVERS
from tests.faults.callers import PATIENT
from tests.faults.cells import Cell, Wanted, outcomes, row
from tests.faults.test_table import AWAY, HEALTHY
from tests.redis.waiting import until

_PROGRAM = SERVERS[max(SERVERS)]
_SLOTS = [slot_of(f"{{{n}}}") for n in range(64)]
"""Where the keys of a cache are."""
ELSEWHERE = row(
    reads="served", asks="served", new="stores", sets="works", deletes="works", expire="works", invalidates="raises"
)
"""Another node is away: what is not its own works, and no invalidation is done before that node has heard of it."""


@pytest.fixture(scope="module")
def started() -> Iterator[Cluster]:
    """A cluster so patient that nobody takes the place of a frozen node. Each test leaves it healthy."""
    with Cluster(_PROGRAM, timeout_ms=60_000) as made:
        yield made


@pytest.fixture
def cluster(started: Cluster) -> Cluster:
    """The same, with nothing in it."""
    for primary in started.nodes[:3]:
        _ask(primary, "FLUSHALL")
    return started


def _ask(server: Server, *words: str) -> None:
    assert ask(server, *words) == "OK", words


def _at(server: Server) -> Wanted:
    def wanted(cache: Cache[Any], key: str) -> bool:
        partition = cache._engine.partition
        assert partition is not None
        return partition(key).endswith(f":{server.port}")

    return wanted


async def test_node_frozen_and_its_keys(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    seen = await outcomes(cluster.url, AWAY, lambda cells: node.paused(), wanted=_at(node))
    assert seen.did == AWAY
    # A new connection may be tried meanwhile, and a cache that is new asks another node, which only says where to ask.
    assert {"timeout"} <= seen.reasons <= {"timeout", "connect_timeout", "moved"}


async def test_node_frozen_and_keys_of_others(cluster: Cluster) -> None:
    node, other = cluster.nodes[0], cluster.nodes[1]
    seen = await outcomes(cluster.url, ELSEWHERE, lambda cells: node.paused(), wanted=_at(other))
    assert seen.did == ELSEWHERE
    assert {"timeout"} <= seen.reasons <= {"timeout", "connect_timeout"}  # a new connection may be tried meanwhile


class _Move:
    """Slots on their way from the node that has them to the next one."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        primaries = cluster.nodes[:3]
        names = [cluster.name(node) for node in primaries]
        self.primaries = primaries
        self.moves = []
        for slot in _SLOTS:
            source = primaries.index(cluster.owner(slot))
            target = (source + 1) % 3
            self.moves.append((slot, primaries[source], names[source], primaries[target], names[target]))

    def begin(self) -> None:
        """Begin: from now on what is not at the source is looked for at the target (ASK)."""
        for slot, source, source_name, target, target_name in self.moves:
            _ask(target, "CLUSTER", "SETSLOT", str(slot), "IMPORTING", source_name)
            _ask(source, "CLUSTER", "SETSLOT", str(slot), "MIGRATING", target_name)

    def carry(self, every: int = 1) -> int:
        """Carry each `every`th key; return how many were carried."""
        carried = 0
        for slot, source, _, target, _ in self.moves:
            keys = ask(source, "CLUSTER", "GETKEYSINSLOT", str(slot), "1000")[::every]
            if keys:
                _ask(source, "MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
            carried += len(keys)
        return carried

    def end(self) -> None:
        """Give the slots to the targets: who asks the source is sent there (MOVED)."""
        for slot, source, _, target, target_name in self.moves:
            for node in (target, source, *self.primaries):
                _ask(node, "CLUSTER", "SETSLOT", str(slot), "NODE", target_name)
        limit = time.monotonic() + 20
        while any(self.cluster.owner(slot) is not target for slot, _, _, target, _ in self.moves[:3]):
            assert time.monotonic() < limit, "the replicas have not heard of it"


async def test_slots_moved(cluster: Cluster) -> None:
    """Every slot is another node's than each cache believes (MOVED): every call finds its way and works."""

    @contextmanager
    def moved(cells: list[Cell]) -> Iterator[None]:
        move = _Move(cluster)
        move.begin()
        assert move.carry() > 5 * len(cells)
        move.end()
        yield

    seen = await outcomes(cluster.url, HEALTHY, moved, **PATIENT)
    assert seen.did == HEALTHY
    assert seen.reasons == set()


async def test_slots_moving(cluster: Cluster) -> None:
    """Every slot is on its way, half of its keys here and half there (ASK, TRYAGAIN): every call works."""

    @contextmanager
    def moving(cells: list[Cell]) -> Iterator[None]:
        move = _Move(cluster)
        move.begin()
        assert move.carry(every=2) > 2 * len(cells)
        yield
        move.carry()
        move.end()

    seen = await outcomes(cluster.url, HEALTHY, moving, **PATIENT)
    assert seen.did == HEALTHY
    assert seen.reasons == set()


def _about(server: Server) -> dict[str, str]:
    lines = (ask(server, "INFO", "replication") or "").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


async def test_primary_that_became_a_replica() -> None:
    """After a failover the old primary answers reads and refuses writes: nobody is left there, every call works."""
    # So patient that they act only when told to.
    with SentinelGroup(_PROGRAM, down_after_ms=60_000) as group:
        old, new = group.nodes
        before: list[Cell] = []

        def copied() -> bool:
            return int(_about(new)["slave_repl_offset"]) >= int(_about(old)["master_repl_offset"])

        def switched() -> bool:
            known = [ask(one, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE) for one in group.sentinels]
            return all(address and int(address[1]) == new.port for address in known)

        def nobody_there() -> bool:
            connections = [cell.cache._engine.raw._nodes.get("test").main.current for cell in before]  # type: ignore[attr-defined] # a RedisBackend
            transports = [connection._transport for connection in connections if connection is not None]
            return all(transport.get_extra_info("peername")[1] == new.port for transport in transports)

        async def used_again() -> bool:
            found = await asyncio.gather(*(cell.cache.get("connected") for cell in before))
            return set(found) == {1} and nobody_there()

        @contextmanager
        def failover(cells: list[Cell]) -> Iterator[None]:
            before.extend(cells)
            yield

        async def settled() -> None:
            assert not nobody_there()
            await until(lambda: asyncio.to_thread(copied))
            _ask(group.sentinels[0], "SENTINEL", "FAILOVER", SERVICE)
            await until(lambda: asyncio.to_thread(switched), within=30)
            _ask(old, "REPLICAOF", "127.0.0.1", str(new.port))  # as the Sentinels would, eight seconds later
            await until(used_again, within=20)

        seen = await outcomes(group.url, HEALTHY, failover, settled=settled, **PATIENT)
        assert seen.did == HEALTHY
        assert seen.reasons == set()
        assert _about(old)["role"] == "slave"
