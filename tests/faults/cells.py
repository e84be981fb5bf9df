"""The columns of the table: each call of a cache made once, in a cache of its own, and what it did in one word.

A row is one fault. All its cells share the store and the fault and nothing else: each has a namespace, connections and
breakers of its own, so that none learns from another's failure.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

from cachecore import Cache
from cachecore.contract.errors import InvalidationPending
from tests.faults.callers import PATIENT, answer, cache_at, request, until

Does = Literal["served", "default", "computes", "stores", "works", "finds nothing", "not stored", "raises"]
"""What a call does.

- `served`: it returns what was stored, and computes nothing.
- `default`: it finds nothing, and computes nothing.
- `computes`: it returns what the factory returned, which was called once; nothing is stored.
- `stores`: the same, and it is stored.
- `works`: it is acknowledged and says that it did what it is for.
- `finds nothing`: it is acknowledged and says that there was nothing.
- `not stored`: it says so. What was there is gone for this process, and for everybody once the store is well.
- `raises`: `InvalidationPending`. What was to go is gone for this process, and for everybody once the store is well.
"""

Row = dict[str, Does]
Wanted = Callable[[Cache[Any], str], bool]
"""Whether a row is about this key of this cache."""


def row(
    *, reads: Does, asks: Does, new: Does, sets: Does, deletes: Does, expire: Does, invalidates: Does, **others: Does
) -> Row:
    """Return what each column does, by groups that mostly do the same; `others` are those that do not.

    `asks` are for answers that are stored, `new` for answers that nobody has yet, or that are wanted anew.
    """
    cells: Row = {}
    for does, columns in (
        (reads, ("get", "get_many", "lookup")),
        (asks, ("get_or_set", "get_or_set_many")),
        (new, ("get_or_set_new", "get_or_set_many_new", "refresh")),
        (sets, ("set", "set_many")),
        (deletes, ("delete", "delete_many")),
        (expire, ("expire",)),
        (invalidates, ("invalidate_tags", "invalidate_prefix", "invalidate_all")),
    ):
        cells.update(dict.fromkeys(columns, does))
    assert set(others) <= set(cells)
    return cells | others


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that can be a key of a dict, with the key in the cache that `callers.request` has."""

    number: int

    def __cachecore_key__(self) -> Any:
        return request(self.number)


def hashable(number: int) -> _Asked:
    """Return request `number` as `set_many` takes it."""
    return _Asked(number)


def renewed(number: int) -> dict[str, Any]:
    """Return the answer to request `number` that takes the place of the old one."""
    return {**answer(number), "renewed": True}


