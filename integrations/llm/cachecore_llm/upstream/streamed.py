"""One stream from several providers: until its first content, a failure asks the next one; afterwards it is raised."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Self

from cachecore.contract.clock import Clock
from cachecore_llm.errors import AllProvidersFailedError, ProviderFailure, ProviderTimeoutError, UnusableAnswerError
from cachecore_llm.upstream.answers import error_in, reported
from cachecore_llm.upstream.breaker import Pass
from cachecore_llm.upstream.members import Member
from cachecore_llm.upstream.timeouts import Abandoned, Pump
from cachecore_llm.wire import PROTOCOLS, Assembly, Call, JsonObject, UnreadableRequestError

Unusable = Callable[[JsonObject], str | None]
"""Given an answer's body: a word why the next provider should be asked (empty, filtered); None if it is fine."""


class Streamed:
    """The events of one answer, in the protocol of the call. To be iterated once, by one reader; then close it.

    `provider`, `fallback` and `latency` are set when the first event is given out. Iteration raises
    AllProvidersFailedError before that, and the provider's own error after it.
    """

    def __init__(
        self, members: Sequence[Member], call: Call, unusable: Unusable | None, clock: Clock, abandoned: Abandoned
    ) -> None:
        self._members = members
        self._call = call
        self._unusable = unusable
        self._clock = clock
        self._abandoned = abandoned
        self._events = self._all()
        self.provider: str | None = None
        """The name of the provider that answers."""
        self.fallback = False
        """Whether that is another one than the first."""
        self.latency: float | None = None
        """Seconds from asking it to the first content."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JsonObject:
        return await self._events.__anext__()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop, and close the provider's stream. It may be called at any time, and again."""
        await self._events.aclose()

    async def _all(self) -> AsyncGenerator[JsonObject, None]:
        failures: list[ProviderFailure] = []
        spare: tuple[Member, list[JsonObject]] | None = None
        for member in self._members:
            begun, breaker = self._clock.monotonic(), member.breaker(self._call)
            admitted = breaker.admit(begun)
            if admitted is None:
                failures.append(member.unavailable(breaker, begun))
                continue
            held: list[JsonObject] = []
            pump: Pump | None = None
            try:
                pump = Pump(member.name, member.provider.stream(member.call(self._call)), self._abandoned)
                flows, reason = await self._begin(member, pump, held)
            except Exception as error:  # noqa: BLE001 - kept: it is carried to the caller if no provider answers
                _close(pump)
                failures.append(member.failed(self._call, admitted, error, self._clock.monotonic()))
                continue
            except BaseException:
                _close(pump)
                breaker.left(admitted)
                raise
            if reason is not None:
                breaker.answered(admitted)
                spare = spare or (member, held)
                failures.append(ProviderFailure(member.name, UnusableAnswerError(member.name, reason)))
                continue
            self._chosen(member, self._clock.monotonic() - begun)
            async for event in self._rest(member, admitted, pump if flows else None, held):
                yield event
            return
        if spare is None:
            causes = ExceptionGroup("what each provider failed with", [failure.error for failure in failures])
            raise AllProvidersFailedError(failures) from causes
        self._chosen(spare[0], 0.0)
        for event in spare[1]:
            yield event

    def _chosen(self, member: Member, latency: float) -> None:
        self.provider, self.fallback, self.latency = member.name, member.fallback, latency

    async def _begin(self, member: Member, pump: Pump, held: list[JsonObject]) -> tuple[bool, str | None]:
        """Read until there is content; return whether more may follow, and why the answer is of no use.

        Raises UnusableAnswerError if the stream ends before it has said how the answer ended.
        """
        protocol = PROTOCOLS[self._call.protocol]
        try:
            assembly = protocol.assembly(protocol.parse(self._call.body))
        except UnreadableRequestError:  # the provider's own error says more
            assembly = protocol.assembly()
        deadline = self._clock.monotonic() + member.first_content_timeout
        while True:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise ProviderTimeoutError(member.name, member.first_content_timeout)
            event = await pump.next(left)
            if event is None:
                return False, self._ended(member, assembly)
            if (error := error_in(event)) is not None:
                raise reported(member.name, error, event)
            held.append(event)
            assembly.feed(protocol.neutral(event))
            if assembly.started:
                return True, None

    def _ended(self, member: Member, assembly: Assembly) -> str | None:
        """Return why an answer that ended without content is of no use."""
        assembly.end()
        recording = assembly.recording()
        body = recording.body
        # A refusal, or an answer that was filtered, is no complete one and has its end all the same.
        ended = recording.complete or (
            body is not None and any(choice.raw_finish for choice in PROTOCOLS[self._call.protocol].facts(body).choices)
        )
        if body is None or not ended:
            raise UnusableAnswerError(member.name, "the stream ended before its answer")
        return self._unusable(body) if self._unusable is not None else None

    async def _rest(
        self, member: Member, admitted: Pass, pump: Pump | None, held: list[JsonObject]
    ) -> AsyncGenerator[JsonObject, None]:
        """Yield the events held back, then the following ones."""
        try:
            member.breaker(self._call).answered(admitted)
            for event in held:
                yield event
            while pump is not None:
                event_or_end = await pump.next(member.idle_timeout)
                if event_or_end is None:
                    return
                if (error := error_in(event_or_end)) is not None:
                    raise reported(member.name, error, event_or_end)
                yield event_or_end
        finally:
            _close(pump)


def _close(pump: Pump | None) -> None:
    if pump is not None:
        pump.close()
