"""The streaming calls of a simulation: producers that cut, hang and pause; readers that lag, leave and come late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from cachecore.contract.errors import StreamLagged
from cachecore.testing.simulation.calls import FACTORY_TIMEOUT, NAMES, TAGS, FactoryFailed, Process, Value, request_of
from cachecore.testing.simulation.oracle import Asked, Wrong
from cachecore.testing.simulation.reads import Reads

PARTS: Final = 8
"""Chunks of every value: its text repeats its name so often."""

Part = dict[str, Any]


class Streams(Reads):
    """Calls for answers in chunks."""

    shortest_buffer = 1000
    """The smallest buffer of chunks that a cache of this simulation has."""

    async def stream(self, process: Process) -> str:
        """`stream`, read to its end, slowly or not; or left before."""
        draw = self.chance.random
        name, tags = self.name(), self.some_tags()
        asked = self.oracle.ask(process.name, name, tags)
        ttl = process.ttl * self.chance.choice((1, 1, 2))
        pause = 0.0 if draw() < 0.7 else 0.2 * draw()
        most = PARTS if draw() < 0.8 else self.chance.randrange(1, PARTS)
        stream = process.view(name).stream(
            request_of(name), self._producer(process, asked, ttl),
            assemble=assembled, replay=replayed, ttl=ttl, tags=tags,
        )  # fmt: skip
        read = 0
        number: int | None = None
        try:
            async with stream:
                async for part in stream:
                    if number is None:
                        number = self._first(process, asked, part, stream.lookup.outcome if stream.lookup else "")
                    self._follows(asked, part, number, read)
                    read += 1
                    if read == most < PARTS:
                        return f"left {number}"
                    if pause:
                        await asyncio.sleep(pause)
        except StreamLagged:
            if self.shortest_buffer >= PARTS:
                raise Wrong(f"a reader of {name} lagged, and the buffer holds the whole stream") from None
            return f"lagged {number}"
        except Exception as error:
            if isinstance(error, Wrong):
                raise
            return self.allowed(error, name) + (" midway" if read else "")
        if read != PARTS:
            raise Wrong(f"{process.name} got {read} of {PARTS} parts of value {number} of {name}, and an end")
        return f"{stream.lookup.outcome if stream.lookup else ''} {number}"

    def _first(self, process: Process, asked: Asked, part: Part, outcome: str) -> int:
        """Judge the value of a stream by its first chunk: later chunks were begun no later."""
        self._in_time(asked, "the first chunk", 6 * FACTORY_TIMEOUT)
        number: int = part["number"]
        value = {"name": part["name"], "number": number, "text": part["text"] * PARTS}
        judged = {"computed": None, "hit": "hit"}.get(outcome, outcome)
        # A process without a feed has read the store before it joined, if that answers: it must know of every cut.
        isolated_at = self.isolated_at(process)
        prompt = outcome == "computed" and not process.fed and isolated_at < asked.at
        self.oracle.check(asked, value, outcome=judged, prompt=prompt, isolated_at=isolated_at)
        return number

    def _follows(self, asked: Asked, part: Part, number: int, place: int) -> None:
        """Judge that a chunk is the next one of its stream; then spoil it: no other reader may notice."""
        if part != {"name": asked.name, "number": number, "part": place, "text": asked.name}:
            raise Wrong(f"{asked.process} reads {asked.name}: {part!r} instead of part {place} of value {number}")
        part["name"] = "spoiled"

    def _producer(self, process: Process, asked: Asked, ttl: float) -> Callable[[], AsyncIterator[Part]]:
        """Return a factory of chunks for the call `asked`, with a mind of its own."""
        draw = self.chance.random
        gap = 0.02 * draw() ** 2 if draw() < 0.7 else 0.4 * draw()
        fails_at = self.chance.randrange(PARTS + 1) if draw() < self._failing else None
        hangs_at = self.chance.randrange(PARTS) if draw() < 0.03 else None
        pins, nested = draw() < 0.2, draw() < 0.1
        tag = self.chance.choice(TAGS)
        further = [name for name in NAMES if name > asked.name]
        inner = self.chance.choice(further) if nested and further else None
        self.slow.add(asked.name)  # a gap may be as long as it likes; together they are longer than one may be

        async def produce() -> AsyncIterator[Part]:
            stream = self.oracle.streaming(asked)
            try:
                made = self.oracle.make(process.name, asked.name, (*asked.tags, *process.own_tags(asked.name)), ttl)
                if pins:
                    stream.tags.add(tag)
                    await process.view(asked.name).pin_tag(tag)
                    made.tags.setdefault(tag, self.oracle.moment())
                if inner is not None:
                    await self.ask_inner(process, inner)
                for part in range(PARTS):
                    await asyncio.sleep(2.5 * FACTORY_TIMEOUT if part == hangs_at else gap)
                    if part == fails_at:
                        raise FactoryFailed(asked.name)
                    yield {"name": asked.name, "number": made.number, "part": part, "text": asked.name}
                if fails_at == PARTS:  # after the last chunk: nothing tells that it was the last
                    raise FactoryFailed(asked.name)
                made.at = self.now()
            finally:
                self.oracle.streamed(asked, stream)

        return produce


def assembled(parts: list[Part]) -> Value:
    """Return the value that its parts make."""
    return {"name": parts[0]["name"], "number": parts[0]["number"], "text": "".join(part["text"] for part in parts)}


def replayed(value: Value) -> Iterator[Part]:
    """Return the parts of a value."""
    size = len(value["text"]) // PARTS
    for part in range(PARTS):
        text = value["text"][part * size : (part + 1) * size]
        yield {"name": value["name"], "number": value["number"], "part": part, "text": text}
