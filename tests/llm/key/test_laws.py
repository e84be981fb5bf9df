"""Laws of keys: which changes of a request make no difference, and that every other change makes one."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from cachecore_llm.key.blocks import MARKS
from cachecore_llm.wire import JsonObject, ProtocolName
from tests.llm.key.asking import keyed
from tests.llm.wire.strategies import json_objects, json_values, texts, words

chances = st.randoms(use_true_random=False)
pngs = st.binary(max_size=40)


def picture(protocol: ProtocolName, data: str, kind: str = "image/png") -> JsonObject:
    url = f"data:{kind};base64,{data}"
    if protocol == "openai.chat":
        return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    if protocol == "openai.responses":
        return {"type": "input_image", "image_url": url}
    return {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}


def says(protocol: ProtocolName, text: str) -> JsonObject:
    return {"type": "input_text" if protocol == "openai.responses" else "text", "text": text}


protocols: st.SearchStrategy[ProtocolName] = st.sampled_from(["openai.chat", "openai.responses", "anthropic.messages"])


def call(protocol: ProtocolName, name: str, arguments: JsonObject) -> JsonObject:
    """Return a message of the model with one call of a tool."""
    if protocol == "openai.responses":
        return {"type": "function_call", "call_id": name, "name": "f", "arguments": json.dumps(arguments)}
    if protocol == "openai.chat":
        function = {"name": "f", "arguments": json.dumps(arguments)}
        return {"role": "assistant", "tool_calls": [{"id": name, "type": "function", "function": function}]}
    return {"role": "assistant", "content": [{"type": "tool_use", "id": name, "name": "f", "input": arguments}]}


def result(protocol: ProtocolName, name: str, parts: list[JsonObject]) -> JsonObject:
    """Return a message with the result of a call."""
    if protocol == "openai.responses":
        return {"type": "function_call_output", "call_id": name, "output": parts}
    if protocol == "openai.chat":
        return {"role": "tool", "tool_call_id": name, "content": parts}
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": name, "content": parts}]}


def body_of(protocol: ProtocolName, turns: list[JsonObject], **fields: Any) -> JsonObject:
    turns_field = "input" if protocol == "openai.responses" else "messages"
    return {"model": "m", "max_tokens": 9, turns_field: turns, **fields}


def tool(protocol: ProtocolName, schema: JsonObject) -> JsonObject:
    if protocol == "openai.chat":
        return {"type": "function", "function": {"name": "f", "parameters": schema}}
    if protocol == "openai.responses":
        return {"type": "function", "name": "f", "parameters": schema}
    return {"name": "f", "input_schema": schema}


@st.composite
def bodies(draw: st.DrawFn, protocol: ProtocolName) -> JsonObject:
    """A conversation with text, pictures, calls of tools and their results, and fields that are unheard of."""
    turns: list[JsonObject] = []
    for place in range(draw(st.integers(0, 3))):
        parts = [says(protocol, draw(texts))]
        if draw(st.booleans()):
            parts.append(picture(protocol, base64.b64encode(draw(pngs)).decode()))
        turns.append({"role": "user", "content": parts})
        if draw(st.booleans()):
            turns.append(call(protocol, f"call {place}", draw(json_objects)))
            turns.append(result(protocol, f"call {place}", [says(protocol, draw(texts)), *parts[1:]]))
    properties = {name: {"type": "string"} for name in draw(st.lists(words, max_size=3, unique=True))}
    schema = {"type": "object", "properties": properties, "x": draw(json_objects)}
    unknown = {f"new_{name}": value for name, value in draw(st.dictionaries(words, json_values, max_size=3)).items()}
    return body_of(protocol, turns, tools=[tool(protocol, schema)], temperature=0.5, **unknown)


requests = protocols.flatmap(lambda protocol: st.tuples(st.just(protocol), bodies(protocol)))


# --- marks


def marked(value: Any, chance: Random) -> Any:
    """Return turns, blocks or tools with marks on some of them, also inside results of tools."""
    if isinstance(value, list):
        return [marked(one, chance) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: marked(one, chance) if key in ("content", "output") else one for key, one in value.items()}
    if chance.random() < 0.5:
        made[chance.choice(sorted(MARKS))] = {"type": "ephemeral", "ttl": chance.choice(["5m", "1h"])}
    return made


@given(requests, chances)
def test_marks_make_no_difference(request: tuple[ProtocolName, JsonObject], chance: Random) -> None:
    protocol, body = request
    fields = {key: marked(one, chance) if key in ("messages", "input", "tools") else one for key, one in body.items()}
    assert keyed(protocol, {**fields, "cache_control": {"type": "ephemeral"}}) == keyed(protocol, body)


# --- order


def shuffled(value: Any, chance: Random, *, keep: bool = False) -> Any:
    """Return a value with the fields of its objects in another order, those of `properties` excepted."""
    if isinstance(value, list):
        return [shuffled(one, chance) for one in value]
    if not isinstance(value, dict):
        return value
    fields = list(value.items()) if keep else chance.sample(list(value.items()), len(value))
    return {key: shuffled(one, chance, keep=key == "properties") for key, one in fields}


@given(requests, chances)
def test_the_order_of_fields_makes_no_difference(request: tuple[ProtocolName, JsonObject], chance: Random) -> None:
    protocol, body = request
    assert keyed(protocol, shuffled(body, chance)) == keyed(protocol, body)


@given(st.lists(words, min_size=1), chances)
def test_the_order_of_words_in_a_set_makes_no_difference(given_words: list[str], chance: Random) -> None:
    other = chance.sample(given_words, len(given_words)) + given_words[:1]
    sets: list[tuple[ProtocolName, str]] = [("openai.responses", "include"), ("openai.chat", "modalities")]
    for protocol, field in sets:
        a, b = (body_of(protocol, [], **{field: some}) for some in (given_words, other))
        assert keyed(protocol, a) == keyed(protocol, b)
    turns = body_of("anthropic.messages", [])
    first, second = ({"anthropic-beta": ",".join(some)} for some in (given_words, other))
    assert keyed("anthropic.messages", turns, headers=first) == keyed("anthropic.messages", turns, headers=second)


@given(protocols, st.lists(words, min_size=2, max_size=5, unique=True), chances)
def test_the_order_of_properties_makes_a_difference(protocol: ProtocolName, names: list[str], chance: Random) -> None:
    other = chance.sample(names, len(names))
    a, b = (tool(protocol, {"properties": {name: {} for name in order}}) for order in (names, other))
    equal = keyed(protocol, body_of(protocol, [], tools=[a])) == keyed(protocol, body_of(protocol, [], tools=[b]))
    assert equal is (names == other)


@given(protocols, st.lists(texts, min_size=2, max_size=5, unique=True), chances)
def test_the_order_of_turns_makes_a_difference(protocol: ProtocolName, said: list[str], chance: Random) -> None:
    other = chance.sample(said, len(said))
    a, b = (body_of(protocol, [{"role": "user", "content": text} for text in order]) for order in (said, other))
    assert (keyed(protocol, a) == keyed(protocol, b)) is (said == other)


# --- ids

POOL = ("toolu_1", "toolu_2", "toolu_3")


@st.composite
def two_namings(draw: st.DrawFn) -> tuple[list[bool], list[str], list[str]]:
    """Which turns are calls (the others are results), and two ways to give each an id."""
    calls = draw(st.lists(st.booleans(), min_size=1, max_size=6))
    ids = st.lists(st.sampled_from(POOL), min_size=len(calls), max_size=len(calls))
    return calls, draw(ids), draw(ids)


def pattern(calls: list[bool], ids: list[str]) -> list[str | int]:
    """Return what tells two namings apart: the place where an id is first seen, or an id that no call bears."""
    called = {one for one, is_call in zip(ids, calls, strict=True) if is_call}
    return [ids.index(one) if one in called else one for one in ids]


@given(protocols, two_namings())
def test_ids_count_by_first_appearance(protocol: ProtocolName, naming: tuple[list[bool], list[str], list[str]]) -> None:
    """Two requests that differ in ids alone are one if, and only if, the same calls have the same results."""
    calls, *both = naming
    a, b = (
        body_of(
            protocol,
            [
                call(protocol, one, {}) if is_call else result(protocol, one, [says(protocol, "r")])
                for one, is_call in zip(ids, calls, strict=True)
            ],
        )
        for ids in both
    )
    assert (keyed(protocol, a) == keyed(protocol, b)) is (pattern(calls, both[0]) == pattern(calls, both[1]))


@given(protocols, st.lists(words, min_size=2, max_size=4, unique=True), st.lists(texts, min_size=2, max_size=2))
def test_swapped_results_are_another_request(protocol: ProtocolName, ids: list[str], said: list[str]) -> None:
    assume(said[0] != said[1])
    ids = [f"call {one}" for one in ids]
    asked = [call(protocol, one, {}) for one in ids]
    a, b = (
        [result(protocol, one, [says(protocol, text)]) for one, text in zip(ids, order, strict=False)]
        for order in (said, said[::-1])
    )
    assert keyed(protocol, body_of(protocol, asked + a)) != keyed(protocol, body_of(protocol, asked + b))


# --- media


def broken(data: str, chance: Random) -> str:
    """Return base64 with white space in places."""
    return "".join(one + chance.choice(["", "", "\n", "\r\n", " ", "\t"]) for one in data)


@given(protocols, pngs, pngs, chances)
def test_a_picture_is_its_content(protocol: ProtocolName, content: bytes, other: bytes, chance: Random) -> None:
    def body(data: bytes, kind: str = "image/png") -> JsonObject:
        text = broken(base64.b64encode(data).decode(), chance)
        shown = picture(protocol, text, kind)
        return body_of(protocol, [{"role": "user", "content": [shown]}, result(protocol, "c", [shown])])

    assert keyed(protocol, body(content)) == keyed(protocol, body(content))
    assert (keyed(protocol, body(content)) == keyed(protocol, body(other))) is (content == other)
    assert keyed(protocol, body(content)) != keyed(protocol, body(content, "image/jpeg"))


# --- everything else


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of the texts in a value that are keyed as they are."""
    if isinstance(value, str):
        is_apart = path[-1] in ("call_id", "tool_call_id", "tool_use_id", "id", "url", "image_url", "data")
        is_kind = path[0] == "tools" and path[-1] == "type"  # of another kind, the tool may have effects
        return [] if (is_apart and not str(path[0]).startswith("new_")) or is_kind else [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, one in inner for found in leaves(one, (*path, key))]


def changed(value: Any, path: tuple[str | int, ...], text: str) -> Any:
    """Return a value with `text` added to the text at `path`."""
    if not path:
        return value + text
    made: Any = dict(value) if isinstance(value, dict) else list(value)
    made[path[0]] = changed(value[path[0]], path[1:], text)
    return made


@given(requests, st.data())
def test_every_other_text_makes_a_difference(request: tuple[ProtocolName, JsonObject], data: st.DataObject) -> None:
    protocol, body = request
    path = data.draw(st.sampled_from(leaves(body)))
    other = changed(body, path, data.draw(texts.filter(bool)))
    assert keyed(protocol, other) != keyed(protocol, body)
