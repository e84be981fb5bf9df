"""The way of a call that wants events as they come.

The chunks that callers share are bytes, one event each, so that no reader can change the events of another; before the
first of them comes a chunk that names the provider. Fields for one caller only are taken out before, and filled in
from the caller's own request afterwards.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import aclosing
from typing import Self

from cachecore import Computed, Stream
from cachecore_llm.errors import NotCachedError
from cachecore_llm.flow import first, ladder
from cachecore_llm.flow.answers import Answer
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.calls import Calls
from cachecore_llm.flow.freshness import acceptable
from cachecore_llm.flow.readers import frame_of
from cachecore_llm.flow.stored import StoredAnswer, packed
from cachecore_llm.flow.whole import STATUS
from cachecore_llm.response import CacheStatus
from cachecore_llm.similar.shadow import ShadowCheck
from cachecore_llm.wire import Call, JsonObject, RequestFacts
from cachecore_llm.wire.objects import dump, load

Way = tuple[str, bool, float, tuple[tuple[str, str], ...]]
"""Provider, whether it is a fallback, the seconds to the first event, and the HTTP headers that are kept."""

Chunk = bytes | Way
"""An event as JSON; or, once at the beginning, how the stream came."""


class CutStreamError(ValueError):
    """A stream ended in good order before its answer did, so that nothing of it can be stored."""


class AnswerStream:
    """The events of one answer, as the caller of one request would have got them: `async for event in stream`.

    `status`, `provider`, `fallback`, `age` and `key` are known with the first event. Belongs to the event loop that
    reads it. Leaving the loop early, or `aclose`, leaves the stream; it ends when its last reader has left.
    """

    def __init__(self, flow: Calls, asked: Asked, start: Callable[[Call], AsyncIterable[JsonObject]]) -> None:
        self._flow = flow
        self._asked = asked
        self._start = start
        self.facts = RequestFacts(model=None) if asked.bypass == "unreadable" else asked.facts
        """Facts of the request."""
        self._events = self._all()
        self._framed = False
        self.status: CacheStatus | None = None
        self.rescued = False
        """With the status `stale`: whether the providers were asked, and failed."""
        self.provider: str | None = None
        self.fallback = False
        self.latency: float | None = None
        """Seconds from asking the provider to its first event."""
        self.age: float | None = None
        self.fresh_for: float | None = None
        self.key = ""
        self.reason: str | None = asked.bypass
        """As `Answer.reason`."""
        self.headers: tuple[tuple[str, str], ...] = ()
        """The part of the provider's HTTP headers that is kept."""
        self._hit: StoredAnswer | None = None
        self.similarity: float | None = None
        self.matched_message: str | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JsonObject:
        """Return the next event. Raises as `Flow.answer`, and the provider's own error after the first."""
        event = await self._events.__anext__()
        if isinstance(event, bytes):
            raise TypeError("this stream is read as server-sent events: call frame()")
        return event

    async def frame(self) -> bytes | None:
        """Return the next event as a server-sent event, as servers send it on; None at the end. Raises as `anext`.

        A stream is read by this method or as an iterator, not by both.
        """
        self._framed = True
        event = await anext(self._events, None)
        return event if event is None or isinstance(event, bytes) else self._asked.protocol.frame(event)

    async def aclose(self) -> None:
        """Leave the stream. Idempotent."""
        await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _all(self) -> AsyncGenerator[JsonObject | bytes, None]:
        asked, controls = self._asked, self._asked.controls
        asked.check()
        if asked.bypass is not None:
            async with aclosing(self._direct()) as events:
                async for event in events:
                    yield event
            return
        if (
            controls.only_if_cached
            or controls.no_store
            or controls.refresh
            or controls.max_age is not None
            or controls.bounds_freshness
        ):
            found = None if controls.refresh else await self._stored()
            if found is not None:
                for event in self._replayed(found):
                    yield event
                return
            if controls.only_if_cached:
                raise NotCachedError("absent")
        shadow = first.drawn(self._flow, asked)
        is_first = shadow is None and first.is_first(self._flow, asked)
        instead = await first.instead(self._flow, asked) if is_first else None
        if instead is not None:
            for event in self._similar(instead):
                yield event
            return
        producer = _Producer(self._flow, asked, self._start, shadow)
        if controls.no_store or controls.refresh or controls.min_fresh is not None:
            async with aclosing(self._alone(producer)) as events:
                async for event in events:
                    yield event
            return
        stream: Stream[Chunk] = asked.view.stream(
            asked.request, producer.chunks, assemble=producer.assemble, replay=self._replay, ttl=controls.ttl
        )
        try:
            async with aclosing(self._shared(stream)) as parts:
                async for part in parts:
                    yield part
        finally:
            await stream.aclose()

    async def _shared(self, stream: Stream[Chunk]) -> AsyncGenerator[JsonObject | bytes, None]:
        """Yield the events of a stream that callers share, or of the answer that stands in for it.

        They are server-sent events where those are read.
        """
        begun = False
        joined: list[bytes] | None = None
        try:
            async for chunk in stream:
                if isinstance(chunk, tuple):
                    self.provider, self.fallback, self.latency, self.headers = chunk
                    continue
                if not begun:
                    begun = True
                    self._note(stream)
                    if self.status == "joined":
                        joined = []
                if joined is not None:
                    joined.append(chunk)
                shown = self._frame(chunk) if self._framed else self._shown(load(chunk))
                if shown is not None:
                    yield shown
        except Exception as error:
            if begun or not ladder.may_rescue(error):
                raise
            instead = await self._flow.similar_answer(self._asked)
            if instead is None:
                raise
            for event in self._similar(instead):
                yield event
            return
        if self._hit is not None:
            self._flow.costs.saved(self._asked, self._hit)
        elif joined is not None:
            self._flow.costs.saved(self._asked, self._saved(tuple(joined)))

    def _frame(self, chunk: bytes) -> bytes | None:
        if self._hit is not None:  # its chunks are made for this reader alone
            return frame_of(self._asked.protocol, self.facts, chunk) or None
        return self._flow.readers.frame(self._asked.protocol, self.facts, chunk) or None

    def _saved(self, chunks: tuple[bytes, ...]) -> StoredAnswer:
        """Return the answer that a joiner read, for the ledger."""

        def made() -> StoredAnswer:
            assembly = self._asked.protocol.assembly(self.facts)
            for chunk in chunks:
                assembly.feed(load(chunk))
            assembly.end()
            return self._made(assembly.recording().body or {})

        if self.facts.echoed:
            return made()
        place = (self._asked.call.protocol, self.provider, self.fallback, self.latency, chunks)
        return self._flow.readers.answer(place, made)

    def _similar(self, instead: Answer) -> Iterator[JsonObject]:
        self.status, self.age, self.key = "similar", instead.age, instead.key
        self.similarity, self.matched_message = instead.similarity, instead.matched_message
        yield from self._replayed(instead.stored)

    def _replay(self, stored: StoredAnswer) -> Iterator[Chunk]:
        """Yield the chunks of a stored answer."""
        self._hit = stored
        yield stored.provider, stored.fallback, stored.latency, stored.headers
        for event in stored.replay():
            yield dump(event)

    def _note(self, stream: Stream[Chunk]) -> None:
        lookup = stream.lookup
        if lookup is None:
            return
        status = STATUS.get(lookup.outcome, "miss")
        self.status = "joined" if status == "miss" and lookup.joined else status
        self.rescued = lookup.outcome == "rescued"
        self.age, self.fresh_for, self.key = lookup.age, lookup.fresh_for, lookup.key
        if status == "miss":
            self.age = self.age if lookup.joined else None
            self.reason = None if lookup.joined else lookup.reason
        if status == "bypass":
            self._flow.bypassed["bypass()"] += 1

    def _made(self, body: JsonObject) -> StoredAnswer:
        return StoredAnswer(
            protocol=self._asked.call.protocol,
            body=dump(body),
            provider=self.provider or "",
            fallback=self.fallback,
            latency=self.latency or 0.0,
        )

    def _shown(self, event: JsonObject) -> JsonObject | None:
        return self._asked.protocol.shown_to(event, self.facts)

    async def _stored(self) -> StoredAnswer | None:
        found = await acceptable(self._asked.view, self._asked.request, self._asked.controls)
        if found is None or found.value is None:
            return None
        self.status = "hit" if found.outcome == "hit" else "stale"
        self.age, self.fresh_for, self.key = found.age, found.fresh_for, found.key
        self._flow.costs.saved(self._asked, found.value)
        return found.value

    def _replayed(self, stored: StoredAnswer) -> Iterator[JsonObject]:
        self.provider, self.fallback, self.latency = stored.provider, stored.fallback, stored.latency
        self.headers = stored.headers
        for event in stored.replay():
            shown = self._shown(event)
            if shown is not None:
                yield shown

    async def _direct(self) -> AsyncGenerator[JsonObject, None]:
        """Yield the provider's events as they come: nothing is shared."""
        source = self._start(self._asked.call)
        self.status = "bypass"
        self._flow.bypassed[self._asked.bypass or "bypass()"] += 1
        assembly = self._asked.protocol.assembly(self.facts)
        try:
            async for event in source:
                self.provider, self.fallback = getattr(source, "provider", None), getattr(source, "fallback", False)
                assembly.feed(self._asked.protocol.neutral(event))
                shown = self._shown(event)
                if shown is not None:
                    yield shown
        finally:
            await _close(source)
            self._flow.costs.spent(self._asked, self._made(assembly.recording().body or {}))

    async def _alone(self, producer: _Producer) -> AsyncGenerator[JsonObject, None]:
        """Yield a new stream that no other caller shares; store its answer, unless that is not wanted."""
        asked = self._asked
        chunks: list[Chunk] = []
        async with aclosing(producer.chunks()) as made:  # a reader that leaves ends the provider's stream at once
            async for chunk in made:
                chunks.append(chunk)
                if isinstance(chunk, tuple):
                    self.status = "miss"
                    self.provider, self.fallback, self.latency, self.headers = chunk
                    continue
                shown = self._shown(load(chunk))
                if shown is not None:
                    yield shown
        try:
            computed = producer.assemble(chunks)
        except CutStreamError:
            return
        if computed.store:
            await asked.view.set(asked.request, computed)


