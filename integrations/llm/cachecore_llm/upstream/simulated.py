"""A provider that is none: it waits as long as a model would and says that it is a simulation.

For demonstrations and load tests without a key. Nothing it answers is about the question.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import positive
from cachecore_llm.errors import LLMError, UnsupportedRequestError
from cachecore_llm.response import LLMResponse, Usage
from cachecore_llm.upstream.chat_to_plain import completion_of
from cachecore_llm.upstream.plain_form import body_of, way_of
from cachecore_llm.upstream.simulated_answers import embeddings_of, last_text, tool_calls_of
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, NoStreamError, ProtocolName
from cachecore_llm.wire.objects import dump_text

_FLAWS: Final = ("truncated", "empty", "refused", "failed")
_SPEAKS: Final[frozenset[ProtocolName]] = frozenset({"plain", "openai.chat", "openai.embeddings"})
_FIRST: Final = 0.3
"""The part of an answer's latency until a stream has its first piece."""


class SimulatedFailureError(LLMError):
    """The simulation plays a provider that fails."""


@dataclass(frozen=True, slots=True)
class _Draw:
    """What chance has decided for one question."""

    latency: float
    flaw: str | None
    words: int


class SimulatedProvider:
    """Answers after a log-normal wait, as measured latencies of language models are distributed.

    Chat completions, streams, tools and embeddings too: a question that offers tools is answered with a call of the
    first one, and its result with a text. A stream takes as long as the whole answer, its first piece a third of it.

    The wait of a question is the same in every run and in every order of the questions, and so is its flaw:
    both are drawn from the seed and the question.
    """

    speaks = _SPEAKS
    model = "simulated"
    scope: str | None = None

    def __init__(
        self,
        name: str = "simulated",
        *,
        median_latency: float = 1.0,
        spread: float = 0.5,
        speed: float = 1.0,
        flawed: float = 0.0,
        seed: int = 0,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Make a provider called `name`.

        Args:
            name: the `provider` of its answers.
            median_latency: seconds that half of the answers take less than.
            spread: standard deviation of the logarithm of the latency; 0.5 puts the slowest 1 % at 3.2 medians.
            speed: by how much the waiting is shortened; the latency in an answer is not.
            flawed: the part of the questions for which something goes wrong: the answer is cut off, empty, refused, or
                there is none at all; one in four each.
            seed: of everything that is drawn.
            sleep: waits that many seconds.
        """
        positive("median_latency", median_latency)
        positive("speed", speed)
        if not 0 <= flawed <= 1:
            raise OptionsError(f"flawed must be from 0 to 1, not {flawed!r}")
        self._name = name
        self._mean = math.log(median_latency)
        self._spread = spread
        self._speed = speed
        self._flawed = flawed
        self._seed = seed
        self._sleep = sleep
        self.calls = 0
        """How often it has been asked."""

    @property
    def description(self) -> str:
        """Return in words that this is a simulation, and its settings."""
        slowest = math.exp(self._mean + 2.326 * self._spread)  # 1 % of a normal distribution lie above 2.326 sigma
        said = [
            "the provider is SIMULATED: no model is asked",
            f"it waits {math.exp(self._mean):.2g} s (median; log-normal, 1 % over {slowest:.2g} s)",
        ]
        if self._speed != 1:
            said.append(f"all waiting is shortened {self._speed:g} times here")
        if self._flawed:
            said.append(f"{self._flawed:.0%} of the questions get a cut-off, empty or refused answer, or none")
        return "; ".join(said)

    @property
    def name(self) -> str:
        """Return the name given."""
        return self._name

    @property
    def endpoint(self) -> str:
        """Return a text that tells its answers from those of another simulation."""
        return f"simulated:{self._name}?seed={self._seed}&flawed={self._flawed:g}"

    @property
    def shaping(self) -> Mapping[str, str]:
        """Return nothing: there are no headers."""
        return {}

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return a text that says it is simulated, after a while.

        Raises:
            SimulatedFailureError: the question is one of those that fail.
        """
        draw = self._drawn(user_message)
        await self._sleep(draw.latency / self._speed)
        return self._answer(draw, len(system_prompt) + len(user_message))

    async def send(self, call: Call) -> JsonObject:
        """Return the answer's body. Raises SimulatedFailureError and UnsupportedRequestError."""
        draw = self._drawn(self._question(call))
        await self._sleep(draw.latency / self._speed)
        return self._body(call, draw)

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the answer's events, spread over its latency. Raises as `send` does."""
        if call.protocol == "openai.embeddings":
            raise NoStreamError
        draw = self._drawn(self._question(call))
        await self._sleep(draw.latency * _FIRST / self._speed)
        events = list(PROTOCOLS[call.protocol].events_of(way_of(self._body(call, draw))[0]))
        pause = draw.latency * (1 - _FIRST) / len(events)
        for event in events:
            yield event
            await self._sleep(pause / self._speed)

    def _question(self, call: Call) -> str:
        if call.protocol not in _SPEAKS:
            raise UnsupportedRequestError(f"{self._name} speaks chat and embeddings, and cannot answer {call.protocol}")
        if call.protocol == "openai.chat":
            return last_text(call.body.get("messages"))
        asked = call.body.get("user_message" if call.protocol == "plain" else "input")
        return asked if isinstance(asked, str) else dump_text(asked)

    def _drawn(self, question: str) -> _Draw:
        self.calls += 1
        chance = Random(f"{self._seed}\0{question}")  # noqa: S311 - a simulation, not a secret
        latency = chance.lognormvariate(self._mean, self._spread)
        flaw = chance.choice(_FLAWS) if chance.random() < self._flawed else None
        return _Draw(latency, flaw, chance.randint(30, 120))

    def _body(self, call: Call, draw: _Draw) -> JsonObject:
        if call.protocol == "openai.embeddings":
            if draw.flaw == "failed":
                raise SimulatedFailureError("simulated failure")
            return embeddings_of(call.body, self.model)
        answer = self._answer(draw, len(dump_text(call.body)) if call.protocol == "openai.chat" else self._length(call))
        if call.protocol == "plain":
            return body_of(answer)
        calls = tool_calls_of(call.body) if draw.flaw is None else []
        body = way_of(body_of(answer))[0]
        if calls:
            body = {**body, "content": None, "tool_calls": calls, "finish_reason": "tool_calls"}
        return completion_of(body)

    def _length(self, call: Call) -> int:
        return len(call.body.get("system_prompt") or "") + len(self._question(call))

    def _answer(self, draw: _Draw, characters: int) -> LLMResponse:
        if draw.flaw == "failed":
            raise SimulatedFailureError("simulated failure")
        text = f"[simulated answer of {draw.words} words]"
        if draw.flaw == "refused":
            text = "I'm sorry, but I can't assist with that. [simulated]"
        return LLMResponse(
            content="" if draw.flaw == "empty" else text,
            model=self.model,
            provider=self._name,
            usage=Usage(prompt_tokens=characters // 4, completion_tokens=draw.words * 4 // 3),
            finish_reason="length" if draw.flaw == "truncated" else "stop",
            latency=draw.latency,
        )
