"""The reading calls of a simulation: each asks at random, and judges what it gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cachecore.engine.bypass import bypass
from cachecore.testing.simulation.calls import (
    FACTORY_TIMEOUT,
    NAMESPACES,
    PER_NAMESPACE,
    Calls,
    FactoryFailed,
    Process,
    request_of,
)
from cachecore.testing.simulation.oracle import Asked, Made, Wrong


class Reads(Calls):
    """The calls that leave things as they are, unless something is computed."""

    async def get(self, process: Process) -> str:
        """`get`."""
        name, tags = self.name(), self.some_tags()
        return await self.get_name(process, name, tags)

    async def get_name(self, process: Process, name: str, tags: tuple[str, ...]) -> str:
        """`get` of one name."""
        asked = self.oracle.ask(process.name, name, tags)
        value = await process.view(name).get(request_of(name), tags=tags)
        self._in_time(asked, "get", 0.6)
        if value is None:
            return "miss"
        number = value["number"]
        self.judge(asked, process, value, outcome="hit")
        return f"hit {number}"

    async def get_or_set(self, process: Process) -> str:
        """`get_or_set`."""
        return await self._get_or_set(process, self.name(), self.some_tags())

    async def _get_or_set(self, process: Process, name: str, tags: tuple[str, ...]) -> str:
        asked = self.oracle.ask(process.name, name, tags)
        ttl = process.ttl * self.chance.choice((1, 1, 2))
        try:
            value = await process.view(name).get_or_set(
                request_of(name), self.factory(process, asked, ttl), ttl=ttl, tags=tags
            )
        except Exception as error:  # noqa: BLE001 - judged
            return self.allowed(error, name)
        self._in_time(asked, "get_or_set", 6 * FACTORY_TIMEOUT)
        number = value["number"]
        self.judge(asked, process, value, outcome=None)
        return f"got {number}"

    async def lookup(self, process: Process) -> str:
        """`lookup`, with a factory or without."""
        name, tags = self.name(), self.some_tags()
        asked = self.oracle.ask(process.name, name, tags)
        factory = self.factory(process, asked, process.ttl) if self.chance.random() < 0.7 else None
        try:
            found = await process.view(name).lookup(
                request_of(name), factory, tags=tags, stale=self.chance.random() < 0.2
            )
        except Exception as error:  # noqa: BLE001 - judged
            return self.allowed(error, name)
        if found.value is None:
            return "miss"
        number = found.value["number"]
        prompt = found.tier == "l2" and not process.fed and found.outcome != "computed"
        outcome = "hit" if found.outcome in ("hit", "computed") else found.outcome
        self.judge(asked, process, found.value, outcome=outcome, prompt=prompt)
        return f"{found.outcome} {number}"

    async def get_many(self, process: Process) -> str:
        """`get_many`."""
        names = self.names_of_one_view()
        asked = {name: self.oracle.ask(process.name, name) for name in names}
        found = await process.view(names[0]).get_many({name: request_of(name) for name in names})
        for name, value in found.items():
            self.judge(asked[name], process, value, outcome="hit")
        return f"{len(found)} of {len(names)}"

    async def get_or_set_many(self, process: Process) -> str:
        """`get_or_set_many`."""
        names, tags = self.names_of_one_view(), self.some_tags()
        asked = {name: self.oracle.ask(process.name, name, tags) for name in names}
        left_out = self.chance.random() < 0.1
        batch: list[Made] = []
        factories = {name: self.factory(process, one, process.ttl, batch) for name, one in asked.items()}

        async def many(wanted: list[str]) -> Mapping[str, Any]:
            batch.clear()  # a second round is a computation of its own
            values = {name: await factories[name]() for name in wanted}
            for made in batch:
                made.at = self.now()  # stored together
            if left_out:
                del values[wanted[-1]]
            return values

        self.slow.update(names)  # one after the other they may take longer than one may
        try:
            found = await process.view(names[0]).get_or_set_many(
                {name: request_of(name) for name in names}, many, tags=tags
            )
        except Exception as error:  # noqa: BLE001 - judged
            return self.allowed(error, names[0])
        for name, value in found.items():
            self.judge(asked[name], process, value, outcome=None)
        return f"{len(found)} of {len(names)}"

    async def peek(self, process: Process) -> str:
        """`peek`."""
        name = self.name()
        asked = self.oracle.ask(process.name, name)
        value = process.view(name).peek(request_of(name))
        if value is None:
            return "miss"
        self.judge(asked, process, value, outcome="hit")
        return "hit"

    async def bypassed(self, process: Process) -> str:
        """`get_or_set` inside `bypass`."""
        name = self.name()
        asked = self.oracle.ask(process.name, name)
        with bypass():
            try:
                value = await process.view(name).get_or_set(request_of(name), self.factory(process, asked, process.ttl))
            except Exception as error:  # noqa: BLE001 - judged
                return self.allowed(error, name)
        self.judge(asked, process, value, outcome=None, started_after=asked.moment)
        return "computed"

    async def health(self, process: Process) -> str:
        """`health`."""
        return str((await process.cache.health())["store"])

    def names_of_one_view(self) -> list[str]:
        """Return the names of one random view."""
        namespace = self.chance.choice(NAMESPACES)
        return [f"{namespace}:{number}" for number in range(PER_NAMESPACE)]

    def _in_time(self, asked: Asked, call: str, most: float) -> None:
        if self.now() - asked.at > most and not self.stalled_since(asked.at):
            raise Wrong(f"{asked.process}: {call} of {asked.name} took {self.now() - asked.at:.3f} s")

    async def ask_inner(self, process: Process, name: str) -> None:
        """`get_or_set`, within a factory."""
        try:
            await self._get_or_set(process, name, ())
        except (FactoryFailed, TimeoutError) as error:
            raise FactoryFailed(name) from error
