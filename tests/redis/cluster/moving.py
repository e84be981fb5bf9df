"""Slots of a cluster on their way from one primary to another, which may be new, and back."""

from __future__ import annotations

import time
from typing import Any

from cachecore.testing.groups import Cluster, ask
from cachecore.testing.servers import Server


class Move:
    """A slot and the keys that are in it, on the way from its primary to another. `finish` or `undo` ends it."""

    def __init__(self, cluster: Cluster, slot: int, target: Server) -> None:
        self.cluster, self.slot, self.target = cluster, slot, target
        self.source = cluster.owner(slot)
        self._begin(self.source, target)
        keys: list[str] = ask(self.source, "CLUSTER", "GETKEYSINSLOT", str(slot), "1000")
        moved = ("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
        assert not keys or ask(self.source, *moved) == "OK"

    def finish(self) -> None:
        """Let the target be the owner."""
        self._end(self.target)

    def undo(self) -> None:
        """Give the slot back, without its keys, whether the move was finished or not."""
        self.finish()
        assert ask(self.target, "FLUSHALL") == "OK"
        self._begin(self.target, self.source)
        self._end(self.source)

    def undone(self) -> bool:
        """Whether every node knows that the slot is where it was; if not, it is said again.

        Nodes believe whoever has the newest epoch. The owner takes one that is newer than all it has heard of, but of
        the target's it may have heard since.
        """
        everybody = (self.target, *self.cluster.nodes)
        if all(_owner(ask(node, "CLUSTER", "SLOTS") or [], self.slot) == self.source.port for node in everybody):
            return True
        ask(self.source, "CLUSTER", "BUMPEPOCH")
        self._end(self.source)
        return False

    def _begin(self, source: Server, target: Server) -> None:
        slot = str(self.slot)
        assert ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.cluster.name(source)) == "OK"
        assert ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.cluster.name(target)) == "OK"

    def _end(self, owner: Server) -> None:
        for node in (owner, self.target, self.source, *self.cluster.nodes):
            ask(node, "CLUSTER", "SETSLOT", str(self.slot), "NODE", self.cluster.name(owner))


class Grown(Cluster):
    """A cluster to which a primary without slots has come; `moves` are those that were made to it."""

    def __init__(self, program: str) -> None:
        super().__init__(program, timeout_ms=1000)
        # Whoever gives back its last slot is to stay a primary.
        self.newcomer = Server(program, [*self.nodes[0].arguments, "--cluster-allow-replica-migration", "no"])
        self._all = [*self.nodes, self.newcomer]
        self.moves: list[Move] = []

    def start(self) -> None:
        """Start all and return once every node knows the newcomer, and it every node."""
        self.newcomer.start()
        super().start()
        ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", str(self.newcomer.port))
        limit = time.monotonic() + 30
        while not self._met():
            if time.monotonic() > limit:
                raise RuntimeError("the newcomer was not met within 30 s")
            time.sleep(0.02)  # between two looks: a node tells nobody that it was met

    def move(self, slot: int) -> Move:
        """Begin to move a slot to the newcomer."""
        self.moves.append(Move(self, slot, self.newcomer))
        return self.moves[-1]

    def empty(self) -> None:
        """Delete every key."""
        for primary in (self.newcomer, *self.nodes[:3]):
            assert ask(primary, "FLUSHALL") == "OK"

    def _met(self) -> bool:
        views = [ask(one, "CLUSTER", "NODES") or "" for one in self._all]
        known = all(len(view.splitlines()) == 7 and "handshake" not in view for view in views)
        return known and "cluster_state:ok" in (ask(self.newcomer, "CLUSTER", "INFO") or "")


def _owner(ranges: list[Any], slot: int) -> int | None:
    for begin, end, primary, *_ in ranges:
        if begin <= slot <= end:
            return int(primary[1])
    return None
