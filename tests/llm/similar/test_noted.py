"""Which questions are noted as answered, and under which partition: of answers made here, and of those in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm import CacheConfig, ResponseCache
from cachecore_llm.similar.protocol import Match
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import Call
from tests.llm.flow.scripted import WEATHER, completion


class Notes:
    """An index that keeps what it is told, in order."""

    def __init__(self, *, takes: bool = True) -> None:
        self.noted: list[tuple[str, str]] = []
        self._takes = takes

    def __len__(self) -> int:
        return len(self.noted)

    @property
    def size_bytes(self) -> int:
        return 0

    def add(self, partition: str, question: str) -> None:
        self.noted.append((partition, question))

    def discard(self, partition: str, question: str) -> None:
        raise AssertionError((partition, question))

    def takes(self, question: str) -> bool:
        return self._takes

    async def search(self, partition: str, question: str) -> list[Match]:
        raise AssertionError((partition, question))


def call(question: Any, system: str = "Bank.", turns: int = 1, tenant: str | None = None, **fields: Any) -> Call:
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": system},
            *[{"role": "user", "content": "Before that."}] * (turns - 1),
            {"role": "user", "content": question},
        ],
        **fields,
    }
    return Call(protocol="openai.chat", endpoint="https://api.test/v1/chat/completions", body=body, tenant=tenant)


async def send(asked: Call) -> Sent:
    return Sent(body=completion("An answer."), provider="p", fallback=False, latency=0.1)


COMPARED = [
    *(call("One?"), call("Two?")),
    *(call("One?", "Shop."), call("Three?"), call("Two?", "Shop.")),
    *(call("One?", temperature=0.5), call("One?", temperature=1), call("Two?", temperature=0.5)),
    *(call("One?", tenant="acme"), call("Four?"), call("Two?", tenant="acme")),
]
APART = [
    *(call("One?", tools=[WEATHER]), call("Two?", tools=[WEATHER])),
    *(call("One?", turns=2), call("Two?", turns=2), call("One?", n=2), call("Two?", n=2)),
    *(call("One?", response_format={"type": "json_object"}), call([{"type": "text", "text": "One?"}])),
]
MIXED = [one for pair in zip(COMPARED, [*APART, *APART[:3]], strict=True) for one in pair]
"""Requests whose questions are compared, each followed by one whose question is not."""


async def test_each_question_is_noted_with_what_it_was_asked_with(tmp_path: Path) -> None:
    """Whatever was noted just before. A process that finds the answers in the store notes the same."""
    noted = []
    for _ in range(2):
        notes = Notes()
        cache = ResponseCache(f"sqlite:///{tmp_path}/answers.db", CacheConfig(similar_index=notes))
        wanted = []
        for one in MIXED:
            await cache.flow.answer(one, send)
            asked = cache.flow.ask(one)
            if one in COMPARED:
                assert asked.question is not None
                wanted.append((asked.view.key(asked.question.rest), one.body["messages"][-1]["content"]))
        assert notes.noted == wanted
        assert len({partition for partition, _ in wanted}) == 5
        noted.append(notes.noted)
        await cache.aclose()
    assert noted[0] == noted[1]


async def test_nothing_is_noted_where_nothing_is_compared() -> None:
    """Neither of answers made here nor of those that another process has stored with their questions."""
    backend = MemoryBackend()
    for takes in (True, False):
        notes = Notes(takes=takes)
        async with ResponseCache(backend, CacheConfig(similar_index=notes)) as cache:
            await cache.flow.answer(call("One?"), send)
            assert (cache.metrics.hits, bool(notes.noted)) == ((0, True) if takes else (1, False))
