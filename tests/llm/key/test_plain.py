"""Calls of providers without a wire, and calls of plain text, whose key is made the short way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from cachecore.keys import encode
from cachecore_llm.key import Keyed, key_of, shapes_answer, simple_key
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, ProtocolName
from tests.llm.key.asking import keyed

PICTURE = "data:image/png;base64,AAAA"


def plain(user_message: Any = "hi", context: Any = None, **params: Any) -> JsonObject:
    return {"system_prompt": "s", "user_message": user_message, "context": context, "params": params}


class City(BaseModel):
    name: str


class Town(BaseModel):
    name: str
    people: int


class Turn(BaseModel):
    role: str
    content: str
    name: str | None = None


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (plain(temperature=0), plain(temperature=0.0)),
        (plain(timeout=1), plain(timeout=2)),
        (plain(extra_headers={"X-Request-Id": "1", "x-stainless-os": "l"}), plain(extra_headers={"X-Request-Id": "2"})),
        (plain(extra_headers={"Anthropic-Beta": "a"}), plain(extra_headers={"anthropic-beta": "a"})),
        (
            plain([{"type": "image_url", "image_url": {"url": PICTURE}}]),
            plain([{"type": "image_url", "image_url": {"url": "data:IMAGE/PNG;base64,AA%41A"}}]),
        ),
        (plain(context=[Turn(role="user", content="x")]), plain(context=[{"role": "user", "content": "x"}])),
    ],
)
def test_one_request(a: JsonObject, b: JsonObject) -> None:
    assert keyed("plain", a) == keyed("plain", b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (plain(), plain(temperature=None)),
        (plain(user="a"), plain(user="b")),
        (plain(extra_headers={"x-user": "ann"}), plain(extra_headers={"x-user": "bob"})),
        (plain(extra_query={"a": 1}), plain(extra_query={"a": 2})),
        (plain(response_format=City), plain(response_format=Town)),
        (plain("hi"), plain([{"type": "text", "text": "hi"}])),
        (plain(context={"image": b"1"}), plain(context={"image": b"2"})),
        (plain(context=[]), plain()),
    ],
)
def test_two_requests(a: JsonObject, b: JsonObject) -> None:
    assert keyed("plain", a) != keyed("plain", b)


@pytest.mark.parametrize("name", ["Accept", "X-Request-ID", "x-stainless-lang", "traceparent", "Cookie", "Host"])
def test_a_header_of_transport_does_not_shape_an_answer(name: str) -> None:
    assert not shapes_answer(name)


@pytest.mark.parametrize(
    "name", ["anthropic-beta", "X-User", "Authorization", "accept-language", "openai-organization-tier"]
)
def test_any_other_header_does(name: str) -> None:
    assert shapes_answer(name)


names = st.sampled_from(
    [
        "model",
        "temperature",
        "top_p",
        "max_tokens",
        "seed",
        "n",
        "user",
        "stream",
        "metadata",
        "timeout",
        "store",
        "newer",
        "tools",
        "prompt",
        "request_id",
        "modalities",
        "stream_options",
        "web_search_options",
    ]
)
scalars = st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats(allow_nan=False) | st.text(max_size=5)
texts = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant"]), "content": st.text(max_size=8)}
)


@given(st.lists(texts, min_size=1, max_size=4), st.dictionaries(names, scalars, max_size=6))
def test_the_short_way_gives_the_same_key(messages: list[JsonObject], fields: JsonObject) -> None:
    """A chat, and a plain question, are keyed the same whichever way their key is made."""
    bodies: list[tuple[ProtocolName, JsonObject]] = [
        ("openai.chat", {**fields, "messages": messages}),
        ("plain", plain("q", messages, **fields)),
    ]
    for protocol, body in bodies:
        call = Call(protocol=protocol, endpoint="e", body=body, tenant="t")
        short = simple_key(call)
        try:
            facts = PROTOCOLS[protocol].parse(body)
            long = key_of(call, facts)
        except ValueError:  # a field of a wrong type: nothing but the provider's answer can be given
            assert short is None
            continue
        if short is not None:
            assert isinstance(long, Keyed)
            assert encode(short) == encode(long.request)
            assert not long.objects
            assert not facts.tools
            assert not facts.echoed


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]},
        {"messages": [], "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": [], "response_format": {"type": "json_object"}},
        {"messages": [], "metadata": {"a": "b"}},
        {"messages": [], "extra_body": {"a": 1}},
        {"messages": [], "web_search_options": {}},
    ],
)
def test_what_needs_a_closer_look_has_no_short_way(body: JsonObject) -> None:
    assert simple_key(Call(protocol="openai.chat", endpoint="e", body=body)) is None
