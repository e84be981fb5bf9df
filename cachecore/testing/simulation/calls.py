"""Parts of the calls of simulated processes: names, tags, factories with random behaviour, and a judge."""

from __future__ import annotations

import asyncio
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cachecore.api.cache import Cache
from cachecore.contract.results import Computed
from cachecore.testing.simulation.network import SimulatedBackend
from cachecore.testing.simulation.oracle import Asked, Made, Oracle, Wrong

NAMESPACES: Final = ("", "a", "a/b", "c")
TAGS: Final = ("red", "blue")
PER_NAMESPACE: Final = 2
NAMES: Final = tuple(f"{namespace}:{number}" for namespace in NAMESPACES for number in range(PER_NAMESPACE))
FACTORY_TIMEOUT: Final = 2.0

Value = dict[str, Any]


class FactoryFailed(Exception):  # noqa: N818 - named after the event
    """The exception of simulated factories."""


@dataclass(slots=True, eq=False)
class Process:
    """One process: a cache, its views, and its way to the store."""

    name: str
    cache: Cache[Value]
    views: Mapping[str, Cache[Value]]
    backend: SimulatedBackend
    fed: bool
    ttl: float
    dead: bool = False

    def view(self, name: str) -> Cache[Value]:
        """Return the view in which `name` lives."""
        return self.views[name.rpartition(":")[0]]

    def own_tags(self, name: str) -> tuple[str, ...]:
        """Return the tags that every value of `name` carries."""
        return ("view",) if name.startswith("c:") else ()


def request_of(name: str) -> str:
    """Return the request that `name` stands for in its namespace."""
    return "question " + name.rpartition(":")[2]


class Calls(ABC):
    """Parts of random calls in one simulation, and the judgement of their results.

    `isolated_at` tells when the store last failed a process.
    """

    def __init__(self, oracle: Oracle, chance: random.Random, now: Callable[[], float],
                 isolated_at: Callable[[Process], float], *, calm: bool) -> None:  # fmt: skip
        self.oracle = oracle
        self.chance = chance
        self.now = now
        self.isolated_at = isolated_at
        self.calm = calm
        self.stalled_at = -math.inf
        """Second at which the loop last stood still."""
        self._popular = NAMES[0]
        self.slow: set[str] = set()
        """Names of which some factory took longer than it may."""
        self._failing = chance.choice((0.05, 0.35))

    def name(self) -> str:
        """Return a random name, mostly the one that is asked for by everybody just now."""
        if self.chance.random() < 0.08:
            self._popular = self.chance.choice(NAMES)
        return self._popular if self.chance.random() < 0.6 else self.chance.choice(NAMES)

    def some_tags(self) -> tuple[str, ...]:
        """Return tags for a call."""
        return () if self.calm else tuple(tag for tag in TAGS if self.chance.random() < 0.2)

    def value(self, made: Made) -> Value:
        """Return a new object that stands for `made`; the caller may change it."""
        return {"name": made.name, "number": made.number, "text": made.name * 8}

    def judge(self, asked: Asked, process: Process, value: Any, **known: Any) -> None:
        """Judge an answer, then spoil the object: no other caller may notice."""
        self.oracle.check(asked, value, isolated_at=self.isolated_at(process), **known)
        value["name"] = "spoiled"

    def factory(
        self, process: Process, asked: Asked, ttl: float, batch: list[Made] | None = None
    ) -> Callable[[], Awaitable[Any]]:
        """Return a factory for the call `asked`, with a mind of its own: part of one that makes a `batch`, or alone."""
        draw = self.chance.random
        seconds = 0.08 * draw() ** 2 if draw() < 0.9 else 0.7 * draw() if draw() < 0.8 else FACTORY_TIMEOUT * 2 * draw()
        fails, pins, refuses, late = draw() < self._failing, draw() < 0.2, draw() < 0.05, draw() < 0.1
        nested = batch is None and draw() < 0.1
        tag = self.chance.choice(TAGS)
        further = [name for name in NAMES if name > asked.name]
        inner = self.chance.choice(further) if nested and further else None
        if seconds >= FACTORY_TIMEOUT * 0.7:
            self.slow.add(asked.name)

        async def work() -> Any:
            self.oracle.computing(asked, batch=batch is not None)
            try:
                made = self.oracle.make(process.name, asked.name, (*asked.tags, *process.own_tags(asked.name)), ttl)
                together = [made]
                if batch is not None:
                    made.tags = {**(batch[0].tags if batch else {}), **made.tags}  # pinned tags hold for them all
                    batch.append(made)
                    together = [*batch]  # another round may clear it meanwhile
                if pins:
                    await process.view(asked.name).pin_tag(tag)
                    pinned = self.oracle.moment()
                    for one in together:
                        one.tags.setdefault(tag, pinned)
                if inner is not None:
                    self.slow.add(asked.name)  # it may wait for another process's
                    await self.ask_inner(process, inner)
                await asyncio.sleep(seconds)
                if fails:
                    self.oracle.failed(process.name, made)
                    raise FactoryFailed(asked.name)
                made.at = self.now()
                value = self.value(made)
                if refuses:
                    return Computed(value, store=False)
                if late:
                    made.late_tags = (tag,)
                    return Computed(value, tags=(tag,))
                return value
            finally:
                self.oracle.computed(asked)

        return work

    def stalled_since(self, second: float) -> bool:
        """Whether the loop has stood still since `second`."""
        return self.stalled_at >= second

    @abstractmethod
    async def ask_inner(self, process: Process, name: str) -> None:
        """Ask for another name from within a factory. Raises FactoryFailed."""

    def allowed(self, error: Exception, name: str) -> str:
        """Return the name of an error that a factory may have caused. Raises `Wrong` for any other."""
        late = name in self.slow or self.stalled_since(self.now() - 2 * FACTORY_TIMEOUT)
        if isinstance(error, FactoryFailed) or (isinstance(error, TimeoutError) and late):
            return type(error).__name__
        raise Wrong(f"a call for {name} raised {error!r}") from error
