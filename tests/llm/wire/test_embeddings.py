"""Embeddings are split into one request for each input, and joined again to what the SDK reads."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from cachecore_llm.wire import OPENAI_EMBEDDINGS, JsonObject, NoStreamError, RequestFacts, ServerEvent, WireProtocol
from tests.llm.wire import sdk


def vector(*values: float) -> str:
    """Return a vector as the SDK asks for it."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def answer(*embeddings: Any) -> JsonObject:
    data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(embeddings)]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 8}}


REQUEST = {"model": "m", "input": ["a", "b", "c"], "encoding_format": "base64", "dimensions": 2}


def test_a_request_is_split_and_merged() -> None:
    parts = OPENAI_EMBEDDINGS.split(REQUEST)
    assert [part["input"] for part in parts] == ["a", "b", "c"]
    assert all(part["dimensions"] == 2 for part in parts)
    assert OPENAI_EMBEDDINGS.merged(parts) == REQUEST
    assert OPENAI_EMBEDDINGS.merged(parts[:1])["input"] == ["a"]
    assert OPENAI_EMBEDDINGS.split({"model": "m", "input": [1, 2]}) == [{"model": "m", "input": [1, 2]}]


def test_requests_that_differ_are_not_merged() -> None:
    a, b = OPENAI_EMBEDDINGS.split({"model": "m", "input": ["a", "b"]})
    with pytest.raises(ValueError, match="differ"):
        OPENAI_EMBEDDINGS.merged([a, {**b, "model": "other"}])
    with pytest.raises(ValueError, match="at least one"):
        OPENAI_EMBEDDINGS.merged([])


def test_an_answer_is_split_and_joined() -> None:
    whole = answer(vector(1, 2), vector(3, 4), vector(5, 6))
    parts = OPENAI_EMBEDDINGS.answers_of(whole, 3)
    assert [part["data"] for part in parts] == [
        [{"object": "embedding", "index": 0, "embedding": vector(*values)}] for values in ((1, 2), (3, 4), (5, 6))
    ]
    assert all("usage" not in part for part in parts)  # only the sum is known
    joined = OPENAI_EMBEDDINGS.joined(parts, whole["usage"])
    assert joined == whole
    assert sdk.whole("openai.embeddings", joined) == sdk.whole("openai.embeddings", whole)
    reordered = OPENAI_EMBEDDINGS.joined([parts[2], parts[0]], None)
    assert [entry["embedding"] for entry in reordered["data"]] == [vector(5, 6), vector(1, 2)]
    assert [entry["index"] for entry in reordered["data"]] == [0, 1]
    assert reordered["usage"] == {"prompt_tokens": 0, "total_tokens": 0}
    read = sdk.whole("openai.embeddings", reordered)
    assert len(read["data"]) == 2


def test_the_answer_to_one_input_keeps_its_usage() -> None:
    (one,) = OPENAI_EMBEDDINGS.answers_of(answer(vector(1, 2)), 1)
    assert one["usage"] == {"prompt_tokens": 8, "total_tokens": 8}


def test_entries_are_told_by_their_index_and_not_by_their_place() -> None:
    whole = answer([1.0], [2.0])
    whole["data"].reverse()
    assert [part["data"][0]["embedding"] for part in OPENAI_EMBEDDINGS.answers_of(whole, 2)] == [[1.0], [2.0]]


@pytest.mark.parametrize("indices", [[0], [0, 0], [0, 2], [1, 2], [0, 1, 2], [0, 1, 1], [0, -1], [0, "1"]])
def test_an_answer_that_does_not_fit_the_inputs_is_refused(indices: list[Any]) -> None:
    data = [{"object": "embedding", "index": index, "embedding": [1.0]} for index in indices]
    with pytest.raises(ValueError, match="answer"):
        OPENAI_EMBEDDINGS.answers_of({"object": "list", "data": data}, 2)


def test_facts() -> None:
    facts = OPENAI_EMBEDDINGS.facts(answer(vector(1, 2)))
    assert facts.complete
    assert facts.usage is not None
    assert facts.usage.input_tokens == 8
    assert not OPENAI_EMBEDDINGS.facts(answer(vector(1, 2), "")).complete
    assert not OPENAI_EMBEDDINGS.facts(answer()).complete
    failed = OPENAI_EMBEDDINGS.facts({"error": {"message": "m", "type": "t", "code": 429}})
    assert failed.error is not None
    assert (failed.complete, failed.error.status) == (False, 429)


def test_there_are_no_streams() -> None:
    protocol: WireProtocol = OPENAI_EMBEDDINGS
    sent = ServerEvent("", "{}")
    for ask in (
        lambda: protocol.assembly(RequestFacts(model="m")),
        lambda: protocol.events_of({}),
        lambda: protocol.event_of(sent),
        lambda: protocol.is_end(sent),
        lambda: protocol.frame({}),
    ):
        with pytest.raises(NoStreamError, match="as a whole"):
            ask()
