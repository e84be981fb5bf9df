"""The time that the service adds to a look-up of the same request: a hit in memory, with a short prompt and with 60 KB.

    python -m benchmarks llm_service

The look-up is the core's, of the very request that the service keys, in the same cache, in turn with the service. Each
figure is the fastest of many short runs, of a few milliseconds each: on a busy machine the others measure the machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import httpx2
import openai

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from cachecore_llm import LLMRequest, LLMResponse, LLMService, OpenAIProvider, ResponseCache, Usage

ROUNDS: Final = 300

SYSTEM = "You are a helpful assistant."
TEXT = "You can order a new card in the app, under Cards. " * 4


class Own:
    """A provider of an application's own."""

    name = "own"

    async def generate(self, system_prompt: str, user_message: Any, context: Any = None, **params: Any) -> LLMResponse:
        return LLMResponse(content=TEXT, model="m", usage=Usage(10, 5), finish_reason="stop")


def _completion(request: httpx2.Request) -> httpx2.Response:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return httpx2.Response(200, json=body)


def _openai() -> OpenAIProvider:
    transport = httpx2.AsyncClient(transport=httpx2.MockTransport(_completion))
    return OpenAIProvider("m", client=openai.AsyncOpenAI(api_key="x", base_url="http://a.test", http_client=transport))


async def _microseconds(call: Callable[[], Awaitable[Any]], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - began) / calls * 1e6


async def pair(provider: Any, question: str, calls: int) -> tuple[float, float]:
    """Return the microseconds of a hit through the service, and of a look-up of the same request."""
    async with ResponseCache("memory://", l1_max_age=1e6) as cache:
        service = LLMService(provider, cache)

        def ask() -> Coroutine[Any, Any, LLMResponse]:
            return service.generate(SYSTEM, question, model="m", temperature=0)

        async def compute() -> Any:
            raise AssertionError("it is stored")

        await ask()
        if (await ask()).cache_status != "hit":
            raise AssertionError("the answer was not stored")
        asked = cache.flow.ask(service._writer.keyed(_request(question)))
        through, looked_up = [], []
        for _ in range(max(10, round(ROUNDS * scale()))):
            through.append(await _microseconds(ask, calls))
            looked_up.append(await _microseconds(lambda: asked.view.lookup(asked.request, compute), calls))
        return min(through), min(looked_up)


def _request(question: str) -> LLMRequest:
    return LLMRequest(SYSTEM, question, None, {"model": "m", "temperature": 0})


async def measure() -> list[Table]:
    rows: dict[str, dict[str, Any]] = {}
    for name, make in (("an own provider", Own), ("OpenAI's chat", _openai)):
        for size, question, calls in (("a short prompt", "Where is my card?", 100), ("60 KB", "x" * 60_000, 30)):
            through, looked_up = await pair(make(), question, calls)
            rows[f"{name}, {size}"] = {
                "by the service, µs": round(through, 2),
                "a look-up, µs": round(looked_up, 2),
                "added µs": round(through - looked_up, 2),
                "×": round(through / looked_up, 3),
            }
    return [Table("a hit in memory", "added µs", rows)]


QUESTION = Question("llm_service", "The cost of the LLM service around a look-up", measure, ["openai"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
