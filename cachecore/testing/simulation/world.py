"""The world of one simulation: processes, their caches, the store, and their random actions."""

from __future__ import annotations

import asyncio
import gc
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cachecore.api.cache import Cache
from cachecore.keys.hashers import xxh3_128
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.testing.simulation.calls import FACTORY_TIMEOUT, NAMES, NAMESPACES, Process, request_of
from cachecore.testing.simulation.faults import Faults
from cachecore.testing.simulation.network import FedBackend, Link, SimulatedBackend, TimedBackend
from cachecore.testing.simulation.oracle import Oracle, Wrong
from cachecore.testing.simulation.store import MARK, SimulatedStore
from cachecore.testing.simulation.writes import Caller
from cachecore.testing.virtual import VirtualLoop

_MOST_CALLS: Final = 24
_L1_MAX_AGE: Final = 1.0
_REST: Final = 8.0  # seconds after which everything pending has been delivered, and a second time
_SLOWEST_PUSH: Final = 0.03
_SLOWEST_ROUND: Final = 0.06


@dataclass(slots=True)
class Report:
    """The size of a simulation."""

    seed: int
    steps: int = 0
    calls: int = 0
    messages: int = 0
    faults: int = 0
    answers: int = 0
    digest: str = ""
    """Names the whole history: equal for equal seeds."""
    outcomes: dict[str, int] = field(default_factory=dict)


class ProcessClock:
    """The clocks of one process: its own count of seconds, and its own idea of the date."""

    counts_sleep = True

    def __init__(self, loop: VirtualLoop, *, started: float, skew: float) -> None:
        self._time = loop.time
        self._started = started
        self.skew = skew

    def monotonic(self) -> float:
        """Return seconds since some moment of this process's own."""
        return self._time() + self._started

    def time(self) -> float:
        """Return Unix seconds as this host believes."""
        return 1_700_000_000.0 + self._time() + self.skew


