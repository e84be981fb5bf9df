"""Instructor with a client of our own behind its cache slot."""

from __future__ import annotations

from typing import Any

import pytest

instructor: Any = pytest.importorskip("instructor", reason="instructor is not installed: make frameworks")
pytest.importorskip("instructor.cache", reason="this Instructor has no cache slot: make frameworks")
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from cachecore_frameworks.instructor import InstructorCache

pytestmark = pytest.mark.filterwarnings("ignore")  # of Instructor's own making


class Place(BaseModel):
    city: str


ASKED: dict[str, Any] = {
    "model": "counting",
    "messages": [{"role": "user", "content": "where?"}],
    "response_model": Place,
}


class Provider:
    def __init__(self) -> None:
        self.calls = 0

    def create(self, *args: Any, **kwargs: Any) -> ChatCompletion:
        self.calls += 1
        call = {"name": "Place", "arguments": f'{{"city": "Rome {self.calls}"}}'}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "one", "type": "function", "function": call}],
        }
        return ChatCompletion.model_validate(
            {
                "id": "c",
                "object": "chat.completion",
                "created": 1,
                "model": "counting",
                "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
            }
        )

    async def acreate(self, *args: Any, **kwargs: Any) -> ChatCompletion:
        return self.create()


def test_sync_hits(store: str) -> None:
    provider, cache = Provider(), InstructorCache(store, ttl=60)
    create = instructor.patch(create=provider.create, mode=instructor.Mode.TOOLS)
    assert [create(**ASKED, cache=cache).city for _ in range(2)] == ["Rome 1"] * 2
    assert create(**ASKED, cache=cache, temperature=0.5).city == "Rome 2"
    cache._slot.sync_cache.invalidate_all()
    assert create(**ASKED, cache=cache, cache_ttl=5).city == "Rome 3"
    cache.close()


async def test_async_hits(store: str) -> None:
    provider, cache = Provider(), InstructorCache(store, ttl=60)
    create = instructor.patch(create=provider.acreate, mode=instructor.Mode.TOOLS)
    assert [(await create(**ASKED, cache=cache)).city for _ in range(2)] == ["Rome 1"] * 2
    cache.close()
