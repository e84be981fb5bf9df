"""Asks providers in order until one answers, each within its own time and as long as it is not taken for dead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cachecore.contract.clock import Clock, SystemClock
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import positive
from cachecore_llm.errors import AllProvidersFailedError, ProviderFailure, UnusableAnswerError
from cachecore_llm.response import LLMResponse
from cachecore_llm.upstream.answers import checked
from cachecore_llm.upstream.breaker import Breaker, BreakerOptions
from cachecore_llm.upstream.members import Member
from cachecore_llm.upstream.models import ModelMap, Models
from cachecore_llm.upstream.plain import wired
from cachecore_llm.upstream.plain_form import plain_body, response_of, way_of
from cachecore_llm.upstream.provider import Provider, WireProvider, name_of
from cachecore_llm.upstream.streamed import Streamed, Unusable
from cachecore_llm.upstream.timeouts import Abandoned, obeyed, within
from cachecore_llm.wire import AnswerFacts, Call, JsonObject

Deliver = Callable[[str, bool], Awaitable[None]]
"""Takes the key of an answer, and whether it is fit to be stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A whole answer, and the way it came."""

    body: JsonObject
    """In the protocol of the call."""
    provider: str
    """The name of the provider that made it."""
    fallback: bool
    """Whether that is another one than the first."""
    latency: float
    """Seconds that it took."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the HTTP answer that are kept with it; empty for the providers of this package."""
    facts: AnswerFacts | None = None
    """Those of `body`, if they have been read."""
    deliver: Deliver | None = None
    """Gives the answer to the caller that it was asked for, before it is stored, where that may be."""


class ProviderState(NamedTuple):
    """One provider as it is now, by the breaker of its answers."""

    name: str
    is_open: bool
    """Whether it is taken for dead."""
    retry_in: float
    """Seconds until it is asked again."""
    last_error: Exception | None


