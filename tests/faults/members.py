"""What the processes of a group do in these tests; each function runs in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import math
import mmap
import random
import time
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

from cachecore import Cache
from cachecore.contract.errors import InvalidationPending
from cachecore.testing.audit import Journal
from tests.faults.callers import PATIENT, answer, cache_at, request
from tests.faults.processes import told

WIDTH = 8


class Source:
    """What answers are computed from: a version for each key, in memory that all processes share.

    A view of whole numbers is written and read 8 bytes at once; `struct.pack_into` would write zeros first, which
    another process may take for a version.
    """

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._versions = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

    def __getitem__(self, key: int) -> int:
        return self._versions[key]

    def __setitem__(self, key: int, version: int) -> None:
        self._versions[key] = version


def counter(pipe: Connection, path: str) -> None:
    """Let the first version grow by one, again and again, until the second is written; tell how far it has grown."""
    source, version = Source(path), 0
    pipe.send("ready")
    while not source[1]:
        version += 1
        source[0] = version
    pipe.send(version)


def deleter(pipe: Connection, url: str) -> None:
    """Delete the requests whose numbers come, one after the other; tell when each was acknowledged."""

    async def main() -> None:
        async with cache_at(url, **PATIENT) as cache:
            pipe.send("ready")
            while (numbers := await told(pipe)) is not None:
                acknowledged = []
                for number in numbers:
                    await cache.delete(request(number))
                    acknowledged.append(time.monotonic())
                pipe.send(acknowledged)

    asyncio.run(main())


def patient_callers(pipe: Connection, url: str, callers: int, factory_seconds: float, options: dict[str, Any]) -> None:
    """Ask for one key with many callers once told to; tell of the factory's start, and how long each waited."""

    async def main() -> None:
        async with cache_at(url, **{**PATIENT, **options}) as cache:
            await cache.get(request(0))  # connected
            pipe.send("ready")
            await told(pipe)
            calls = 0

            async def factory() -> dict[str, Any]:
                nonlocal calls
                calls += 1
                pipe.send("computing")
                await asyncio.sleep(factory_seconds)
                return answer(1)

            async def caller() -> float:
                began = time.monotonic()
                assert await cache.get_or_set(request(1), factory) == answer(1)
                return time.monotonic() - began

            waited = await asyncio.gather(*(caller() for _ in range(callers)))
            pipe.send((calls, max(waited), time.monotonic()))
            await told(pipe)

    asyncio.run(main())


class Auditor:
    """A process that reads all keys and writes its own, and keeps a journal of it."""

    def __init__(self, cache: Cache[Any], source: Source, own: list[int], keys: int, chance: random.Random) -> None:
        self.cache, self.source, self.own, self.keys, self.chance = cache, source, own, keys, chance
        self.journal = Journal()
        self.raised = Journal()
        self.problems: Counter[str] = Counter()
        self.pending = 0
        self.going = True
        self._writing: set[int] = set()

    async def read(self, key: int) -> int:
        """Ask for a key; its factory takes a moment, as reading a database would."""

        async def factory() -> dict[str, int]:
            version = self.source[key]
            await asyncio.sleep(self.chance.random() * 0.002)
            return {"key": key, "version": version}

        began = time.monotonic()
        got = await self.cache.get_or_set({"key": key}, factory, tags=[f"of {key}"])
        if got["key"] != key:
            self.problems[f"the answer to {key} is that of {got['key']}"] += 1
        self.journal.read(key, got["version"], began, time.monotonic())
        version: int = got["version"]
        return version

    async def write(self, key: int) -> None:
        """Change the source, then tell the cache, in one of its ways."""
        if key in self._writing:
            return
        self._writing.add(key)
        try:
            began = time.monotonic()
            version = self.source[key] + 1
            self.source[key] = version
            try:
                match self.chance.randrange(4):
                    case 0:
                        await self.cache.invalidate_tags(f"of {key}")
                    case 1:
                        made = {"key": key, "version": version}
                        await self.cache.set({"key": key}, made, tags=[f"of {key}"], required=True)
                    case _:
                        await self.cache.delete({"key": key})
                acknowledged = time.monotonic()
            except InvalidationPending:
                self.pending += 1
                acknowledged = math.inf
                self.raised.wrote(key, version, began, time.monotonic())
            self.journal.wrote(key, version, began, acknowledged)
        finally:
            self._writing.discard(key)

    async def load(self, share_of_writes: float, pause: float) -> None:
        """Read and write at random until told to stop."""
        while self.going:
            try:
                if self.chance.random() < share_of_writes:
                    await self.write(self.chance.choice(self.own))
                else:
                    # Most readers want the same few keys.
                    await self.read(int(self.keys * self.chance.random() ** 3))
            except Exception as error:
                self.problems[repr(error)[:200]] += 1
            await asyncio.sleep(pause * self.chance.random())

    async def at_rest(self) -> list[int]:
        """Return the keys whose answer is not what the source has, now that nobody writes."""
        return [key for key in range(self.keys) if await self.read(key) != self.source[key]]


def auditor(
    pipe: Connection,
    url: str,
    path: str,
    number: int,
    group: int,
    keys: int,
    callers: int,
    share_of_writes: float,
    pause: float,
) -> None:
    """Be one of a group: `rest` ends the load, `check` tells which keys are stale, `end` sends the journal."""

    async def main() -> None:
        chance = random.Random(number)
        source = Source(path)
        async with cache_at(url, ttl=3600) as cache:
            own = [key for key in range(keys) if key % group == number]
            me = Auditor(cache, source, own, keys, chance)
            pipe.send("ready")
            await told(pipe)
            load = [asyncio.ensure_future(me.load(share_of_writes, pause)) for _ in range(callers)]
            while (word := await told(pipe, 3600)) != "end":
                if word == "rest":
                    me.going = False
                    await asyncio.gather(*load)
                elif word == "check":
                    pipe.send((cache.stats.pending, await me.at_rest()))
                    continue
                pipe.send((len(me.journal._reads) // 4, len(me.journal._writes) // 4))
            pipe.send_bytes(me.journal.to_bytes())
            pipe.send_bytes(me.raised.to_bytes())
            pipe.send((dict(me.problems), me.pending))
            await told(pipe)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
