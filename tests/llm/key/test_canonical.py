"""Examples of requests that are one, and of requests that are two."""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any

import pytest

from cachecore_llm.key import Digester
from cachecore_llm.wire import JsonObject, ProtocolName, UnreadableRequestError
from tests.llm.key.asking import ask, chat, keyed, messages, objects, responses

PICTURE = bytes(range(256))
BASE64 = base64.b64encode(PICTURE).decode()
BROKEN = base64.encodebytes(PICTURE).decode()
OTHER = base64.b64encode(PICTURE[::-1]).decode()
MARK = {"type": "ephemeral"}


def item(part: JsonObject) -> JsonObject:
    return {"role": "user", "content": [part]}


def same(protocol: ProtocolName, a: JsonObject, b: JsonObject) -> bool:
    return keyed(protocol, a) == keyed(protocol, b)


MEDIA: list[tuple[ProtocolName, Any]] = [
    ("openai.chat", lambda d: chat({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{d}"}})),
    ("openai.chat", lambda d: chat({"type": "image_url", "image_url": f"data:image/png;base64,{d}"})),
    ("openai.chat", lambda d: chat({"type": "input_audio", "input_audio": {"data": d, "format": "wav"}})),
    ("openai.chat", lambda d: chat({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{d}"}})),
    ("openai.chat", lambda d: chat({"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{d}"}})),
    ("openai.responses", lambda d: responses(item({"type": "input_image", "image_url": f"data:image/png;base64,{d}"}))),
    ("openai.responses", lambda d: responses(item({"type": "input_file", "file_data": d}))),
    (
        "openai.responses",
        lambda d: responses(
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [{"type": "input_image", "image_url": f"data:image/png;base64,{d}"}],
            }
        ),
    ),
    (
        "openai.responses",
        lambda d: responses(
            {
                "type": "computer_call_output",
                "call_id": "c",
                "output": {"type": "computer_screenshot", "image_url": f"data:image/png;base64,{d}"},
            }
        ),
    ),
    ("openai.responses", lambda d: responses({"type": "image_generation_call", "id": "ig", "result": d})),
    (
        "openai.responses",
        lambda d: responses(
            prompt={
                "id": "p",
                "version": "1",
                "variables": {"v": {"type": "input_image", "image_url": f"data:image/png;base64,{d}"}},
            }
        ),
    ),
    (
        "openai.responses",
        lambda d: responses(
            tools=[{"type": "image_generation", "input_image_mask": {"image_url": f"data:image/png;base64,{d}"}}]
        ),
    ),
    (
        "anthropic.messages",
        lambda d: messages({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": d}}),
    ),
    (
        "anthropic.messages",
        lambda d: messages(
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": d}}],
            }
        ),
    ),
    (
        "anthropic.messages",
        lambda d: messages(
            {
                "type": "document",
                "source": {
                    "type": "content",
                    "content": [{"type": "image", "source": {"type": "base64", "media_type": "a/b", "data": d}}],
                },
            }
        ),
    ),
]


@pytest.mark.parametrize(("protocol", "body"), MEDIA)
def test_media_are_keyed_by_content(protocol: ProtocolName, body: Any) -> None:
    assert same(protocol, body(BASE64), body(BROKEN))
    assert not same(protocol, body(BASE64), body(OTHER))
    assert BASE64.encode() not in keyed(protocol, body(BASE64))


def test_a_data_url_is_read_as_browsers_do() -> None:
    def body(url: str) -> JsonObject:
        return chat({"type": "image_url", "image_url": {"url": url}})

    plain = body(f"data:image/png;base64,{BASE64}")
    assert same("openai.chat", plain, body(f"DATA:image/PNG;Base64,{BASE64}"))
    assert same("openai.chat", plain, body(f"data:image/png;base64,{BASE64.replace('+', '%2B').replace('=', '%3D')}"))
    assert not same("openai.chat", plain, body(f"data:image/jpeg;base64,{BASE64}"))
    assert not same("openai.chat", plain, body(BASE64))


@pytest.mark.parametrize("broken", ["@@@", "AAA", "A===", "\ud800", "%FF", "é", "QUJD=QUJD"])
def test_what_is_no_base64_is_keyed_as_it_is(broken: str) -> None:
    def body(data: str) -> JsonObject:
        return chat({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})

    assert not same("openai.chat", body(broken), body(broken + "\n"))


def test_a_text_that_looks_like_media_is_a_text() -> None:
    def body(text: str) -> JsonObject:
        return chat({"type": "text", "text": text})

    assert not same(
        "openai.chat",
        body(f"data:image/png;base64,{BASE64}"),
        body(f"data:image/png;base64,{BASE64[:4]}\n{BASE64[4:]}"),
    )
    source = {"type": "text", "media_type": "text/plain"}
    a = messages({"type": "document", "source": {**source, "data": "QUJD"}})
    assert not same("anthropic.messages", a, messages({"type": "document", "source": {**source, "data": "QU JD"}}))


def test_a_url_is_keyed_as_text() -> None:
    def body(url: str) -> JsonObject:
        return chat({"type": "image_url", "image_url": {"url": url}})

    assert not same("openai.chat", body("https://host/a.png"), body("https://host/b.png"))


TOOL = {"name": "f", "input_schema": {}}
MARKED: list[tuple[ProtocolName, Any]] = [
    (
        "openai.responses",
        lambda m: responses(
            prompt={"id": "p", "version": "1", "variables": {"v": {"type": "input_text", "text": "x", **m}}}
        ),
    ),
    (
        "anthropic.messages",
        lambda m: messages(
            {
                "type": "tool_search_tool_result",
                "tool_use_id": "t",
                "content": {
                    "type": "tool_search_tool_search_result",
                    "tool_references": [{"type": "tool_reference", "tool_name": "f", **m}],
                },
            }
        ),
    ),
    ("anthropic.messages", lambda m: messages({"type": "compaction", "content": "x", "tool_changes": [added(m)]})),
    ("anthropic.messages", lambda m: messages(added(m))),
    ("openai.chat", lambda m: chat({"type": "text", "text": "x", **m})),
    ("openai.chat", lambda m: chat(tools=[{"type": "function", "function": {"name": "f"}, **m}])),
    ("openai.chat", lambda m: chat(tools=[{"type": "function", "function": {"name": "f", **m}}])),
    ("openai.responses", lambda m: responses(item({"type": "input_text", "text": "x", **m}))),
    (
        "openai.responses",
        lambda m: responses(
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x", **m}]}
        ),
    ),
    ("anthropic.messages", lambda m: messages(**m)),
    ("anthropic.messages", lambda m: messages({"type": "text", "text": "x", **m})),
    ("anthropic.messages", lambda m: messages(system=[{"type": "text", "text": "x", **m}])),
    ("anthropic.messages", lambda m: messages(tools=[{"name": "f", "input_schema": {}, **m}])),
    (
        "anthropic.messages",
        lambda m: messages(
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x", **m}], **m}
        ),
    ),
]


def added(more: JsonObject) -> JsonObject:
    """Return a block that offers one more tool, marked in both places where it can be."""
    return {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {**TOOL, **more}}, **more}


DATA: list[tuple[ProtocolName, Any]] = [
    ("openai.chat", lambda m: chat(tools=[{"type": "function", "function": {"name": "f", "parameters": m}}])),
    (
        "openai.chat",
        lambda m: chat(
            tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": m}}}]
        ),
    ),
    ("openai.responses", lambda m: responses(prompt={"id": "p", "version": "1", "variables": m})),
    ("openai.responses", lambda m: responses({"type": "shell_call", "call_id": "c", "action": m})),
    ("anthropic.messages", lambda m: messages(tools=[{"name": "f", "input_schema": {"properties": m}}])),
    ("anthropic.messages", lambda m: messages({"type": "tool_use", "id": "t", "name": "f", "input": m})),
    ("anthropic.messages", lambda m: messages({"type": "tool_result", "tool_use_id": "t", "content": m})),
]


@pytest.mark.parametrize("name", ["cache_control", "prompt_cache_breakpoint"])
@pytest.mark.parametrize(("protocol", "body"), MARKED)
def test_a_mark_is_not_keyed(protocol: ProtocolName, body: Any, name: str) -> None:
    assert same(protocol, body({}), body({name: MARK}))


@pytest.mark.parametrize(("protocol", "body"), DATA)
def test_data_with_the_name_of_a_mark_is_keyed(protocol: ProtocolName, body: Any) -> None:
    assert not same(protocol, body({}), body({"cache_control": MARK}))
    assert not same(protocol, body({"cache_control": MARK}), body({"cache_control": {"type": "other"}}))


def test_null_is_absent_where_the_sdk_sends_it_so() -> None:
    assert same("openai.chat", chat(stop=None), chat())
    assert not same("anthropic.messages", messages(inference_geo=None), messages())


def test_zero_is_one_number_for_real_numbers() -> None:
    assert same("openai.chat", chat(temperature=0), chat(temperature=0.0))
    assert not same("openai.chat", chat(temperature=0), chat(temperature=False))
    assert not same("openai.chat", chat(temperature=2**53), chat(temperature=2**53 + 1))
    assert not same("openai.chat", chat(temperature=10**400), chat(temperature=10**400 + 1))


def test_storing_is_the_default_of_responses_alone() -> None:
    assert same("openai.responses", responses(store=True), responses())
    assert not same("openai.responses", responses(store=False), responses())
    assert not same("openai.chat", chat(store=True), chat())


def test_options_of_the_prompt_cache() -> None:
    assert same("openai.chat", chat(prompt_cache_options={"mode": "explicit", "ttl": "30m"}), chat())
    assert not same("openai.chat", chat(prompt_cache_options={"mode": "explicit", "new": 1}), chat())


def test_headers_endpoint_scope_and_tenant_count() -> None:
    def bytes_of(**more: Any) -> bytes:
        return keyed("anthropic.messages", messages(), **more)

    beta = bytes_of(headers={"anthropic-beta": "a,b"})
    assert bytes_of(headers={"anthropic-beta": " b, a,a"}) == beta
    assert bytes_of(headers={"anthropic-beta": "a"}) != beta
    assert bytes_of(headers={"other": "a,b"}) != bytes_of(headers={"other": "b,a"})
    different = [bytes_of(), beta, bytes_of(scope="x"), bytes_of(tenant="x"), bytes_of(prompt="x")]
    assert len(set(different)) == len(different)


def test_a_result_of_a_call_that_the_provider_keeps_keeps_its_id() -> None:
    def answer(call: str) -> JsonObject:
        return responses(
            {"type": "function_call_output", "call_id": call, "output": "42"}, previous_response_id="resp_1"
        )

    assert not same("openai.responses", answer("call_1"), answer("call_2"))
    assert objects("openai.responses", answer("call_1")) == {"call_id", "previous_response_id"}


def test_an_id_that_is_spoken_of_keeps_its_name() -> None:
    def body(first: str, second: str) -> JsonObject:
        return {
            "model": "m",
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": first, "type": "function"}, {"id": second}]},
                {"role": "user", "content": "call_a"},
            ],
        }

    assert not same("openai.chat", body("call_a", "call_b"), body("call_b", "call_a"))
    assert same("openai.chat", body("call_x", "call_b"), body("call_b", "call_x"))


def test_shell_outputs_are_paired_by_their_id() -> None:
    def body(first: str, second: str) -> JsonObject:
        calls = [{"type": "local_shell_call", "call_id": one} for one in ("a", "b")]
        outputs = [{"type": "local_shell_call_output", "id": one, "output": "x"} for one in (first, second)]
        outputs[1]["output"] = "y"
        return responses(*calls, *outputs)

    assert not same("openai.responses", body("a", "b"), body("b", "a"))


def test_the_order_of_a_schemas_properties_counts() -> None:
    def body(*names: str) -> JsonObject:
        schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}}
        return chat(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {"items": schema}}})

    assert not same("openai.chat", body("reasoning", "result"), body("result", "reasoning"))


@pytest.mark.parametrize(
    ("protocol", "given"),
    [(name, make(BROKEN)) for name, make in MEDIA] + [(name, make({"cache_control": MARK})) for name, make in MARKED],
)
def test_a_body_is_left_as_it_is(protocol: ProtocolName, given: JsonObject) -> None:
    before = deepcopy(given)
    ask(protocol, given)
    assert given == before


def test_a_body_that_is_too_deep_has_no_key() -> None:
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    with pytest.raises(UnreadableRequestError, match="nested at most 100 deep"):
        ask("openai.chat", chat(deep=deep))


def test_the_key_of_digests_decides_them_and_is_bounded() -> None:
    assert Digester(b"a").digest("s") != Digester(b"b").digest("s") != Digester().digest("s")
    assert Digester(b"a").digest({"x": 1, "y": 2}) == Digester(b"a").digest({"y": 2, "x": 1})
    with pytest.raises(ValueError, match="at most 64 bytes, not 65"):
        Digester(bytes(65))
