"""A cluster as one event loop sees it: a `Node` for each primary, and the search for the current primaries.

The slot map is asked for at first use, when a node redirects a command, and while a primary is out of reach: then
again and again in the background, so that the replica that takes its place is used as soon as the other nodes know it,
even if no call is made. While the cluster has watchers it is asked for, too: see `watch`.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import hiredis

from cachecore.contract import BackendError, BackendUnavailable, Link
from cachecore_redis.cluster.quorum import Candidates, majority
from cachecore_redis.cluster.topology import SlotMap, Topology, parse_slots, redirection, slot_of
from cachecore_redis.cluster.watch import TopologyWatch
from cachecore_redis.node.large import LargeKeys
from cachecore_redis.node.node import Node
from cachecore_redis.wire.address import Address, RedisOptions, UrlDialer
from cachecore_redis.wire.commands import ASKING, pack
from cachecore_redis.wire.connection import Connection, Reply
from cachecore_redis.wire.errors import backend_error, reply_error
from cachecore_redis.wire.reconnecting import NO_LINK, Backoff

_PAUSE: Final = 0.2
"""Seconds between two questions for the slot map while a primary is out of reach."""
_HOPS: Final = 5
"""Redirections that one command follows."""
_SLOTS: Final[bytes] = pack(("CLUSTER", "SLOTS"))


class Command:
    """One command about keys of one slot."""

    __slots__ = ("keys", "payload", "slot")

    def __init__(self, payload: bytes, keys: Sequence[str]) -> None:
        self.payload = payload
        self.keys = keys
        self.slot = slot_of(keys[0])


class Cluster:
    """The nodes of a cluster in one loop. Used only in that loop; `topology` is shared with other loops."""

    def __init__(
        self,
        seeds: Sequence[UrlDialer],
        topology: Topology,
        backoffs: dict[Address, Backoff],
        options: RedisOptions,
        large: LargeKeys,
        in_each_loop: Callable[[Callable[[Cluster], None]], None],
    ) -> None:
        self.topology = topology
        self.watch = TopologyWatch(topology, self._slot_map_of, self._ask_slot_map)
        self._in_each_loop = in_each_loop
        self._seen = topology.primaries
        self._candidates = Candidates()
        self._seeds = seeds
        self._backoffs = backoffs
        self._options = options
        self._large = large
        self._nodes: dict[Address, Node] = {}
        self._leaving: list[Node] = []
        self._sick: set[Address] = set()
        self._asking: asyncio.Task[bool] | None = None
        self._mending: asyncio.Task[None] | None = None
        self._asked_at = 0.0
        self.closed = False

    def close(self) -> None:
        """Close all connections and end the background tasks."""
        self.closed = True
        for task in (self._asking, self._mending):
            if task is not None:
                task.cancel()
        for node in (*self._nodes.values(), *self._leaving):
            node.close()
        self.watch.close()  # so that feeds see the end

    # Nodes

    def node(self, address: Address) -> Node:
        """Return the node at `address`, reachable or not."""
        known = self._nodes.get(address)
        if known is not None:
            return known
        backoff = self._backoffs.setdefault(address, Backoff())
        node = Node(self._seeds[0].at(*address), backoff, self._options, self._large)

        def lost(_: Connection) -> None:
            self._trouble(address)

        def opened(_: Connection) -> None:
            self._sick.discard(address)

        node.main.on_lost.append(lost)
        node.main.on_failed.append(lambda: self._trouble(address))
        node.main.on_opened.append(opened)
        self._nodes[address] = node
        return node

    def link(self, key: str) -> Link | None:
        """Return the connection to the primary of `key`; None while that, or the first slot map, is on its way."""
        address = self.topology.owner(slot_of(key))
        if address is not None:
            node = self._nodes.get(address)
            return NO_LINK if node is None else node.link(key)
        first = not self.topology.known and self._asking is not None and not self._asking.done()
        hopeful = all(backoff.hopeful for backoff in self._backoffs.values())
        return None if first and hopeful else NO_LINK

    async def primaries(self, operation: str) -> list[tuple[Address, Node]]:
        """Return all primaries, in a fixed order."""
        if not self.topology.known:
            await self._load_slot_map(operation)
        return [(address, self.node(address)) for address in self.topology.primaries]

    async def at(self, operation: str, slot: int) -> Address:
        """Return the address of the primary of `slot`."""
        address = self.topology.owner(slot)
        if address is None:
            if not self.topology.known:
                await self._load_slot_map(operation)
            address = self.topology.owner(slot)
        if address is None:
            self._start_mending()
            raise backend_error(operation, "moved", True)  # no node serves this slot now
        return address

    # The slot map

    async def _load_slot_map(self, operation: str) -> None:
        asking = self._ask_slot_map()
        try:
            answered = await asyncio.shield(asking)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not asking.cancelled() or (task is not None and task.cancelling()):
                raise
            raise BackendUnavailable(operation, transient=False, reason="closed") from None
        if not answered:
            raise BackendUnavailable(operation, transient=True, reason="refused")

    def _ask_slot_map(self) -> asyncio.Task[bool]:
        """Return the running task that asks for the slot map, or start one."""
        if self._asking is None or self._asking.done():
            if self.closed:
                raise BackendUnavailable("connect", transient=False, reason="closed")
            self._asked_at = time.monotonic()
            loop = asyncio.get_running_loop()
            self._asking = loop.create_task(self._learn(), context=contextvars.Context())
        return self._asking

    async def _learn(self) -> bool:
        """Ask some nodes for the slot map; return whether one answered."""
        asked_at = time.monotonic()
        known = [a for a in self.topology.primaries if a not in self._sick]
        others = [*(dialer.address for dialer in self._seeds), *(a for a in self._nodes if a in self._sick)]
        slot_map = await majority(self._candidates.next(known, others), self._slot_map_of)
        if slot_map is None:
            return False
        if self.topology.learn(slot_map):
            self._in_each_loop(Cluster.settle)
        self.watch.confirmed = asked_at
        return True

    async def refresh_slot_map(self, operation: str) -> None:
        """Ask for the slot map anew. Raises `BackendError` if no node answers."""
        asking = self._asking
        if asking is not None and not asking.done():
            await asyncio.wait({asking})  # it may have begun before the moves that the caller looks for
        await self._load_slot_map(operation)

    async def _slot_map_of(self, address: Address) -> SlotMap | None:
        try:
            reply = await self.node(address).read("connect", _SLOTS)
        except BackendError:
            return None  # the other nodes decide
        return parse_slots(reply, address)

    def settle(self) -> None:
        """Leave nodes that are no longer primaries, and tell the watchers; nothing if the primaries are the same."""
        if self.closed or self.topology.primaries == self._seen:
            return
        self._seen = self.topology.primaries
        seeds = {dialer.address for dialer in self._seeds}
        for address in [a for a in self._nodes if a not in self.topology.primaries and a not in seeds]:
            node = self._nodes.pop(address)
            self._leaving.append(node)
            self._sick.discard(address)
            # Not at once: a call that was redirected a moment ago may still be about to use it.
            asyncio.get_running_loop().call_later(self._options.timeout, self._leave, node)
        self.watch.primaries_changed()

    def _leave(self, node: Node) -> None:
        if node in self._leaving:
            self._leaving.remove(node)
            node.close()

    # Trouble

    def _trouble(self, address: Address) -> None:
        if not self.closed and address in self.topology.primaries:
            self._sick.add(address)
            self._start_mending()

    def _start_mending(self) -> None:
        """Ask for the slot map soon in the background, and again until every primary answers."""
        if self.closed or (self._mending is not None and not self._mending.done()):
            return
        loop = asyncio.get_running_loop()
        self._mending = loop.create_task(self._mend(), context=contextvars.Context())

    async def _mend(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._asked_at + _PAUSE - time.monotonic()))
            whole = await asyncio.shield(self._ask_slot_map())
            self._sick &= set(self.topology.primaries)
            for address in list(self._sick):
                try:
                    # Opening a connection takes the node out of `_sick`; a frozen one delays only this attempt.
                    async with asyncio.timeout(_PAUSE):
                        await self.node(address).main.ready("connect")
                except (BackendError, TimeoutError):
                    continue
            if whole and not self._sick and all(self.topology.owner(slot) for slot in range(0, 16384, 64)):
                return
            await asyncio.sleep(_PAUSE)

    # Commands

    async def ask_all(self, operation: str, commands: Sequence[Command], *, twice: bool = False) -> list[Reply]:
        """Return the replies to commands about keys of any slots, each from the node that has them.

        All nodes are asked at the same time. Raises `BackendError` when all have answered or failed, if one failed.
        """
        by_node: dict[Address, list[int]] = {}
        for i, command in enumerate(commands):
            by_node.setdefault(await self.at(operation, command.slot), []).append(i)
        replies: list[Reply] = [None] * len(commands)
        asked = (
            self._ask_node(operation, address, [commands[i] for i in indices], twice)
            for address, indices in by_node.items()
        )
        parts = [await one for one in asked] if len(by_node) == 1 else await _gather(asked)
        for (address, indices), part in zip(by_node.items(), parts, strict=True):
            for i, reply in zip(indices, part, strict=True):
                if isinstance(reply, hiredis.ReplyError):
                    reply = await self._follow(operation, commands[i], address, reply, twice)
                replies[i] = reply
        return replies

    async def _ask_node(self, operation: str, address: Address, commands: list[Command], twice: bool) -> list[Reply]:
        node = self.node(address)
        heavy = sum(len(command.payload) for command in commands) >= self._large.least or any(
            key in self._large.keys for command in commands for key in command.keys if self._large.keys
        )
        payloads = [command.payload for command in commands]
        if not twice:
            keys = [key for command in commands for key in command.keys]
            return await node.write(operation, keys, payloads, heavy=heavy)
        return await node.ask_many(operation, payloads, via=node.bulk if heavy else None, twice=True)

    async def _follow(self, operation: str, command: Command, asked: Address, reply: Reply, twice: bool) -> Reply:
        """Follow redirections, beginning with the error reply of the node `asked`; return the last reply."""
        for _ in range(_HOPS):
            where = self.learn_redirection(reply, asked)
            if where is None:
                return reply
            asking, asked = where
            if asking:
                self._redirected_by_ask(command.keys)
            batch = [ASKING, command.payload] if asking else [command.payload]
            reply = (await self.node(asked).ask_many(operation, batch, twice=twice))[-1]
        return reply

    def learn_redirection(self, reply: Reply, asked: Address) -> tuple[bool, Address] | None:
        """Return (whether to send ASKING, the address to ask) if a reply is a redirection; learn from it."""
        if not isinstance(reply, hiredis.ReplyError):
            return None
        text = str(reply)
        where = redirection(text, asked)
        if where is None:
            if text.startswith(("CLUSTERDOWN", "READONLY", "MASTERDOWN")):
                self._start_mending()
            return None
        kind, slot, address = where
        if kind == "ASK":
            return True, address
        if self.topology.moved(slot, address):
            self._in_each_loop(Cluster.settle)
        self._start_mending()
        return False, address

    def _redirected_by_ask(self, keys: Sequence[str]) -> None:
        """Tell the watchers of all loops, before `keys` are asked of a node that is still importing their slot.

        There may be no subscription to that node yet, so copies of its answers would not be invalidated.
        """
        self._in_each_loop(lambda cluster: cluster.watch.redirected_by_ask(keys))

    def reply_error(self, operation: str, slot: int, reply: Reply) -> BackendError:
        """Return the error for a reply that is no answer; see `Node.reply_error`."""
        address = self.topology.owner(slot)
        return self.node(address).reply_error(operation, reply) if address else reply_error(operation, reply)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, px: int | None) -> Reply:
        """Return True or False, or the error reply."""
        asked = await self.at("swap", slot_of(key))
        reply = await self.node(asked).swap(key, old, new, px)
        for _ in range(_HOPS):
            where = self.learn_redirection(reply, asked)
            if where is None:
                break
            asking, asked = where
            if asking:
                self._redirected_by_ask([key])
            reply = await self.node(asked).swap(key, old, new, px, asking=asking)
        return reply


async def _gather(asked: Iterable[object]) -> list[list[Reply]]:
    parts = await asyncio.gather(*asked, return_exceptions=True)  # type: ignore[call-overload] # coroutines
    for part in parts:
        if isinstance(part, BaseException):
            raise part
    return parts  # type: ignore[no-any-return] # none is an exception
