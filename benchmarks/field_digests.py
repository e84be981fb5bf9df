"""The cost of the digests of a request's fields: bytes of a stored answer, microseconds of a miss, a hit, an `explain`.

    python -m benchmarks field_digests

A miss pays for the digests once. A hit pays for the bytes alone, which it never reads: the same entry is decoded with
them and without, in turn. Each figure is the fastest of many short runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from benchmarks.running.results import Question, Table
from cachecore import Cache
from cachecore_llm import CacheConfig, LLMService, ResponseCache
from cachecore_llm.flow.fields import FieldDigester
from cachecore_llm.flow.nearest import Search
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.key import simple_key
from cachecore_llm.wire import Call, JsonObject

ROUNDS: Final = 300
SYSTEM: Final = {"role": "system", "content": "You are a helpful assistant."}
BODY: Final = json.dumps({"choices": [{"message": {"content": "You can order a new card in the app. " * 8}}]}).encode()


def _turns(number: int, size: int) -> list[JsonObject]:
    return [SYSTEM, *({"role": "user", "content": f"{place:04}" + "x" * (size - 4)} for place in range(number))]


REQUESTS: Final = {
    "a short question": _turns(1, 40),
    "20 messages of 500 characters": _turns(20, 500),
    "one message of 60 KB": _turns(1, 60_000),
}


def _fastest(call: Callable[[], Any], calls: int) -> float:
    """Return the microseconds of one call."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter() - began) / calls)
    return best * 1e6


def _of(messages: list[JsonObject]) -> dict[str, Any]:
    body = {"model": "gpt-5-mini", "temperature": 0, "messages": messages}
    request = simple_key(
        Call(protocol="openai.chat", endpoint="https://api.openai.com/v1", body=body, scope="c:" + "0" * 32)
    )
    assert request is not None
    digester = FieldDigester(Cache("memory://", ttl=60))
    packed = digester.packed(request)
    decode = msgspec.msgpack.Decoder(StoredAnswer).decode
    encoded = {
        with_digests: msgspec.msgpack.encode(
            StoredAnswer(protocol="openai.chat", body=BODY, provider="openai", fields=packed if with_digests else None)
        )
        for with_digests in (False, True)
    }
    search, stored = Search(digester.digests(request)), decode(encoded[True])
    return {
        "bytes": len(encoded[True]) - len(encoded[False]),
        "miss_us": round(_fastest(lambda: digester.packed(request), 20), 2),
        "decode_us": round(_fastest(lambda: decode(encoded[False]), 100), 3),
        "decode_with_digests_us": round(_fastest(lambda: decode(encoded[True]), 100), 3),
        "compare_us": round(_fastest(lambda: search.show("k", stored), 50), 2),
    }


async def _explained(entries: int, url: str) -> dict[str, float]:
    """Return the microseconds of `explain` for each of so many answers, in the request's namespace and in another."""

    class Own:
        name = "own"

        async def generate(self, system_prompt: str, user_message: Any, context: Any = None, **params: Any) -> Any:
            raise NotImplementedError

    async with ResponseCache(url, CacheConfig(prefix="bench-fields")) as cache:
        service = LLMService(Own(), cache)
        for number in range(entries):
            await cache.set("Be brief.", f"Question {number}?", None, _response(), model="m")
        taken = {}
        for place, prompt in (("same", "Be brief."), ("other", "Be long.")):
            began = time.perf_counter()
            report = await service.explain(prompt, "Question 1?", model="m", temperature=0)
            taken[place] = round((time.perf_counter() - began) / entries * 1e6, 1)
            assert report.comparable == entries, report
        await cache.invalidate_all()
    return taken


def _response() -> Any:
    from cachecore_llm import LLMResponse

    return LLMResponse("In the app, under Cards.", finish_reason="stop")


async def measure() -> list[Table]:
    rows: dict[str, dict[str, Any]] = {}
    for name, messages in REQUESTS.items():
        found = _of(messages)
        rows[name] = {
            "bytes of an entry": found["bytes"],
            "a miss, µs": found["miss_us"],
            "a hit from the store, µs": round(found["decode_with_digests_us"] - found["decode_us"], 3),
            "a comparison, µs": found["compare_us"],
        }
    taken = await _explained(2_000, "memory://")
    explained = {
        f"in {place} namespace": {"µs": taken[key]} for key, place in (("same", "its own"), ("other", "another"))
    }
    return [
        Table("the cost of digests", "a miss, µs", rows),
        Table("explain, for each stored answer", "µs", dict(explained)),
    ]


QUESTION = Question("field_digests", "The cost of the digests of a request's fields", measure, ["msgspec"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
