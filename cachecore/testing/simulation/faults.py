"""The faults of a simulation, and when they heal."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final, Protocol

from cachecore.testing.simulation.calls import Process
from cachecore.testing.simulation.network import FedBackend
from cachecore.testing.simulation.oracle import Oracle
from cachecore.testing.simulation.store import MARK, SimulatedStore
from cachecore.testing.virtual import VirtualLoop

CLOCK_STEP: Final = 0.2
"""Seconds by which the clocks of two servers of one store differ at most."""


class Host(Protocol):
    """The parts of a simulation besides the store and the network that faults can change."""

    processes: list[Process]

    def replace(self, process: Process) -> None:
        """Kill a process and start another in its place."""

    def stalled(self) -> None:
        """Take note that the loop stood still."""


class Faults:
    """Injects faults into one simulation, and takes them away again."""

    def __init__(self, host: Host, store: SimulatedStore, oracle: Oracle, loop: VirtualLoop,
                 chance: random.Random) -> None:  # fmt: skip
        self.host = host
        self.store = store
        self.oracle = oracle
        self.loop = loop
        self.chance = chance
        self._base_skew = store.skew
        self._healing: dict[asyncio.TimerHandle, Callable[[], None]] = {}
        faults: list[tuple[Callable[[], str], int]] = [
            (self.cut, 4), (self.slow, 3), (self.lossy, 4), (self.reset, 3), (self.break_feed, 6), (self.deafen, 4),
            (self.pause, 3), (self.restart, 2), (self.fail_over, 3), (self.go_back, 3), (self.refuse, 2),
            (self.evict, 5), (self.evict_many, 1), (self.short_of_memory, 6), (self.corrupt, 7), (self.kill, 1),
            (self.stall, 2), (self.set_clock, 1),
        ]  # fmt: skip
        self._kinds = [fault for fault, _ in faults]
        self._weights = [weight for _, weight in faults]

    def inject(self) -> str:
        """Begin a random fault; return its name, for the trace."""
        for process in self.host.processes:
            self.oracle.disturb(process.name)
        fault = self.chance.choices(self._kinds, self._weights)[0]
        return f"{fault.__name__} {fault()}"

    def heal(self) -> None:
        """Let everything be well again."""
        healing, self._healing = self._healing, {}
        for timer, heal in healing.items():
            timer.cancel()
            heal()

    def _later(self, heal: Callable[[], None], most: float) -> str:
        seconds = most * self.chance.random() ** 2

        def healed() -> None:
            self._healing.pop(timer, None)
            heal()

        timer = self.loop.call_later(seconds, healed)
        self._healing[timer] = heal
        return f"{seconds:.3f}"

    def _process(self) -> Process:
        return self.chance.choice(self.host.processes)

    # The network

    def cut(self) -> str:
        """Nothing gets through between one process and the store."""
        process = self._process()
        process.backend.link.cut = True
        return f"{process.name} {self._later(process.backend.link.heal, 4.0)}"

    def slow(self) -> str:
        """Everything takes longer for one process."""
        process = self._process()
        process.backend.link.slow = self.chance.choice((10.0, 60.0, 300.0))
        return f"{process.name} {self._later(process.backend.link.heal, 3.0)}"

    def lossy(self) -> str:
        """Messages of one process get lost, requests and replies alike."""
        process = self._process()
        process.backend.link.loss = self.chance.choice((0.05, 0.3))
        return f"{process.name} {self._later(process.backend.link.heal, 3.0)}"

    def reset(self) -> str:
        """The connections of one process break."""
        process = self._process()
        for connection in process.backend.connections():
            connection.broken()
        return process.name

    def break_feed(self) -> str:
        """The feed of one process breaks."""
        process = self._process()
        for connection in self.store.connections():
            if connection.process == process.name and connection.prefix is not None:
                connection.broken()
        return process.name

    def deafen(self) -> str:
        """Nothing comes in on the feed of one process, and nothing says so."""
        process = self._process()
        process.backend.link.feed_deaf = True
        if isinstance(process.backend, FedBackend):
            process.backend.patient = self.chance.random() < 0.8

        def hear() -> None:
            # Missed events never arrive: a connection that was deaf is not to be believed again.
            process.backend.link.feed_deaf = False
            for connection in self.store.connections():
                if connection.process == process.name and connection.prefix is not None:
                    connection.broken()

        return f"{process.name} {self._later(hear, 8.0)}"

    # The server

    def pause(self) -> str:
        """The server does not answer."""
        self.store.pause()
        return self._later(self.store.resume, 3.0)

    def restart(self) -> str:
        """The server dies and comes back empty."""
        self.store.stop()
        skew = self._skew()
        return self._later(lambda: self._start(empty=True, skew=skew), 1.5)

    def fail_over(self) -> str:
        """A replica that lags takes over."""
        lag = 2.0 * self.chance.random() ** 2
        self.store.stop()
        seen = self.store.roll_back(lag)
        self.oracle.undone(seen, self.store.stored())
        skew = self._skew()
        return f"lag {lag:.3f} {self._later(lambda: self._start(empty=False, skew=skew), 1.5)}"

    def go_back(self) -> str:
        """The server dies and comes back from a snapshot: the store goes back in time, further than caches remember.

        A snapshot without the mark does not show that it is one: see `cachecore.invalidation.rewind`.
        """
        age = 1.0 + 11.0 * self.chance.random()
        self.store.stop()
        seen = self.store.roll_back(age)
        self.oracle.undone(seen, self.store.stored(), marked=(self.store.live(MARK) or b"").isdigit())
        skew = self._skew()
        return f"by {age:.3f} {self._later(lambda: self._start(empty=False, skew=skew), 1.5)}"

    def _start(self, *, empty: bool, skew: float) -> None:
        if not self.store.up or empty:
            self.store.start(empty=empty, skew=skew)

    def _skew(self) -> float:
        return self._base_skew + CLOCK_STEP * (self.chance.random() - 0.5)

    def refuse(self) -> str:
        """The server refuses writes."""
        self.store.refuses = self.chance.choice(("full", "readonly"))

        def accept() -> None:
            self.store.refuses = None

        return f"{self.store.refuses} {self._later(accept, 2.0)}"

    def evict(self) -> str:
        """The server loses a key: an entry, a tombstone, a claim, a stamp or a lease."""
        keys = self.store.stored()
        if not keys:
            return ""
        key = self.chance.choice(keys)
        self.store.evict(key)
        return key

    def evict_many(self) -> str:
        """The server is short of memory: a random half of the keys goes."""
        keys = [key for key in self.store.stored() if self.chance.random() < 0.5]
        for key in keys:
            self.store.evict(key)
        return f"{len(keys)} keys"

    def short_of_memory(self) -> str:
        """For a while each write costs the server the key that ends soonest: where answers live long, a tombstone."""
        self.store.short_of_memory = True

        def enough() -> None:
            self.store.short_of_memory = False

        return self._later(enough, 4.0)

    def corrupt(self) -> str:
        """The server changes a few bytes, cuts some off, or puts another key's value."""
        keys = [key for key in self.store.stored() if not self._tombstone(key)]
        if not keys:
            return ""
        entries = [key for key in keys if ":e:" in key and not key.startswith("cc.l:")]
        if entries and self.chance.random() < 0.7:
            keys = entries
        key, other = self.chance.choice(keys), self.chance.choice(keys)
        data = self.store.live(key) or b""
        kind = self.chance.choice((0, 0, 1, 2, 2, 3))
        if kind == 0 and data:
            place = self.chance.randrange(len(data))
            data = data[:place] + bytes([data[place] ^ 1 << self.chance.randrange(8)]) + data[place + 1 :]
        elif kind == 1:
            data = data[: self.chance.randrange(len(data) + 1)]
        elif kind == 2:
            data = self.store.live(other) or b""
        else:
            data = self.chance.randbytes(self.chance.randrange(200))
        self.store.corrupt(key, data)
        return f"{kind} {key}"

    def _tombstone(self, key: str) -> bool:
        from cachecore.encoding.entry import TOMBSTONE_BYTES

        return len(self.store.live(key) or b"") == TOMBSTONE_BYTES

    # The processes

    def kill(self) -> str:
        """A process dies, and another takes its place."""
        process = self._process()
        self.host.replace(process)
        return process.name

    def stall(self) -> str:
        """The loop, and with it every process, stands still."""
        seconds = 1.5 * self.chance.random() ** 2
        self.loop.stall(seconds)
        self.host.stalled()
        return f"{seconds:.3f}"

    def set_clock(self) -> str:
        """The wall clock of one process jumps, by up to an hour."""
        process = self._process()
        clock = process.backend.clock
        if hasattr(clock, "skew") and hasattr(process.backend, "time"):
            clock.skew = 3600.0 * (2 * self.chance.random() - 1)
        return process.name
