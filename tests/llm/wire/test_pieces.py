"""Pieces stay small: a token costs half a byte, and no stream makes them grow without bound."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from cachecore_llm.wire import (
    ANTHROPIC_MESSAGES,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    JsonObject,
    Pieces,
    UnreadablePiecesError,
    WireProtocol,
    record,
    replays_exactly,
)
from cachecore_llm.wire.pieces import MAX_HEAD_BYTES, MAX_SLOTS, MAX_STEPS
from tests.llm.wire.golden import ALL, FOLDER

TOKENS: dict[str, list[str]] = json.loads((FOLDER / "tokens.json").read_text())
"""A thousand pieces of prose and of code, cut by the tokenizer of OpenAI's models."""

HEAD = {"id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "object": "chat.completion.chunk", "created": 1741570283}


def chat(texts: list[str]) -> list[JsonObject]:
    head = {**HEAD, "model": "gpt-4o-2024-08-06", "service_tier": "default", "system_fingerprint": "fp_50cad350e4"}

    def chunk(delta: JsonObject, finish: str | None = None) -> JsonObject:
        return {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    opening = chunk({"role": "assistant", "content": "", "refusal": None})
    usage = {**head, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
    return [opening, *(chunk({"content": text}) for text in texts), chunk({}, "stop"), usage]


def longer(protocol: WireProtocol, texts: list[str]) -> list[JsonObject]:
    """Return the golden stream `text` of a protocol with other pieces of text in it."""
    golden = next(golden for golden in ALL if golden.protocol is protocol and golden.name == "text")
    events: list[JsonObject] = []
    growing = [event for event in golden.events if event["type"].endswith("delta") and "delta" in event]
    growing = [event for event in growing if event["type"] != "message_delta"]
    before = "".join(_text(event) for event in growing)
    whole = "".join(texts)
    for event in golden.events:
        if event not in growing:
            events.append(json.loads(json.dumps(event).replace(json.dumps(before), json.dumps(whole))))
        elif event == growing[0]:
            delta = event["delta"]
            pieces = [text if isinstance(delta, str) else {**delta, "text": text} for text in texts]
            events += [{**event, "delta": piece} for piece in pieces]
    if "sequence_number" in events[0]:
        events = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    return events


def _text(event: JsonObject) -> str:
    delta: Any = event["delta"]
    return delta if isinstance(delta, str) else str(delta["text"])


STREAMS: dict[WireProtocol, Callable[[list[str]], list[JsonObject]]] = {
    OPENAI_CHAT: chat,
    OPENAI_RESPONSES: lambda texts: longer(OPENAI_RESPONSES, texts),
    ANTHROPIC_MESSAGES: lambda texts: longer(ANTHROPIC_MESSAGES, texts),
}


@pytest.mark.parametrize("protocol", STREAMS, ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("kind", TOKENS)
def test_a_thousand_tokens_take_half_a_kilobyte(protocol: WireProtocol, kind: str) -> None:
    tokens = TOKENS[kind]
    assert len(tokens) == 1_000
    events = STREAMS[protocol](tokens)
    recording = record(protocol, events)
    assert recording.complete
    assert replays_exactly(protocol, events, recording)
    assert recording.pieces is not None
    assert len(recording.pieces.encode()) <= 500
    assert protocol.facts(recording.body or {}).choices[0].text == "".join(tokens)


def test_a_long_stream_keeps_coarser_pieces() -> None:
    texts = ["ab"] * (3 * MAX_STEPS)
    recording = record(OPENAI_CHAT, chat(texts))
    assert recording.body is not None
    assert recording.pieces is not None
    assert len(recording.pieces.steps) < MAX_STEPS
    assert len(recording.pieces.encode()) < 7_000
    events = list(OPENAI_CHAT.events_of(recording.body, recording.pieces))
    assert len(events) > MAX_STEPS // 3
    assert record(OPENAI_CHAT, events).body == recording.body


def test_a_stream_that_cannot_be_made_coarser_has_no_pieces() -> None:
    """Two fields that take turns: the body is whole, and is streamed by words."""
    deltas = [{"content": "a"}, {"refusal": "b"}] * MAX_STEPS
    events = [{**HEAD, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    events.append({**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    recording = record(OPENAI_CHAT, events)
    assert recording.complete
    assert recording.pieces is None
    assert recording.body is not None
    assert record(OPENAI_CHAT, OPENAI_CHAT.events_of(recording.body)).body == recording.body


@pytest.mark.parametrize("name", ["field{}", "field{}" * 500])
def test_many_or_long_names_have_no_pieces(name: str) -> None:
    deltas = [{name.replace("{}", str(number)): "x"} for number in range(MAX_SLOTS + 10)]
    recording = record(OPENAI_CHAT, [{**HEAD, "choices": [{"index": 0, "delta": delta}]} for delta in deltas])
    assert recording.pieces is None
    assert not recording.whole


def test_pieces_of_another_answer_are_not_used() -> None:
    """They would cut the text short; the body is streamed by words instead."""
    longer_one, shorter = (record(OPENAI_CHAT, chat(texts)) for texts in (["abc"] * 9, ["xyz"]))
    assert longer_one.body is not None
    assert record(OPENAI_CHAT, OPENAI_CHAT.events_of(longer_one.body, shorter.pieces)).body == longer_one.body


def test_a_bomb_is_refused() -> None:
    """Compressed columns beyond the bounds are an error before they are memory."""

    def packed(data: bytes) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush()

    def varint(number: int) -> bytes:
        out = b""
        while number > 127:
            out += bytes([number & 127 | 128])
            number >>= 7
        return out + bytes([number])

    for steps, head in ((1, b'[["a"],{}]'), (MAX_STEPS + 1, b'[["a"],{}]'), (1, b" " * (MAX_HEAD_BYTES + 1))):
        bomb = bytes([1]) + varint(steps)
        for part in (head, bytes(5_000_000), bytes(5_000_000)):
            bomb += varint(len(packed(part))) + packed(part)
        with pytest.raises(UnreadablePiecesError):
            Pieces.decode(bomb)
