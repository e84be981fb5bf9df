"""A store simulated in a virtual loop, which behaves as a real one may, on demand.

One `SimulatedStore` is the server: one state, changed by one command at a time, and a feed of its changes. The network
before it, and the drivers of the processes, are in `simulation_network`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import Changed

_EPOCH: Final = 1_700_000_000.0
_REMEMBERED: Final = 25.0  # seconds of changes that a replica may lack, or a snapshot
MARK: Final = "cc.m:"

Trace = Callable[..., None]
Executed = Callable[[str, str, tuple[str, ...]], None]
"""Told of each change that the store carried out: process, operation, keys."""


class Peer(Protocol):
    """The client's end of a connection, as the store knows it."""

    process: str
    prefix: str | None
    """The prefix that the feed on this connection watches; None: it is no feed."""
    noloop: bool

    def push(self, event: Changed) -> None:
        """Tell the feed of a change."""

    def answer(self, reply: asyncio.Future[Any], answer: Any) -> None:
        """Send the answer to a command."""

    def broken(self) -> None:
        """End, because the store did."""


class SimulatedStore:
    """The server: one state, changed by one command at a time.

    `executed` is told of each change that was carried out. `skew` is by how many seconds its clock is wrong.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, trace: Trace, *, skew: float = 0.0) -> None:
        self.loop = loop
        self.trace = trace
        self.skew = skew
        self.executed: Executed = lambda process, operation, keys: None
        self.up = True
        self.refuses: str | None = None
        """Why writes are refused (`full`, `readonly`), if they are."""
        self.short_of_memory = False
        """Whether each write first evicts the key that ends soonest, as `volatile-ttl` does."""
        self.messages = 0
        self.epoch = 0
        """Counts the times it was stopped: messages to an earlier server never arrive at a later one."""
        self._paused = False
        self._values: dict[str, tuple[bytes, float | None]] = {}
        self._log: deque[tuple[float, str, tuple[bytes, float | None] | None]] = deque()
        self._backlog: list[tuple[Peer, tuple[Any, ...], asyncio.Future[Any]]] = []
        self._connections: dict[Peer, None] = {}

    # Commands

    def execute(self, process: str, command: tuple[Any, ...]) -> Any:
        """Carry out one command. Raises BackendError where the store refuses it."""
        operation = command[0]
        self.messages += 1
        if operation == "get_many":
            if MARK in command[1]:
                self.executed(process, "look", ())
            return [self.live(key) for key in command[1]]
        if operation == "time":
            return self.time()
        if operation == "scan":
            return [key for key in list(self._values) if key.startswith(command[1]) and self.live(key) is not None]
        if self.refuses is not None and (operation != "delete_many" or self.refuses == "readonly"):
            raise BackendError(operation, transient=self.refuses == "readonly", reason=self.refuses)
        if self.short_of_memory:
            self._evict_soonest()
        if operation == "set_many":
            items, ttl = command[1:]
            for key, value in items.items():
                self._put(key, value, ttl)
            self._tell(process, operation, tuple(items))
            return None
        if operation == "delete_many":
            found = [key for key in dict.fromkeys(command[1]) if self.live(key) is not None]
            for key in found:
                self._put(key, None, None)
            self._tell(process, operation, tuple(command[1]), tuple(found))
            return len(found)
        if operation == "advance":
            value = self.live(command[1]) or b""
            number = int(value) + 1 if value.isdigit() else 1
            self._put(command[1], b"%d" % number, None)
            self._tell(process, operation, (command[1],))
            return number
        key, old, new, ttl = command[1:]
        if self.live(key) != old:
            return False
        self._put(key, new, ttl)
        self._tell(process, operation, (key,))
        return True

    def _evict_soonest(self) -> None:
        ends = {key: deadline for key, (_, deadline) in self._values.items() if deadline is not None}
        if ends:
            self.evict(min(ends, key=lambda key: ends[key]))

    def time(self) -> float:
        """Return the server's clock, Unix seconds."""
        return _EPOCH + self.loop.time() + self.skew

    def live(self, key: str) -> bytes | None:
        """Return the present value of `key`, or None."""
        found = self._values.get(key)
        if found is None:
            return None
        value, deadline = found
        if deadline is not None and deadline <= self.loop.time():
            self._put(key, None, None)
            self._tell("", "expire", (key,))
            return None
        return value

    def stored(self) -> list[str]:
        """Return the keys of this moment, oldest first."""
        return [key for key in list(self._values) if self.live(key) is not None]

    def _put(self, key: str, value: bytes | None, ttl: float | None) -> None:
        now = self.loop.time()
        self._log.append((now, key, self._values.get(key)))
        while self._log and self._log[0][0] < now - _REMEMBERED:
            self._log.popleft()
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = (bytes(value), None if ttl is None else now + ttl)

    def _tell(
        self, process: str, operation: str, keys: tuple[str, ...], changed: tuple[str, ...] | None = None
    ) -> None:
        self.executed(process, operation, keys)
        self._push(keys if changed is None else changed, process)

    def _push(self, keys: tuple[str, ...], process: str) -> None:
        for connection in list(self._connections):
            prefix = connection.prefix
            if prefix is not None and not (connection.noloop and connection.process == process):
                told = tuple(key for key in keys if key.startswith(prefix))
                if told:
                    connection.push(Changed(told))

    # Faults

    def lasting(self) -> list[str]:
        """Return the keys that have no deadline."""
        return [key for key, (_, deadline) in self._values.items() if deadline is None]

    def evict(self, key: str) -> None:
        """Lose one key, as under memory pressure."""
        self._put(key, None, None)
        self.executed("", "evict", (key,))
        self._push((key,), "")

    def corrupt(self, key: str, value: bytes) -> None:
        """Change the bytes of a key without an event."""
        found = self._values.get(key)
        if found is not None:
            self._log.append((self.loop.time(), key, found))
            self._values[key] = (value, found[1])

    def pause(self) -> None:
        """Stop carrying out commands; they queue."""
        self._paused = True

    def resume(self) -> None:
        """Carry out the queued commands, also for callers that have given up, and go on."""
        self._paused = False
        backlog, self._backlog = self._backlog, []
        for connection, command, reply in backlog:
            self.arrive(connection, command, reply)

    def stop(self) -> None:
        """Be gone: connections break, new ones are refused."""
        self.up, self._paused, self._backlog = False, False, []
        self.epoch += 1
        for connection in list(self._connections):
            connection.broken()

    def start(self, *, empty: bool, skew: float) -> None:
        """Be there again, without the data if `empty`, with a clock that is wrong by `skew`."""
        self.up, self.skew = True, skew
        if empty:
            self._values.clear()
            self._log.clear()

    def roll_back(self, lag: float) -> float:
        """Take the state of a replica that lags by `lag` seconds; return the last second (of the loop) it has seen."""
        seen = self.loop.time() - lag
        while self._log and self._log[-1][0] > seen:
            _, key, before = self._log.pop()
            if before is None:
                self._values.pop(key, None)
            else:
                self._values[key] = before
        return seen

    # Connections

    def connections(self) -> list[Peer]:
        """Return the open connections."""
        return list(self._connections)

    def accept(self, connection: Peer) -> None:
        """Take a new connection."""
        self._connections[connection] = None

    def forget(self, connection: Peer) -> None:
        """Let go of a connection."""
        self._connections.pop(connection, None)

    def arrive(self, connection: Peer, command: tuple[Any, ...], reply: asyncio.Future[Any]) -> None:
        """A command has come in on `connection`."""
        if not self.up:
            return
        if self._paused:
            self._backlog.append((connection, command, reply))
            return
        self.trace("exec", connection.process, command[0], command[1] if len(command) > 1 else None)
        try:
            answer: Any = self.execute(connection.process, command)
        except BackendError as error:
            answer = error.with_traceback(None)  # its frames would keep the server alive
        connection.answer(reply, answer)