class _Producer:
    """Makes the chunks of one stream, and the entry of its answer; `shadow` has it compared with a similar one."""

    def __init__(
        self,
        flow: Calls,
        asked: Asked,
        start: Callable[[Call], AsyncIterable[JsonObject]],
        shadow: ShadowCheck | None,
    ) -> None:
        self._flow = flow
        self._asked = asked
        self._start = start
        self._shadow = shadow

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield the way of the stream, then its events, neutral and as JSON."""
        protocol = self._asked.protocol
        assembly = protocol.assembly(self._asked.facts)
        source = self._start(self._asked.call)
        way: Way | None = None
        ended = False
        try:
            async for event in source:
                if way is None:
                    way = (
                        getattr(source, "provider", None) or "",
                        bool(getattr(source, "fallback", False)),
                        getattr(source, "latency", None) or 0.0,
                        tuple(sorted(getattr(source, "headers", {}).items())),
                    )
                    yield way
                neutral = protocol.neutral(event)
                chunk = dump(neutral)
                assembly.feed(neutral)
                yield chunk
            ended = True
            assembly.end()
        finally:
            await _close(source)
            if not ended and way is not None:  # broken off: the part that came is paid for
                body = assembly.recording().body or {}
                stored = StoredAnswer(protocol=self._asked.call.protocol, body=dump(body), provider=way[0])
                self._flow.costs.spent(self._asked, stored)

    def assemble(self, chunks: list[Chunk]) -> Computed[StoredAnswer]:
        """Return the entry of the whole stream. Raises CutStreamError if it was cut."""
        flow, asked = self._flow, self._asked
        way = next((chunk for chunk in chunks if isinstance(chunk, tuple)), ("", False, 0.0, ()))
        events = [load(chunk) for chunk in chunks if isinstance(chunk, bytes)]
        assembly = asked.protocol.assembly(asked.facts)
        for event in events:
            assembly.feed(event)
        assembly.end()
        recording = assembly.recording()
        if recording.body is None or not recording.complete:
            if recording.body is not None:
                stored = StoredAnswer(protocol=asked.call.protocol, body=dump(recording.body), provider=way[0])
                flow.costs.spent(asked, stored)
            flow.commit.rejected["unfinished"] += 1
            raise CutStreamError("the stream ended before its answer")
        pieces, kept = packed(asked.call.protocol, events, recording)
        facts = asked.protocol.facts(recording.body)
        computed = flow.commit.judged(
            asked,
            recording.body,
            facts,
            whole=recording.whole,
            provider=way[0],
            fallback=way[1],
            latency=way[2],
            headers=way[3],
            pieces=pieces,
            events=kept,
        )
        flow.costs.spent(asked, computed.value, facts)
        if computed.store:
            ladder.remember(asked, flow.questions, computed.value)
            if self._shadow is not None:
                first.check(flow, asked, self._shadow, computed.value)
        return computed


async def _close(source: AsyncIterable[JsonObject]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()
