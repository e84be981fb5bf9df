"""A cluster as one event loop sees it: a `Node` for each primary, and finding out when they are others.

The order of the slots is asked for at first use, when a node redirects us, and while a primary is out of reach: then
again and again in the background, so that the replica that takes its place is used as soon as the others know it,
whether anybody calls or not; and as long as somebody watches, see `watching`.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import hiredis

from cachecore.contract.errors import BackendError, BackendUnavailable
from cachecore_redis.cluster.quorum import Candidates, majority
from cachecore_redis.cluster.topology import Ranges, Topology, ranges_of, redirection, slot_of
from cachecore_redis.cluster.watch import Watching
from cachecore_redis.node.large import LargeKeys
from cachecore_redis.node.node import Node
from cachecore_redis.wire.address import Address, RedisOptions, UrlDialer
from cachecore_redis.wire.commands import ASKING, pack
from cachecore_redis.wire.connection import Lane, Reply
from cachecore_redis.wire.errors import failure, refusal
from cachecore_redis.wire.reconnecting import Backoff

_PAUSE: Final = 0.2
"""Seconds between two looks at a cluster that is not whole."""
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
    """The nodes of a cluster in one loop. Everything here happens in that loop; `topology` is shared with others."""

    def __init__(
        self,
        seeds: Sequence[UrlDialer],
        topology: Topology,
        backoffs: dict[Address, Backoff],
        options: RedisOptions,
        large: LargeKeys,
        everywhere: Callable[[Callable[[Cluster], None]], None],
    ) -> None:
        self.topology = topology
        self.watching = Watching(topology, self._order_of, self._ask_order)
        self._everywhere = everywhere
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
        """Close all lanes and end what goes on behind."""
        self.closed = True
        for task in (self._asking, self._mending):
            if task is not None:
                task.cancel()
        for node in (*self._nodes.values(), *self._leaving):
            node.close()
        self.watching.close()  # so that feeds see the end

    # Nodes

    def node(self, address: Address) -> Node:
        """Return the node at `address`, whether it can be reached or not."""
        found = self._nodes.get(address)
        if found is not None:
            return found
        backoff = self._backoffs.setdefault(address, Backoff())
        node = Node(self._seeds[0].at(*address), backoff, self._options, self._large)

        def lost(_: Lane) -> None:
            self._trouble(address)

        def opened(_: Lane) -> None:
            self._sick.discard(address)

        node.main.on_lost.append(lost)
        node.main.on_failed.append(lambda: self._trouble(address))
        node.main.on_lane.append(opened)
        self._nodes[address] = node
        return node

    async def primaries(self, operation: str) -> list[tuple[Address, Node]]:
        """Return all primaries, in a fixed order."""
        if not self.topology.known:
            await self._first_order(operation)
        return [(address, self.node(address)) for address in self.topology.primaries]

    async def at(self, operation: str, slot: int) -> Address:
        """Return the address of the primary of `slot`."""
        address = self.topology.owner(slot)
        if address is None:
            if not self.topology.known:
                await self._first_order(operation)
            address = self.topology.owner(slot)
        if address is None:
            self._look_behind()
            raise failure(operation, "moved", True)  # nobody serves this slot now
        return address

    # The order of the slots

    async def _first_order(self, operation: str) -> None:
        asking = self._ask_order()
        try:
            told = await asyncio.shield(asking)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not asking.cancelled() or (task is not None and task.cancelling()):
                raise
            raise BackendUnavailable(operation, transient=False, reason="closed") from None
        if not told:
            raise BackendUnavailable(operation, transient=True, reason="refused")

    def _ask_order(self) -> asyncio.Task[bool]:
        """Return the asking under way, or begin one."""
        if self._asking is None or self._asking.done():
            if self.closed:
                raise BackendUnavailable("connect", transient=False, reason="closed")
            self._asked_at = time.monotonic()
            loop = asyncio.get_running_loop()
            self._asking = loop.create_task(self._learn(), context=contextvars.Context())
        return self._asking

    async def _learn(self) -> bool:
        """Ask some nodes for the order of the slots; return whether one told."""
        asked_at = time.monotonic()
        known = [a for a in self.topology.primaries if a not in self._sick]
        others = [*(dialer.address for dialer in self._seeds), *(a for a in self._nodes if a in self._sick)]
        order = await majority(self._candidates.next(known, others), self._order_of)
        if order is None:
            return False
        if self.topology.learn(order):
            self._everywhere(Cluster.settle)
        self.watching.confirmed = asked_at
        return True

    async def whole_order(self, operation: str) -> None:
        """Have the order of the slots asked for anew. Raises `BackendError` if nobody tells."""
        asking = self._asking
        if asking is not None and not asking.done():
            await asyncio.wait({asking})  # it may have begun before what the caller wants to know of
        await self._first_order(operation)

    async def _order_of(self, address: Address) -> Ranges | None:
        try:
            reply = await self.node(address).read("connect", _SLOTS)
        except BackendError:
            return None  # others are asked, too
        return ranges_of(reply, address)

    def settle(self) -> None:
        """Leave the nodes that are primaries no more, and tell who watches; nothing if they are the same."""
        if self.closed or self.topology.primaries == self._seen:
            return
        self._seen = self.topology.primaries
        seeds = {dialer.address for dialer in self._seeds}
        for address in [a for a in self._nodes if a not in self.topology.primaries and a not in seeds]:
            node = self._nodes.pop(address)
            self._leaving.append(node)
            self._sick.discard(address)
            # Not at once: a call that was redirected a moment ago may still be on its way there.
            asyncio.get_running_loop().call_later(self._options.timeout, self._leave, node)
        self.watching.other_primaries()

    def _leave(self, node: Node) -> None:
        if node in self._leaving:
            self._leaving.remove(node)
            node.close()

    # Trouble

    def _trouble(self, address: Address) -> None:
        if not self.closed and address in self.topology.primaries:
            self._sick.add(address)
            self._look_behind()

    def _look_behind(self) -> None:
        """See to it that the order of the slots is asked for soon, and again until every primary answers."""
        if self.closed or (self._mending is not None and not self._mending.done()):
            return
        loop = asyncio.get_running_loop()
        self._mending = loop.create_task(self._mend(), context=contextvars.Context())

    async def _mend(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._asked_at + _PAUSE - time.monotonic()))
            whole = await asyncio.shield(self._ask_order())
            self._sick &= set(self.topology.primaries)
            for address in list(self._sick):
                try:
                    # Opening a lane takes it off the list; a frozen node holds up nobody but this attempt.
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
        parts = [await one for one in asked] if len(by_node) == 1 else await _gathered(asked)
        for (address, indices), part in zip(by_node.items(), parts, strict=True):
            for i, reply in zip(indices, part, strict=True):
                if isinstance(reply, hiredis.ReplyError):
                    reply = await self._followed(operation, commands[i], address, reply, twice)
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
        return await node.ask_many(operation, payloads, channel=node.bulk if heavy else None, twice=True)

    async def _followed(self, operation: str, command: Command, asked: Address, reply: Reply, twice: bool) -> Reply:
        """Return the reply from where the error reply of `asked` sends us; that reply if it sends nowhere."""
        for _ in range(_HOPS):
            where = self.redirected(reply, asked)
            if where is None:
                return reply
            asking, asked = where
            if asking:
                self._elsewhere(command.keys)
            batch = [ASKING, command.payload] if asking else [command.payload]
            reply = (await self.node(asked).ask_many(operation, batch, twice=twice))[-1]
        return reply

    def redirected(self, reply: Reply, asked: Address) -> tuple[bool, Address] | None:
        """Return (whether to say ASKING, the address to ask) if a reply is a redirection; learn from it."""
        if not isinstance(reply, hiredis.ReplyError):
            return None
        text = str(reply)
        where = redirection(text, asked)
        if where is None:
            if text.startswith(("CLUSTERDOWN", "READONLY", "MASTERDOWN")):
                self._look_behind()
            return None
        kind, slot, address = where
        if kind == "ASK":
            return True, address
        if self.topology.moved(slot, address):
            self._everywhere(Cluster.settle)
        self._look_behind()
        return False, address

    def _elsewhere(self, keys: Sequence[str]) -> None:
        """Say in all loops, before `keys` are asked of a node that only receives their slot, that they are.

        Nobody need listen there yet, so who keeps what it says would not hear when that changes.
        """
        self._everywhere(lambda cluster: cluster.watching.elsewhere(keys))

    def refused(self, operation: str, slot: int, reply: Reply) -> BackendError:
        """Return the error for a reply that is no answer; see `Node.refused`."""
        address = self.topology.owner(slot)
        return self.node(address).refused(operation, reply) if address else refusal(operation, reply)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, px: int | None) -> Reply:
        """Return True or False, or the error reply."""
        asked = await self.at("swap", slot_of(key))
        reply = await self.node(asked).swap(key, old, new, px)
        for _ in range(_HOPS):
            where = self.redirected(reply, asked)
            if where is None:
                break
            asking, asked = where
            if asking:
                self._elsewhere([key])
            reply = await self.node(asked).swap(key, old, new, px, asking=asking)
        return reply


async def _gathered(asked: Iterable[object]) -> list[list[Reply]]:
    parts = await asyncio.gather(*asked, return_exceptions=True)  # type: ignore[call-overload] # coroutines
    for part in parts:
        if isinstance(part, BaseException):
            raise part
    return parts  # type: ignore[no-any-return] # none is an exception
