"""The writing calls of a simulation, and the choice among all calls."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from cachecore.contract.errors import InvalidationPending
from cachecore.contract.results import Lookup
from cachecore.invalidation.outbox.backlog import Invalidation
from cachecore.testing.simulation.calls import NAMESPACES, TAGS, Process, Value, request_of
from cachecore.testing.simulation.oracle import LATE_WRITE, Asked, Oracle
from cachecore.testing.simulation.streams import Streams


class Caller(Streams):
    """Makes random calls in one simulation and judges their results; see `Calls`."""

    def __init__(self, oracle: Oracle, chance: random.Random, now: Callable[[], float],
                 isolated_at: Callable[[Process], float], *, calm: bool, streams: bool = False) -> None:  # fmt: skip
        super().__init__(oracle, chance, now, isolated_at, calm=calm)
        reads: list[tuple[Callable[[Process], Awaitable[str]], int]] = [
            (self.get, 14), (self.get_or_set, 26), (self.lookup, 14), (self.get_many, 5), (self.get_or_set_many, 6),
            (self.peek, 4), (self.health, 1),
        ]  # fmt: skip
        writes: list[tuple[Callable[[Process], Awaitable[str]], int]] = [
            (self.refresh, 5), (self.set, 7), (self.set_since, 3), (self.set_many, 3), (self.delete, 7),
            (self.delete_many, 3), (self.expire, 3), (self.invalidate_tags, 8), (self.invalidate_prefix, 4),
            (self.invalidate_all, 2), (self.bypassed, 1),
        ]  # fmt: skip
        if streams:  # not in every history, and last: the others' histories stay as they are
            reads.append((self.stream, 100 if calm else 25))
        self._kinds = [kind for kind, _ in reads + writes]
        share = 0.0 if calm else chance.choice((0.2, 1.0))
        self._weights = [float(weight) for _, weight in reads] + [share * weight for _, weight in writes]

    def call(self) -> Callable[[Process], Awaitable[str]]:
        """Return a random call; it returns its outcome, for the trace."""
        return self.chance.choices(self._kinds, self._weights)[0]

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
        return await self._set(process, self.names_of_one_view(), None)

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
        before = list(process.cache._engine.outbox._waiting)  # noqa: SLF001 - as below
        try:
            if since is not None:
                stored = await view.set(request_of(names[0]), self.value(written[names[0]]), since=since, required=True)
            elif len(names) == 1:
                await view.set(request_of(names[0]), self.value(written[names[0]]), tags=tags, required=True)
            else:
                values = {request_of(name): self.value(written[name]) for name in names}
                await view.set_many(values, tags=tags, required=True)
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
        gone = self._owed(process, names, before) if pending else names
        if gone:
            self._cut(process, asked, "set", gone, pending)
        return "pending" if pending else "stored"

    def _owed(self, process: Process, names: Sequence[str], before: Collection[Invalidation]) -> list[str]:
        """Return the names with old answers to be deleted because the new ones could not be stored.

        `before`: the invalidations that pended before.
        """
        view = process.view(names[0])
        above = [name for group in view._scope.parents() for name in group]  # noqa: SLF001 - as below
        backlog = process.cache._engine.outbox._waiting  # noqa: SLF001 - as below
        return [
            name
            for name in names
            if any(
                item.was is None and item not in before for item in backlog.named([view.key(request_of(name)), *above])
            )
        ]

    async def delete(self, process: Process) -> str:
        """`delete`."""
        return await self._delete(process, [self.name()])

    async def delete_many(self, process: Process) -> str:
        """`delete_many`."""
        return await self._delete(process, self.names_of_one_view())

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
        scope = process.cache._scope  # noqa: SLF001 - for the names of the stamps
        above = ["n"]
        while kind == "namespace" and "/" in stored[0]:
            stored = [stored[0].rpartition("/")[0]]
            above.append(stored[0])
        self.oracle.cut(asked, kind, targets, keys, scope.stamp_keys(above), pending=pending)
        return "pending" if pending else "done"