class World:
    """One simulation."""

    def __init__(self, seed: int, steps: int, *, calm: bool, loop: VirtualLoop) -> None:
        self.report = Report(seed)
        self.steps = steps
        self.calm = calm
        self.loop = loop
        self.chance = random.Random(f"{seed} world")  # noqa: S311 - a simulation, not secrets
        self.trace: list[tuple[Any, ...]] = []
        self.problem: BaseException | None = None
        draw = self.chance
        self.windows = draw.choice((0.0, 5.0, 5.0))
        self.store = SimulatedStore(loop, self.note, skew=0.0 if calm else 3600.0 * (draw.random() - 0.5))
        self.oracle = Oracle(loop.time, l1_max_age=_L1_MAX_AGE, windows=self.windows, strict=calm)
        self.store.executed = self._executed
        self.timed = draw.random() < 0.8
        if not self.timed:
            self.store.skew = 0.0
        self.options: dict[str, Any] = {
            "stale_while_revalidate": draw.choice((0.0, 0.0, self.windows)),
            "stale_if_error": self.windows,
            "refresh_ahead": draw.choice((0.0, 0.0, 1.0)),
            "soft_timeout": draw.choice((None, 0.02)),
            "lease_ttl": draw.choice((0.5, 0.5, None)),
            "batch_keys": draw.choice((2, 256)),
            "max_pending": draw.choice((2, 1000)),
            "l1_max_entries": draw.choice((0, 3, 100)),
        }
        self.ttl = draw.choice((0.8, 3.0, 60.0))
        self.processes: list[Process] = []
        self._names: dict[str, str] = {}  # key of the store -> name
        self._made = 0
        streams = seed % 3 == 1
        if streams and calm:
            self.ttl = 0.8  # else nearly every reader has a stored answer
        elif streams:
            self.options["stream_max_chunks"] = draw.choice((3, 1000))
        self.caller = Caller(self.oracle, draw, loop.time, self._isolated_at, calm=calm, streams=streams)
        self.caller.shortest_buffer = self.options.get("stream_max_chunks", 1000)
        self.faults = Faults(self, self.store, self.oracle, loop, draw)
        self.calls: dict[asyncio.Task[Any], bool] = {}  # task -> whether it was cancelled
        self._closing: list[asyncio.Task[None]] = []
        self._retired: list[Process] = []

    def note(self, *what: Any) -> None:
        """Add to the history."""
        self.trace.append((round(self.loop.time(), 6), *what))

    # Processes

    def start_process(self) -> Process:
        """Start one more process."""
        draw = self.chance
        name = f"p{self._made}"
        self._made += 1
        skew = 3600.0 * (2 * draw.random() - 1) if self.timed else 0.1 * draw.random()
        clock = ProcessClock(self.loop, started=draw.uniform(0, 1e6), skew=skew)
        link = Link(random.Random(f"{self.report.seed} {name} link"))  # noqa: S311
        fed = self.timed and draw.random() < 0.6
        kind = FedBackend if fed else TimedBackend if self.timed else SimulatedBackend
        backend = kind(self.store, link, name, clock, connections=draw.choice((1, 2, 3)))
        backend.noloop = draw.random() < 0.5
        bits = random.Random(f"{self.report.seed} {name} bits")  # noqa: S311
        cache: Cache[Any] = Cache(
            backend, ttl=self.ttl, hasher=xxh3_128(), serializer=MsgpackSerializer(), clock=clock, eviction="lru",
            chance=random.Random(f"{self.report.seed} {name}"), token=lambda: bits.randbytes(16),  # noqa: S311
            l1_max_age=_L1_MAX_AGE, factory_timeout=FACTORY_TIMEOUT, retry_after=0.5, **self.options,
        )  # fmt: skip
        views: dict[str, Cache[Any]] = {"": cache}
        for namespace in NAMESPACES[1:]:
            views[namespace] = cache.scoped(namespace, tags=("view",) if namespace == "c" else ())
        process = Process(name, cache, views, backend, fed, self.ttl)
        self.processes.append(process)
        self._names = self._names or {process.view(name).key(request_of(name)): name for name in NAMES}
        return process

    def replace(self, process: Process) -> None:
        """Kill a process and start another in its place."""
        process.dead = True
        self.oracle.gone(process.name)
        process.backend.link.cut = True  # and never healed: its later messages are lost
        for connection in self.store.connections():
            if connection.process == process.name:
                connection.broken()
        self.processes.remove(process)
        self._retired.append(process)
        self.start_process()

    def stalled(self) -> None:
        """Take note that the loop stood still."""
        self.caller.stalled_at = self.loop.time()

    def _isolated_at(self, process: Process) -> float:
        breakers = process.cache._engine.backend.states().values()  # noqa: SLF001
        return self.loop.time() if any(state != "closed" for state in breakers) else process.backend.failed_at

    def _executed(self, process: str, operation: str, keys: tuple[str, ...]) -> None:
        self.oracle.executed(process, operation, keys)
        for other in self.processes if self.calm else ():
            for key in keys:
                if key.startswith("cc.l:"):
                    continue
                name = self._names.get(key, "")
                if other.fed:  # a push parts its callers
                    self.oracle.disturb(other.name, name, _SLOWEST_PUSH)
                if not name or other.name != process:  # a later reader sees that something was done to the key
                    self.oracle.part(other.name, name, _SLOWEST_ROUND)

    # The run

    async def run(self) -> None:
        """Run the whole history. Raises `Wrong`, or any other unexpected error."""
        for _ in range(self.chance.choice((1, 2, 3))):
            self.start_process()
        if self.calm:
            await self._settle()
        while self._steps() < self.steps:
            self._act()
            await asyncio.sleep(self._pause())
            self._raise()
        await self._end()
        self.report.steps = self._steps()
        self.report.messages = self.store.messages
        self.report.answers = self.oracle.answers

    def _steps(self) -> int:
        return self.report.calls + self.report.faults + self.store.messages

    def _pause(self) -> float:
        draw = self.chance.random
        kind = draw()
        return (0.003 if kind < 0.5 else 0.03 if kind < 0.85 else 2.0 * draw()) * draw()

    def _act(self) -> None:
        draw = self.chance
        for process in self.processes:
            if not len(process.cache._engine.outbox):  # noqa: SLF001
                self.oracle.delivered(process.name)
        kind = draw.random()
        if kind < 0.07 and self.calls:
            task = draw.choice(list(self.calls))
            if task.cancel():
                self.calls[task] = True
                self.oracle.disturb("p" + task.get_name().partition("p")[2].partition(" ")[0])
                self.note("cancel", task.get_name())
        elif kind < 0.19 and not self.calm:
            self.report.faults += 1
            self.note("fault", self.faults.inject())
        elif len(self.calls) < _MOST_CALLS:
            self._call(self.caller.call(), draw.choice(self.processes))

    def _call(self, call: Callable[[Process], Awaitable[str]], process: Process) -> None:
        self.report.calls += 1
        name = f"{process.name} {call.__name__} {self.report.calls}"
        self.note("call", name)
        task = self.loop.create_task(self._answered(name, call(process)), name=name)
        self.calls[task] = False
        task.add_done_callback(self._ended)

    async def _answered(self, name: str, call: Awaitable[str]) -> None:
        outcome = await call
        self.note("answer", name, outcome)
        key = f"{name.split()[1]} {outcome.split()[0]}"
        self.report.outcomes[key] = self.report.outcomes.get(key, 0) + 1

    def _ended(self, task: asyncio.Task[Any]) -> None:
        was_cancelled = self.calls.pop(task)
        problem: BaseException | None = None
        if task.cancelled():
            if not was_cancelled:
                problem = Wrong(f"{task.get_name()} was cancelled by nobody")
        elif was_cancelled and task.exception() is None:
            problem = Wrong(f"{task.get_name()} swallowed its cancellation")
        else:
            problem = task.exception()
        self.problem = self.problem or problem

    def _raise(self) -> None:
        problem = self.problem or self.oracle.broken
        if problem is not None:
            raise problem

    async def _settle(self) -> None:
        for process in self.processes:
            await self.caller.get_name(process, NAMES[0], ())
        await asyncio.sleep(0.5)

    async def _end(self) -> None:
        """Heal, wait until nothing is under way, ask for everything once more, close, and look for leaks."""
        self.note("end")
        self.faults.heal()
        for process in self.processes:
            process.backend.link.heal()
        while self.calls:
            await asyncio.wait(list(self.calls))
            self._raise()
        await asyncio.sleep(_REST)
        for process in self.processes:
            engine = process.cache._engine  # noqa: SLF001
            if len(engine.outbox):
                raise Wrong(f"{process.name} still has {len(engine.outbox)} invalidations to deliver")
            self.oracle.delivered(process.name)
        noticed = {process.name: math.inf if process.fed else process.backend.reset_at for process in self.processes}
        # Twice within a minute: until it is over these trust nothing, which `check` sees to.
        wary = {process.name for process in self.processes if process.cache._engine.marks.state == "behind"}  # noqa: SLF001
        for cut in self.oracle.undelivered:
            if cut.process in wary or (cut.seen_at == math.inf and noticed.get(cut.process, 0.0) < math.inf):
                continue  # the latter will be told by the mark that its next read carries
            if not any(map(self.store.live, cut.awaited)):
                continue  # the keys that came back have expired meanwhile
            # A process without a feed that asked nothing at that time cannot know.
            if noticed.get(cut.process, -math.inf) >= cut.undone_at:
                raise Wrong(f"{cut.process} never sent {cut.kind} {cut.awaited} again, which a failover had undone")
        for name in NAMES:
            for process in self.processes:
                await self.caller.get_name(process, name, ())
        for process in (*self.processes, *self._retired):
            stats = process.cache.stats
            for outcome, count in (("stale", stats.stale), ("rescued", stats.rescued), ("joined", stats.joined)):
                self.report.outcomes[outcome] = self.report.outcomes.get(outcome, 0) + count
            await process.cache.aclose()
            await process.backend.aclose()
        await asyncio.sleep(3.0)  # abandoned calls end, or are cancelled again
        self._nothing_is_left()

    def _nothing_is_left(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if tasks:
            raise Wrong(f"left over: {tasks[0]!r} and {len(tasks) - 1} more tasks")
        lasting = [key for key in self.store.lasting() if not key.startswith(("cc:s:n", MARK))]
        if lasting:
            raise Wrong(f"{lasting[0]} and {len(lasting) - 1} more keys are in the store for ever")
        for process in self.processes:
            engine = process.cache._engine  # noqa: SLF001
            state = engine.state()
            if engine.feed_state.tickets.under_way:
                gc.collect(1)  # they are held weakly, and an error's traceback may still hold one
            left = {
                "flights": len(state.flights),
                "computations": state.flights.tasks,
                "background": state.background,
                "tasks": len(state.tasks),
                "reads": state.coalescer.pending,
                "calls": engine.backend.under_way,
                "pending": len(engine.outbox),
                "waiting": len(state.wakeups),
                "tickets": engine.feed_state.tickets.under_way,
            }
            if any(left.values()):
                raise Wrong(f"{process.name}: left over: { ({name: n for name, n in left.items() if n}) }")
