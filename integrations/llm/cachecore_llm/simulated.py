"""A provider that is none: it waits as long as a model would and says that it is a simulation.

For demonstrations and load tests without a key. Nothing it answers is about the question.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import positive
from cachecore_llm.errors import LLMError
from cachecore_llm.response import LLMResponse, Usage

_FLAWS: Final = ("truncated", "empty", "refused", "failed")


class SimulatedFailureError(LLMError):
    """The simulation plays a provider that fails."""


class SimulatedProvider:
    """Answers after a log-normal wait, as measured latencies of language models are distributed.

    The wait of a question is the same in every run, whatever order the questions come in, and so is what goes wrong
    with it: both are drawn from the seed and the question.
    """

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
            name: what stands in the answers' `provider`.
            median_latency: seconds that half of the answers take less than.
            spread: standard deviation of the logarithm of the latency; 0.5 puts the slowest 1 % at 3.2 medians.
            speed: by how much the waiting is shortened; what an answer says of its latency is not.
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
        """Return in words that this is a simulation, and of what."""
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

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        """Return a text that says it is simulated, after a while.

        Raises:
            SimulatedFailureError: the question is one of those that fail.
        """
        self.calls += 1
        chance = Random(f"{self._seed}\0{user_message}")  # noqa: S311 - a simulation, not a secret
        latency = chance.lognormvariate(self._mean, self._spread)
        flaw = chance.choice(_FLAWS) if chance.random() < self._flawed else None
        words = chance.randint(30, 120)
        await self._sleep(latency / self._speed)
        if flaw == "failed":
            raise SimulatedFailureError("simulated failure")
        text = f"[simulated answer of {words} words]"
        if flaw == "refused":
            text = "I'm sorry, but I can't assist with that. [simulated]"
        return LLMResponse(
            content="" if flaw == "empty" else text,
            model="simulated",
            provider=self._name,
            usage=Usage(prompt_tokens=(len(system_prompt) + len(user_message)) // 4, completion_tokens=words * 4 // 3),
            finish_reason="length" if flaw == "truncated" else "stop",
            latency=latency,
        )