class Cell:
    """One call in one cache, and what it did."""

    def __init__(self, column: str, url: str, options: dict[str, Any]) -> None:
        self.column = column
        self.url = url
        self._options = {"l1_max_entries": 0, "backend_timeout": 2, **options}
        self._tag = f"tag of {column}"
        self._must: dict[str, Any] = {"tags": [self._tag], "required": True}
        self._computed = 0
        self.did = "nothing yet"
        self.stored: list[int] = []
        """Requests that are stored before the fault."""
        self.new: list[int] = []
        """Requests to which nobody has an answer."""
        self.under: list[int] = []
        """Requests that are stored in the namespace below."""
        self.open()

    def open(self) -> None:
        """Begin with a cache that has not been used yet."""
        self.cache = cache_at(self.url, **self._options)
        self.view = self.cache.scoped(self.column)
        self.below = self.view.scoped("below")

    def choose(self, wanted: Wanted) -> None:
        """Choose requests that the row is about."""
        here = (number for number in itertools.count() if wanted(self.cache, self.view.key(request(number))))
        self.stored, self.new = list(itertools.islice(here, 3)), list(itertools.islice(here, 2))
        there = (number for number in itertools.count() if wanted(self.cache, self.below.key(request(number))))
        self.under = list(itertools.islice(there, 2))

    async def prepare(self, wanted: Wanted) -> None:
        """Store what the call is about, with patience: the first connection may take longer than a call may."""
        await insist(lambda: self.cache.set("connected", 1, required=True))
        self.choose(wanted)
        await insist(lambda: self.view.set_many({hashable(n): answer(n) for n in self.stored}, **self._must))
        await insist(lambda: self.below.set_many({hashable(n): answer(n) for n in self.under}, **self._must))

    async def act(self) -> None:
        """Make the call and note what it did; an error that it must not raise is noted, too."""
        stored, kept = self.cache.stats.stored, self._kept()
        try:
            async with asyncio.timeout(60):
                self.did = await getattr(self, self.column)()
                if self.did == "computes":
                    answers = 2 if "many" in self.column else 1
                    await until(lambda: self._kept() >= kept + answers)  # an answer is handed out before it is stored
                    self.did = self._how_it_computed(self.cache.stats.stored - stored)
        except InvalidationPending:
            self.did = "raises" if self.cache.stats.pending else "raises without anything pending"
        except Exception as error:
            self.did = repr(error)
        # Whatever it said, this process serves nothing old.
        served = [
            found for view, number in self._gone() if (found := await view.get(request(number))) == answer(number)
        ]
        if served:
            self.did += f", and {len(served)} old answers are served"

    def _kept(self) -> int:
        """Return how many answers were stored, or are known not to be."""
        stats = self.cache.stats
        return stats.stored + sum(stats.not_stored.values())

    def _how_it_computed(self, stored: int) -> str:
        wanted = 2 if "many" in self.column else 1
        if self._computed != 1:
            return f"computes {self._computed} times"
        return {0: "computes", wanted: "stores"}.get(stored, f"stores {stored} of {wanted}")

    def _gone(self) -> list[tuple[Cache[Any], int]]:
        """Return what must never be served again in its old form, once the call was made."""
        here = [(self.view, number) for number in self.stored]
        below = [(self.below, number) for number in self.under]
        match self.column:
            case "set" | "delete" | "expire" | "refresh":
                return here[:1] if self.did != "computes" else []
            case "set_many" | "delete_many":
                return here[:2]
            case "invalidate_tags" | "invalidate_all":
                return here + below
            case "invalidate_prefix":
                return below
        return []

    async def look_after(self) -> None:
        """Look whether, now that the store is well, it has what the call said, and tells another cache the same."""
        await until(lambda: self.cache.stats.pending == 0)
        async with cache_at(self.url, l1_max_entries=0, **PATIENT) as other:
            await insist(lambda: other.set("connected", 1, required=True))
            for asking in (self.cache, other):
                await self._look(asking.scoped(self.column))

    async def _look(self, view: Cache[Any]) -> None:
        renewing = (self.column.startswith("set") and self.did == "works") or self.did == "stores"
        for old, number in self._gone():
            found = await (view if old is self.view else view.scoped("below")).get(request(number))
            self._compare(found, renewed(number) if renewing else None)
        for number in self.new if self.column.endswith("new") else ():
            if self.column != "get_or_set_new" or number == self.new[0]:
                self._compare(await view.get(request(number)), renewed(number) if renewing else None)

    def _compare(self, found: object, right: object) -> None:
        if found != right:
            self.did += f", and then has {found!r:.40} for {right!r:.40}"

    # The columns

    async def get(self) -> str:
        return self._read(await self.view.get(request(self.stored[0])), answer(self.stored[0]))

    async def get_many(self) -> str:
        asked = {str(number): request(number) for number in (*self.stored, self.new[0])}
        found = await self.view.get_many(asked)
        return self._read(found or None, {str(number): answer(number) for number in self.stored})

    async def lookup(self) -> str:
        found = await self.view.lookup(request(self.stored[0]))
        assert (found.outcome, found.tier) in (("hit", "l2"), ("miss", None))
        return self._read(found.value, answer(self.stored[0]))

    def _read(self, found: object, right: object) -> str:
        assert found in (None, right), found
        return "default" if found is None else "served"

    async def get_or_set(self) -> str:
        return await self._ask(self.view.get_or_set, self.stored[0])

    async def get_or_set_new(self) -> str:
        return await self._ask(self.view.get_or_set, self.new[0])

    async def refresh(self) -> str:
        return await self._ask(self.view.refresh, self.stored[0])

    async def _ask(self, call: Callable[..., Awaitable[Any]], number: int) -> str:
        async def factory() -> dict[str, Any]:
            self._computed += 1
            return renewed(number)

        found = await call(request(number), factory)
        assert found in (answer(number), renewed(number)), found
        return "computes" if found == renewed(number) else "served"

    async def get_or_set_many(self) -> str:
        return await self._ask_many(self.stored[:2])

    async def get_or_set_many_new(self) -> str:
        return await self._ask_many(self.new)

    async def _ask_many(self, numbers: list[int]) -> str:
        async def factory(names: list[str]) -> dict[str, Any]:
            self._computed += 1
            return {name: renewed(int(name)) for name in names}

        found = await self.view.get_or_set_many({str(number): request(number) for number in numbers}, factory)
        old = {str(number): answer(number) for number in numbers}
        assert found in (old, {str(number): renewed(number) for number in numbers}), found
        return "served" if found == old else "computes"

    async def set(self) -> str:
        return self._set(await self.view.set(request(self.stored[0]), renewed(self.stored[0])))

    async def set_many(self) -> str:
        stored = await self.view.set_many({hashable(number): renewed(number) for number in self.stored[:2]})
        return self._set(all(stored))

    def _set(self, stored: bool) -> str:
        if stored:
            return "works"
        return "not stored" if self.cache.stats.pending else "not stored, and the old answer is left"

    async def delete(self) -> str:
        return "works" if await self.view.delete(request(self.stored[0])) else "finds nothing"

    async def delete_many(self) -> str:
        return self._counted(await self.view.delete_many([request(number) for number in self.stored[:2]]), 2)

    async def expire(self) -> str:
        return "works" if await self.view.expire(request(self.stored[0])) else "finds nothing"

    async def invalidate_tags(self) -> str:
        await self.view.invalidate_tags(self._tag)
        return "works"

    async def invalidate_prefix(self) -> str:
        return self._counted(await self.view.invalidate_prefix("below"), len(self.under))

    async def invalidate_all(self) -> str:
        return self._counted(await self.view.invalidate_all(), len(self.stored) + len(self.under))

    def _counted(self, count: int | None, wanted: int) -> str:
        return {wanted: "works", 0: "finds nothing"}.get(count or 0, f"finds {count} of {wanted}")


