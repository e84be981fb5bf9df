"""Providers of answers, and how several stand in for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from cachecore.contract.clock import Clock, SystemClock
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import positive
from cachecore_llm.errors import AllProvidersFailedError, ProviderFailure, ProviderTimeoutError, UnusableAnswerError
from cachecore_llm.response import LLMResponse


@runtime_checkable
class Provider(Protocol):
    """Something that answers: an API, a local model, a simulation.

    Any number of tasks may call at once. Every failure is an exception; an answer that only says that there is none is
    for nobody. Deadlines and other providers are the orchestrator's business, not a provider's.
    """

    @property
    def name(self) -> str:
        """Return a short name, unique among the providers that stand in for each other; it is stored with answers."""

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return the answer. `params` are the request's own parameters, as the caller named them."""


@runtime_checkable
class SupportsIdentity(Protocol):
    """A provider whose own settings shape its answers, such as a default model or the address it asks."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return those settings by parameter name; they are keyed wherever a request does not name them itself."""


class FallbackOrchestrator:
    """Asks its providers in order until one answers, each within its own time.

    The deadline holds even where a driver swallows the cancellation: such a call is abandoned, not waited for.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        timeout: float = 60.0,
        timeouts: Mapping[str, float] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Ask `providers` in that order.

        Args:
            providers: the first is the one whose answers are wanted; those of the others are marked as fallback.
            timeout: seconds each provider may take.
            timeouts: seconds by provider name, for those that may take more or less.
            clock: measures the latency of answers that do not say it themselves.
        """
        self._providers = tuple(providers)
        names = [_name_of(provider) for provider in self._providers]
        if not names:
            raise OptionsError("an orchestrator needs at least one provider")
        if len(set(names)) < len(names):
            raise OptionsError(f"the names of the providers must differ: {', '.join(names)}")
        chosen = dict(timeouts or {})
        if unknown := sorted(set(chosen) - set(names)):
            raise OptionsError(f"timeouts names {', '.join(unknown)}; the providers are: {', '.join(names)}")
        self._timeouts = [positive("timeout", chosen.get(name, timeout)) for name in names]
        first = self._providers[0]
        self._identified = first if isinstance(first, SupportsIdentity) else None
        self._clock = clock or SystemClock()
        self._abandoned: set[asyncio.Task[LLMResponse]] = set()

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Return the providers in the order they are asked."""
        return self._providers

    @property
    def total_timeout(self) -> float:
        """Return the seconds after which every provider has had its time."""
        return sum(self._timeouts)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return what the first provider's own settings add to every request, for its key."""
        found: object = {} if self._identified is None else self._identified.identity
        # A common word: what a provider calls so may be its credential.
        return found if isinstance(found, Mapping) else {}

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return the first answer, marked `fallback` if it is not the first provider's.

        Raises:
            AllProvidersFailedError: none answered; it carries every provider's error.
        """
        failures: list[ProviderFailure] = []
        for position, provider in enumerate(self._providers):
            started = self._clock.monotonic()
            try:
                answer = await self._within(
                    self._timeouts[position],
                    provider.name,
                    lambda asked=provider: asked.generate(system_prompt, user_message, context, **params),  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                )
            except Exception as error:  # noqa: BLE001 - kept: it is carried to the caller if nobody answers
                failures.append(ProviderFailure(provider.name, error))
                continue
            took = self._clock.monotonic() - started
            return msgspec.structs.replace(
                answer,
                provider=answer.provider or provider.name,
                latency=answer.latency or took,
                fallback=position > 0,
            )
        causes = ExceptionGroup("what each provider failed with", [failure.error for failure in failures])
        raise AllProvidersFailedError(failures) from causes

    async def _within(self, timeout: float, name: str, call: Callable[[], Awaitable[LLMResponse]]) -> LLMResponse:
        task = asyncio.ensure_future(_answer(name, call))
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            raise ProviderTimeoutError(name, timeout)
        return task.result()

    def _abandon(self, task: asyncio.Task[LLMResponse]) -> None:
        self._abandoned.add(task)  # held, because the loop holds tasks weakly
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: asyncio.Task[LLMResponse]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # fetched, so that nobody reports it as forgotten: its caller has been answered


def _name_of(provider: object) -> str:
    name = getattr(provider, "name", None)
    if not isinstance(name, str) or not name:
        raise OptionsError(
            f"the provider {type(provider).__name__} has no name: give it an attribute name, a short text such as "
            f"'openai', not {name!r}"
        )
    if not callable(getattr(provider, "generate", None)):
        raise OptionsError(f"the provider {name!r} has no method generate, which returns an LLMResponse")
    return name


async def _answer(name: str, call: Callable[[], Awaitable[LLMResponse]]) -> LLMResponse:
    answer = await call()
    if not isinstance(answer, LLMResponse):
        raise UnusableAnswerError(
            name, f"it returned a {type(answer).__name__}, not an LLMResponse(content=…, model=…)"
        )
    return answer