class FallbackOrchestrator:
    """Asks its providers in order until one answers.

    A fault of the caller's own at the first provider is raised as it is, and no other provider is asked. A provider
    that cannot take a call without loss is passed over. The deadlines hold even where a driver swallows the
    cancellation: such a call is abandoned, not waited for.
    """

    def __init__(
        self,
        providers: Sequence[Provider | WireProvider],
        *,
        timeout: float = 60.0,
        timeouts: Mapping[str, float] | None = None,
        first_content_timeout: float | Mapping[str, float] | None = None,
        idle_timeout: float | Mapping[str, float] | None = None,
        models: ModelMap | None = None,
        breaker: BreakerOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Ask `providers` in that order.

        Args:
            providers: answers of the first are wanted; those of the others are marked as fallback.
            timeout: seconds each provider may take for a whole answer.
            timeouts: seconds by provider name, for those that may take more or less.
            first_content_timeout: seconds until a stream has content; the provider's timeout if None.
            idle_timeout: seconds between two events of a stream after that; the provider's timeout if None. Both may be
                given by provider name.
            models: which model a provider is asked for, by its name and the model that the call names.
            breaker: when a provider is taken for dead, and for how long.
            clock: measures latency, and the pauses of providers that are taken for dead.
        """
        names = [name_of(provider) for provider in providers]
        if not names:
            raise OptionsError("an orchestrator needs at least one provider")
        if len(set(names)) < len(names):
            raise OptionsError(f"the names of the providers must differ: {', '.join(names)}")
        chosen, mapped = dict(timeouts or {}), dict(models or {})
        for option, given in (("timeouts", chosen), ("models", mapped)):
            if unknown := sorted(set(given) - set(names)):
                raise OptionsError(f"{option} names {', '.join(unknown)}; the providers are: {', '.join(names)}")
        self._given = tuple(providers)
        self._clock = clock or SystemClock()
        self._abandoned = Abandoned()
        wires = [wired(provider) for provider in providers]
        table = Models(wires[0], mapped)

        def within_its_time(option: str, value: float | Mapping[str, float] | None, name: str) -> float:
            own = value.get(name) if isinstance(value, Mapping) else value
            return positive(option, chosen.get(name, timeout) if own is None else own)

        self._members = tuple(
            Member(
                provider=provider,
                position=position,
                timeout=within_its_time("timeout", None, name),
                first_content_timeout=within_its_time("first_content_timeout", first_content_timeout, name),
                idle_timeout=within_its_time("idle_timeout", idle_timeout, name),
                answers=Breaker(BreakerOptions() if breaker is None else breaker),
                embeddings=Breaker(BreakerOptions() if breaker is None else breaker),
                models=table,
            )
            for position, (name, provider) in enumerate(zip(names, wires, strict=True))
        )

    @property
    def providers(self) -> tuple[Provider | WireProvider, ...]:
        """Return the providers in the order they are asked, as they were given."""
        return self._given

    @property
    def first(self) -> WireProvider:
        """Return the provider that calls are written for."""
        return self._members[0].provider

    def states(self) -> list[ProviderState]:
        """Return how the providers are now, in the order they are asked."""
        now = self._clock.monotonic()
        return [
            ProviderState(member.name, member.answers.is_open, member.answers.retry_in(now), member.answers.last_error)
            for member in self._members
        ]

    @property
    def total_timeout(self) -> float:
        """Return the seconds after which every provider has had its time."""
        return sum(member.timeout for member in self._members)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the first provider's own `identity`, which is part of the key of every plain request."""
        found: object = getattr(self._given[0], "identity", None)
        # A common word: the attribute may hold a credential.
        return found if isinstance(found, Mapping) else {}

    async def send(self, call: Call, *, unusable: Unusable | None = None) -> Sent:
        """Return the first answer that is of use; else the first answer, if any provider gave one.

        Args:
            call: written for the first provider.
            unusable: judges an answer's body; the next provider is asked if it returns a word.

        Raises:
            AllProvidersFailedError: none answered; it carries every provider's error.
            Exception: the caller's own fault, as the first provider raised it.
        """
        failures: list[ProviderFailure] = []
        spare: Sent | None = None
        for member in self._members:
            begun, breaker = self._clock.monotonic(), member.breaker(call)
            admitted = breaker.admit(begun)
            if admitted is None:
                failures.append(member.unavailable(breaker, begun))
                continue
            try:
                body = await self._ask(member, call)
            except Exception as error:  # noqa: BLE001 - kept: it is carried to the caller if no provider answers
                failures.append(member.failed(call, admitted, error, self._clock.monotonic()))
                continue
            except BaseException:
                breaker.left(admitted)
                raise
            breaker.answered(admitted)
            sent = self._sent(member, call, body, begun)
            reason = unusable(sent.body) if unusable is not None else None
            if reason is None:
                return sent
            spare = spare or sent
            failures.append(ProviderFailure(member.name, UnusableAnswerError(member.name, reason)))
        if spare is not None:
            return spare
        causes = ExceptionGroup("what each provider failed with", [failure.error for failure in failures])
        raise AllProvidersFailedError(failures) from causes

    async def _ask(self, member: Member, call: Call) -> JsonObject:
        asked = member.call(call)
        if getattr(member.provider, "careful", False):
            return await obeyed(member.timeout, member.name, member.provider.send(asked))
        body = await within(member.timeout, member.name, lambda: member.provider.send(asked), self._abandoned)
        return checked(member.name, call.protocol, body)

    def _sent(self, member: Member, call: Call, body: JsonObject, begun: float) -> Sent:
        took = self._clock.monotonic() - begun
        name = member.name
        if call.protocol == "plain":
            body, provider, latency = way_of(body)
            name, took = provider or name, latency or took
        return Sent(body=body, provider=name, fallback=member.fallback, latency=took)

    def stream(self, call: Call, *, unusable: Unusable | None = None) -> Streamed:
        """Return the events of an answer. Arguments and errors are those of `send`, and iterating raises them."""
        return Streamed(self._members, call, unusable, self._clock, self._abandoned)

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return the first answer, marked `fallback` if it is not the first provider's. Raises as `send` does."""
        body = plain_body(system_prompt, user_message, context, params)
        sent = await self.send(Call(protocol="plain", endpoint="", body=body))
        return response_of(sent.body, provider=sent.provider, fallback=sent.fallback, latency=sent.latency)
