"""What the simulated processes ask of their caches: every public call, at random, each answer judged."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cachecore.bypassing import bypass
from cachecore.cache import Cache
from cachecore.errors import InvalidationPending
from cachecore.results import Computed, Lookup
from cachecore.testing.simulation_oracle import LATE_WRITE, Asked, Made, Oracle, Wrong
from cachecore.testing.simulation_store import SimulatedBackend

NAMESPACES: Final = ("", "a", "a/b", "c")
TAGS: Final = ("red", "blue")
PER_NAMESPACE: Final = 2
NAMES: Final = tuple(f"{namespace}:{number}" for namespace in NAMESPACES for number in range(PER_NAMESPACE))
FACTORY_TIMEOUT: Final = 2.0

Value = dict[str, Any]


class FactoryFailed(Exception):  # noqa: N818 - what happened
    """What simulated factories raise."""


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


class Caller:
    """Makes random calls in one simulation and judges what comes back.

    `isolated_at` tells when the store last failed a process.
    """

    def __init__(self, oracle: Oracle, chance: random.Random, now: Callable[[], float],
                 isolated_at: Callable[[Process], float], *, calm: bool) -> None:  # fmt: skip
        self.oracle = oracle
        self.chance = chance
        self.now = now
        self.isolated_at = isolated_at
        self.calm = calm
        self._popular = NAMES[0]
        self.slow: set[str] = set()
        """Names of which some factory took longer than it may."""
        reads: list[tuple[Callable[[Process], Awaitable[str]], int]] = [
            (self.get, 14), (self.get_or_set, 26), (self.lookup, 14), (self.get_many, 5), (self.get_or_set_many, 6),
            (self.peek, 4), (self.health, 1),
        ]  # fmt: skip
        writes: list[tuple[Callable[[Process], Awaitable[str]], int]] = [
            (self.refresh, 5), (self.set, 7), (self.set_since, 3), (self.set_many, 3), (self.delete, 7),
            (self.delete_many, 3), (self.expire, 3), (self.invalidate_tags, 8), (self.invalidate_prefix, 4),
            (self.invalidate_all, 2), (self.bypassed, 1),
        ]  # fmt: skip
        self._kinds = [kind for kind, _ in reads + writes]
        share = 0.0 if calm else chance.choice((0.2, 1.0))
        self._weights = [float(weight) for _, weight in reads] + [share * weight for _, weight in writes]
        self._failing = chance.choice((0.05, 0.35))

    def call(self) -> Callable[[Process], Awaitable[str]]:
        """Return a random call; it returns what came of it, for the trace."""
        return self.chance.choices(self._kinds, self._weights)[0]

    # What a call is made of

    def name(self) -> str:
        """Return a random name, mostly the one that is asked for by everybody just now."""
        if self.chance.random() < 0.08:
            self._popular = self.chance.choice(NAMES)
        return self._popular if self.chance.random() < 0.6 else self.chance.choice(NAMES)

    def some_tags(self) -> tuple[str, ...]:
        """Return tags for a call."""
        return () if self.calm else tuple(tag for tag in TAGS if self.chance.random() < 0.2)

    def value(self, made: Made) -> Value:
        """Return the value that stands for `made`: nobody else's, to be changed at will."""
        return {"name": made.name, "number": made.number, "text": made.name * 8}

    def judge(self, asked: Asked, process: Process, value: Any, **known: Any) -> None:
        """Judge an answer, then spoil the object: nobody else may notice."""
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
        if seconds >= FACTORY_TIMEOUT * 0.9:
            self.slow.add(asked.name)

        async def work() -> Any:
            self.oracle.computing(asked, batch=batch is not None)
            try:
                made = self.oracle.make(process.name, asked.name, (*asked.tags, *process.own_tags(asked.name)), ttl)
                together = [made] if batch is None else batch
                if batch is not None:
                    made.tags = {**(batch[0].tags if batch else {}), **made.tags}  # what is pinned holds for them all
                    batch.append(made)
                if pins:
                    await process.view(asked.name).pin_tag(tag)
                    pinned = self.oracle.moment()
                    for one in together:
                        one.tags.setdefault(tag, pinned)
                if inner is not None:
                    self.slow.add(asked.name)  # it may wait for another process's
                    await self._ask_inner(process, inner)
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

    async def _ask_inner(self, process: Process, name: str) -> None:
        try:
            await self._get_or_set(process, name, ())
        except (FactoryFailed, TimeoutError) as error:
            raise FactoryFailed(name) from error

    def allowed(self, error: Exception, name: str) -> str:
        """Return the name of an error that a factory may have caused. Raises `Wrong` for any other."""
        if isinstance(error, FactoryFailed) or (isinstance(error, TimeoutError) and name in self.slow):
            return type(error).__name__
        raise Wrong(f"a call for {name} raised {error!r}") from error

    # Reading

    async def get(self, process: Process) -> str:
        """`get`."""
        name, tags = self.name(), self.some_tags()
        return await self._get(process, name, tags)

    async def _get(self, process: Process, name: str, tags: tuple[str, ...]) -> str:
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
        names = self._names_of_one_view()
        asked = {name: self.oracle.ask(process.name, name) for name in names}
        found = await process.view(names[0]).get_many({name: request_of(name) for name in names})
        for name, value in found.items():
            self.judge(asked[name], process, value, outcome="hit")
        return f"{len(found)} of {len(names)}"

    async def get_or_set_many(self, process: Process) -> str:
        """`get_or_set_many`."""
        names, tags = self._names_of_one_view(), self.some_tags()
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

    def _names_of_one_view(self) -> list[str]:
        namespace = self.chance.choice(NAMESPACES)
        return [f"{namespace}:{number}" for number in range(PER_NAMESPACE)]

    def _in_time(self, asked: Asked, call: str, most: float) -> None:
        if self.now() - asked.at > most and not self.stalled_since(asked.at):
            raise Wrong(f"{asked.process}: {call} of {asked.name} took {self.now() - asked.at:.3f} s")

    stalled_at = -math.inf
    """Second at which the loop last stood still."""

    def stalled_since(self, second: float) -> bool:
        """Whether the loop has stood still since `second`."""
        return self.stalled_at >= second

    # Writing

    async def refresh(self, process: Process) -> str:
        """`refresh`."""
        name, tags = self.name(), self.some_tags()
        asked = self.oracle.ask(process.name, name, tags)
        try:
            value = await process.view(name).refresh(
                request_of(name), self.factory(process, asked, process.ttl), tags=tags
            )
        except Exception as error:  # noqa: BLE001 - judged
            return self.allowed(error, name)
        self.judge(asked, process, value, outcome=None, started_after=asked.moment)
        return "computed"

    async def set(self, process: Process) -> str:
        """`set`."""
        return await self._set(process, [self.name()], None)

    async def set_many(self, process: Process) -> str:
        """`set_many`."""
        return await self._set(process, self._names_of_one_view(), None)

    async def set_since(self, process: Process) -> str:
        """`lookup`, then `set(since=…)`."""
        name = self.name()
        asked = self.oracle.ask(process.name, name)
        seen = await process.view(name).lookup(request_of(name))
        if seen.tier == "l1":
            return "l1"
        await asyncio.sleep(0.01 * self.chance.random())
        return await self._set(process, [name], seen, asked)

    async def _set(
        self, process: Process, names: Sequence[str], since: Lookup[Value] | None, began: Asked | None = None
    ) -> str:
        tags, view = self.some_tags() if since is None else (), process.view(names[0])
        asked = began or self.oracle.ask(process.name, names[0], tags)
        written = {}
        for name in names:
            made = written[name] = self.oracle.make(process.name, name, (), process.ttl)
            made.old_from = math.inf  # until its writer knows that it is there, it is as new as can be
            made.tags = dict.fromkeys((*tags, *process.own_tags(name)), math.inf)
        pending, stored = False, True
        try:
            if since is not None:
                stored = await view.set(request_of(names[0]), self.value(written[names[0]]), since=since)
            elif len(names) == 1:
                await view.set(request_of(names[0]), self.value(written[names[0]]), tags=tags)
            else:
                await view.set_many({request_of(name): self.value(written[name]) for name in names}, tags=tags)
        except InvalidationPending:
            pending = True
        moment = self.oracle.moment()
        for made in written.values():
            if pending:
                made.unsure_until = self.now() + LATE_WRITE
            else:
                made.at = self.now()
            made.old_from = moment
            made.tags = dict.fromkeys(made.tags, moment)
        if not stored:
            return "not stored"
        self._cut(process, asked, "set", names, pending)
        return "pending" if pending else "stored"

    async def delete(self, process: Process) -> str:
        """`delete`."""
        return await self._delete(process, [self.name()])

    async def delete_many(self, process: Process) -> str:
        """`delete_many`."""
        return await self._delete(process, self._names_of_one_view())

    async def _delete(self, process: Process, names: Sequence[str]) -> str:
        asked = self.oracle.ask(process.name, names[0])
        pending = False
        try:
            await process.view(names[0]).delete_many([request_of(name) for name in names])
        except InvalidationPending:
            pending = True
        self._cut(process, asked, "delete", names, pending)
        return "pending" if pending else "deleted"

    async def expire(self, process: Process) -> str:
        """`expire`."""
        name = self.name()
        asked = self.oracle.ask(process.name, name)
        pending, done = False, False
        try:
            done = await process.view(name).expire(request_of(name))
        except InvalidationPending:
            pending = True
        if done or pending:
            self._cut(process, asked, "delete" if pending else "expire", [name], pending)
        return "pending" if pending else str(done)

    def _cut(self, process: Process, asked: Asked, kind: str, names: Sequence[str], pending: bool) -> None:
        keys = [process.view(name).key(request_of(name)) for name in names]
        groups = process.view(names[0])._scope.parents()  # noqa: SLF001 - as below
        above = [name for group in groups for name in group]
        self.oracle.cut(asked, kind, [f"key:{name}" for name in names], keys, above, pending=pending)

    async def invalidate_tags(self, process: Process) -> str:
        """`invalidate_tags`."""
        tags = [self.chance.choice((*TAGS, "view"))]
        view = self.chance.choice(list(process.views.values()))
        return await self._invalidate(
            process, view.invalidate_tags(*tags), "tag", [f"tag:{tag}" for tag in tags], [f"t/{tag}" for tag in tags]
        )

    async def invalidate_prefix(self, process: Process) -> str:
        """`invalidate_prefix`."""
        namespace = self.chance.choice(NAMESPACES[1:])
        call = process.cache.invalidate_prefix(namespace)
        return await self._invalidate(process, call, "namespace", [f"namespace:{namespace}"], [f"n/{namespace}"])

    async def invalidate_all(self, process: Process) -> str:
        """`invalidate_all`."""
        return await self._invalidate(process, process.cache.invalidate_all(), "namespace", ["namespace:"], ["n"])

    async def _invalidate(
        self, process: Process, call: Awaitable[Any], kind: str, targets: Sequence[str], stored: Sequence[str]
    ) -> str:
        asked = self.oracle.ask(process.name, "")
        pending = False
        keys = process.cache._scope.stamp_keys(stored)  # noqa: SLF001 - as below
        try:
            await call
        except InvalidationPending:
            pending = True
        scope = process.cache._scope  # noqa: SLF001 - what the store will be asked to delete
        above = ["n"]
        while kind == "namespace" and "/" in stored[0]:
            stored = [stored[0].rpartition("/")[0]]
            above.append(stored[0])
        self.oracle.cut(asked, kind, targets, keys, scope.stamp_keys(above), pending=pending)
        return "pending" if pending else "done"
