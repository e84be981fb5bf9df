"""The short way to a key is a way to the same key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore.keys import encode
from cachecore_llm import LLMRequest, LLMResponse, LLMService
from cachecore_llm.quick_requests import Quick
from tests.llm.flow.scripted import Scripted, caching


class Own:
    name = "own"
    identity: Mapping[str, str] = {"model": "own-1", "style": "plain"}

    async def generate(self, system_prompt: str, user_message: Any, context: Any = None, **params: Any) -> LLMResponse:
        return LLMResponse(content="x")


CACHE = caching()
SERVICES = [LLMService(Scripted(), CACHE), LLMService(Own(), CACHE)]
scalars = st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats(allow_nan=False) | st.text(max_size=4)
params = st.dictionaries(
    st.sampled_from(["model", "temperature", "top_p", "seed", "n", "user", "stop", "logprobs", "tools"]), scalars
)
requests = st.builds(
    LLMRequest,
    st.sampled_from(["", "s", "ß\0"]),
    st.text(max_size=5),
    st.none(),
    params,
    st.sampled_from([None, "acme"]),
    st.sampled_from([None, "faq/v3"]),
)


def short_way(service: LLMService, request: LLMRequest) -> Quick | None:
    """Return what the service finds for `request` the short way."""
    return service._quick.find(
        request.system_prompt,
        request.user_message,
        request.params,
        request.tenant,
        request.label,
        lambda: service._writer.keyed(request),
    )


@pytest.mark.parametrize("service", SERVICES, ids=["chat", "plain"])
@given(asked=st.lists(requests, max_size=4))
def test_short_and_long_way_meet(service: LLMService, asked: list[LLMRequest]) -> None:
    """Also for requests that are equal in Python and not here: 0, 0.0 and False."""
    for request in asked:
        quick = short_way(service, request)
        if quick is None:
            continue
        long = CACHE.flow.ask(service._writer.keyed(request))
        assert encode(quick[1]) == encode(long.request)
        assert quick[0] is long.view


@pytest.mark.parametrize("service", SERVICES, ids=["chat", "plain"])
def test_most_requests_take_the_short_way(service: LLMService) -> None:
    request = LLMRequest("s", "q", None, {"model": "m", "temperature": 0})
    assert short_way(service, request) is not None


def test_users_share_a_template() -> None:
    """Each has another name, and all of them the same key."""
    service = SERVICES[0]
    before = len(service._quick._templates)
    keys = {str(short_way(service, LLMRequest("t", "q", None, {"user": f"u{n}", "timeout": n}))) for n in range(50)}
    assert len(keys) == 1
    assert len(service._quick._templates) <= before + 1


@pytest.mark.parametrize(
    "given", [{"metadata": {"a": "b"}}, {"tools": [{"type": "function"}]}, {"response_format": {"type": "json_object"}}]
)
def test_what_needs_a_closer_look_does_not(given: Any) -> None:
    assert short_way(SERVICES[0], LLMRequest("s", "q", None, given)) is None
