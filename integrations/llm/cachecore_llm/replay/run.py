"""Sending a log through an `LLMService`, with the counts on the way."""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any, Final

from cachecore.contract.clock import Clock
from cachecore.contract.errors import OptionsError, UnkeyableError
from cachecore_llm.errors import AllProvidersFailedError
from cachecore_llm.flow.places import system_text
from cachecore_llm.key import RefusedFieldError
from cachecore_llm.replay.bodies import body_in
from cachecore_llm.replay.log import Line
from cachecore_llm.request import LLMRequest
from cachecore_llm.response import LLMResponse
from cachecore_llm.service import LLMService
from cachecore_llm.upstream import Provider, Sent, SupportsIdentity, wired
from cachecore_llm.wire import Call, UnreadableRequestError
from cachecore_llm.wire.objects import dump_text

_MAX_BAD_LINES_KEPT: Final = 1000
_MAX_REASONS: Final = 100
_LONGEST_REASON: Final = 100


class CountedProvider:
    """A provider and how often it was asked."""

    def __init__(self, inner: Provider) -> None:
        """Ask `inner`. Raises OptionsError if nothing tells its answers from those of others."""
        self._inner = inner
        self._identity = inner.identity if isinstance(inner, SupportsIdentity) else {"endpoint": wired(inner).endpoint}
        self.calls = 0

    @property
    def name(self) -> str:
        """Return the inner provider's name."""
        return self._inner.name

    @property
    def identity(self) -> Mapping[str, Any]:
        """Return the inner provider's own settings, or else a text that tells its answers from those of others."""
        return self._identity

    def placed(self, call: Call) -> Call:
        """Return `call` as a service with the inner provider would key it, where that speaks its protocol."""
        provider = wired(self._inner)
        if call.protocol not in provider.speaks:
            return call
        model = {} if provider.model is None else {"model": provider.model}
        return replace(
            call,
            endpoint=provider.endpoint,
            scope=provider.scope,
            headers=dict(provider.shaping),
            body={**model, **call.body},
        )

    async def send(self, call: Call) -> Sent:
        """Count, and return the answer to a call of any protocol.

        In a protocol that the inner provider does not speak, it is asked the text of the call, and its text becomes an
        answer of that protocol.
        """
        self.calls += 1
        provider = wired(self._inner)
        began = time.perf_counter()
        if call.protocol in provider.speaks and call.protocol != "plain":
            body = await provider.send(call)
        else:
            told, _ = system_text(call)
            response = await self._inner.generate(told, dump_text(call.body))
            body = body_in(call.protocol, response)
        return Sent(body=body, provider=self.name, fallback=False, latency=time.perf_counter() - began)

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Count, and ask the inner provider."""
        self.calls += 1
        return await self._inner.generate(system_prompt, user_message, context, **params)


@dataclass(slots=True)
class Tally:
    """The progress of a log so far."""

    requests: int = 0
    """Valid lines that were asked."""
    answers: Counter[str] = field(default_factory=Counter)
    """Answers by `cache_status`."""
    failures: Counter[str] = field(default_factory=Counter)
    """Requests without an answer, by kind of error."""
    bad_lines: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Lines that were skipped, by reason."""
    first_bad_lines: list[tuple[int, str]] = field(default_factory=list)
    """Number and problem of the first thousand lines that were skipped."""
    hit_latencies: array[float] = field(default_factory=lambda: array("d"))
    """Seconds, of hits. A caller that waited for another one's answer had none."""
    miss_latencies: array[float] = field(default_factory=lambda: array("d"))
    """Seconds, of all other answers: a provider was waited for."""
    saved_seconds: float = 0.0
    """How long the answers that were hits had taken to be made."""

    @property
    def hits(self) -> int:
        """Return how many were answered fresh from the cache."""
        return self.answers["hit"]

    @property
    def hit_rate(self) -> float:
        """Return hits per request, 0.0 to 1.0."""
        return self.hits / self.requests if self.requests else 0.0

    def skip(self, number: int, problem: str) -> None:
        """Note a line that is no request."""
        self.bad_lines += 1
        reason = problem.partition(": ")[0][:_LONGEST_REASON]
        self.reasons[reason if reason in self.reasons or len(self.reasons) < _MAX_REASONS else "other"] += 1
        if len(self.first_bad_lines) < _MAX_BAD_LINES_KEPT:
            self.first_bad_lines.append((number, problem))


async def replay_log(
    lines: Iterable[Line],
    service: LLMService,
    *,
    provider: CountedProvider | None = None,
    concurrency: int,
    clock: Clock,
    tally: Tally,
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Ask every request of `lines`, `concurrency` at a time and in their order, and count in `tally`.

    Calls in wire protocols go to `provider`, which need not speak them. A line that is no request, or a request that
    gets no answer, is counted and never ends the run.

    Raises:
        OptionsError: the log is wrong as a whole.
    """
    waiting = iter(lines)
    first = list(islice(waiting, 1))  # before any task is: a log that is wrong as a whole says so here
    waiting = chain(first, waiting)

    async def worker() -> None:
        for line in waiting:  # shared by all workers: each line is taken by one of them
            await _ask(line, service, provider, clock, tally)
            progress()

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())


async def _ask(line: Line, service: LLMService, provider: CountedProvider | None, clock: Clock, tally: Tally) -> None:
    if line.request is None:
        tally.skip(line.number, line.problem or "no request")
        await asyncio.sleep(0)  # a log of nothing but bad lines must not hold the loop
        return
    started = clock.monotonic()
    try:
        status, latency = await _answered(line.request, service, provider)
    except AllProvidersFailedError as error:
        tally.requests += 1
        tally.failures.update(type(cause).__name__ for cause in error.causes[:1])
        return
    except _NoAnswerError as error:
        tally.requests += 1
        tally.failures[str(error)] += 1
        return
    except (UnkeyableError, OptionsError, UnreadableRequestError, RefusedFieldError) as error:  # a label that is none
        tally.skip(line.number, str(error))
        return
    took = clock.monotonic() - started
    tally.requests += 1
    tally.answers[status] += 1
    if status == "hit":
        tally.hit_latencies.append(took)
        tally.saved_seconds += latency
    else:
        tally.miss_latencies.append(took)


class _NoAnswerError(Exception):
    """A provider gave no answer to a call; the text is the kind of its error."""


async def _answered(
    request: LLMRequest | Call, service: LLMService, provider: CountedProvider | None
) -> tuple[str, float]:
    """Return how `request` was answered, and the seconds that its answer had taken.

    Raises AllProvidersFailedError and _NoAnswerError.
    """
    if isinstance(request, LLMRequest) or provider is None:
        answer = await service.ask(request)
        return answer.cache_status, answer.latency
    try:
        found = await service.cache.flow.answer(provider.placed(request), provider.send)
    except (UnkeyableError, OptionsError, UnreadableRequestError, RefusedFieldError):
        raise
    except Exception as error:  # whatever a provider's SDK raises
        raise _NoAnswerError(type(error).__name__) from error
    return found.status, found.stored.latency


def percentile(values: array[float], part: float) -> float | None:
    """Return the smallest value that at least `part` (0 to 1) of `values` do not exceed; None of none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