async def insist(call: Callable[[], Awaitable[object]]) -> None:
    """Make a write until it is acknowledged."""
    limit = time.monotonic() + 20
    while True:
        try:
            await call()
            return
        except InvalidationPending:
            assert time.monotonic() < limit
            await asyncio.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the calls of a row did, and why."""

    did: dict[str, str]
    reasons: set[str]
    """Reasons of the errors of the store, and of the entries that were rejected, meanwhile. What was not asked, because
    of earlier errors, is left out."""


def _reasons(caches: Sequence[Cache[Any]]) -> Counter[str]:
    counted = Counter[str]()
    for cache in caches:
        stats = cache.stats
        counted.update(stats.rejected)
        for name, number in stats.backend_errors.items():
            counted[name.partition(":")[2]] += number
    del counted["breaker_open"]
    return counted


def _any(cache: Cache[Any], key: str) -> bool:
    return True


async def outcomes(
    url: str,
    columns: Iterable[str],
    fault: Callable[[list[Cell]], AbstractContextManager[object]],
    *,
    wanted: Wanted = _any,
    heals: bool = True,
    at_rest: bool = False,
    settled: Callable[[], Awaitable[object]] | None = None,
    **options: Any,
) -> Seen:
    """Return what each call does while there is the fault, which begins with healthy caches in use.

    Once it is over, everything pending is delivered, and the store has what the calls said; unless it never `heals`,
    or there was no store to begin with. `settled` is awaited when the fault has begun. The `url` may be another one for
    each `{column}`. What happens to a store `at_rest` happens while nobody has it open.
    """
    cells = [Cell(column, url.format(column=column), options) for column in columns]
    try:
        if heals:
            await asyncio.gather(*(cell.prepare(wanted) for cell in cells))
        else:
            for cell in cells:
                cell.choose(wanted)
        if at_rest:
            for cell in cells:
                await cell.cache.aclose()
                cell.open()
        with fault(cells):
            if settled is not None:
                await settled()
            caches = [cell.cache for cell in cells]
            before = _reasons(caches)
            await asyncio.gather(*(cell.act() for cell in cells))
            reasons = set(_reasons(caches) - before)
        if heals:
            await asyncio.gather(*(cell.look_after() for cell in cells))
        return Seen({cell.column: cell.did for cell in cells}, reasons)
    finally:
        for cell in cells:
            await cell.cache.aclose()
