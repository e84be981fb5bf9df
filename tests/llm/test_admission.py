"""What is never stored, and what must not be taken for it."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore_llm import LLMRequest, LLMResponse, ToolCall, Usage
from cachecore_llm.admission import rejection

JSON = {"response_format": {"type": "json_object"}}


def why(content: str, params: dict[str, Any] | None = None, **fields: Any) -> str | None:
    return rejection(LLMResponse(content, **fields), LLMRequest("s", "u", None, params or {}))


@pytest.mark.parametrize("finish", [None, "", "stop", "STOP", "FinishReason.STOP", "end_turn", "tool_use", "COMPLETE"])
def test_finished_answers_are_stored(finish: str | None) -> None:
    assert why("Paris.", finish_reason=finish) is None


@pytest.mark.parametrize("finish", ["length", "max_tokens", "MAX_TOKENS", "incomplete", "FinishReason.MAX_TOKENS"])
def test_truncated_answers_are_not(finish: str) -> None:
    assert why("Once upon a", finish_reason=finish) == "truncated"


def test_answer_that_fills_its_bound_is_truncated() -> None:
    """Where a provider gives no finish reason, the bound it was given tells."""
    spent = Usage(prompt_tokens=1, completion_tokens=16)
    assert why("Once upon a", {"max_tokens": 16}, usage=spent) == "truncated"
    assert why("Once upon a time.", {"max_tokens": 17}, usage=spent) is None
    assert why("Once upon a", {"max_tokens": 16}, usage={"completion_tokens": 16, "total_tokens": 20}) == "truncated"
    assert why("Exactly so.", {"max_tokens": 16}, usage=spent, finish_reason="stop") is None


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "guardrail_intervened", "RECITATION"])
def test_filtered_answers_are_not(finish: str) -> None:
    assert why("...", finish_reason=finish) == "filtered"


@pytest.mark.parametrize("finish", ["error", "abort", "cancelled", "malformed_function_call", "a_word_of_next_year"])
def test_unknown_endings_are_not_trusted(finish: str) -> None:
    assert why("Paris.", finish_reason=finish) == "unfinished"


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", "\ufeff \u200d"])
def test_empty_answers_are_not(text: str) -> None:
    assert why(text, finish_reason="stop") == "empty"


def test_empty_text_beside_tool_calls_is_fine() -> None:
    call = ToolCall("1", "f", "{}")
    assert why("", finish_reason="tool_calls", tool_calls=(call,)) is None
    assert why("", JSON, finish_reason="tool_calls", tool_calls=(call,)) is None
    assert why("", finish_reason="length", tool_calls=(call,)) == "truncated"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I’m sorry, but I can’t help with that request.",
        "Sorry, I cannot help you with this.",
        "I cannot provide instructions for that.",
        "As an AI language model, I cannot answer that.",
        "Unfortunately, I am unable to process this request.",
        "I apologize, but I won't continue.",
        "I'm unable to generate that.",
    ],
)
def test_refusals_are_not(text: str) -> None:
    """An apology of the moment would be repeated all day."""
    assert why(text, finish_reason="stop") == "refused"


def test_refusals_that_say_so_are_not() -> None:
    assert why("", refusal="I won't.", finish_reason="stop") == "refused"
    assert why("No.", finish_reason="refusal") == "refused"


@pytest.mark.parametrize(
    "text",
    [
        "Error: model overloaded",
        "error 503",
        "Internal Server Error",
        "502 Bad Gateway",
        "HTTP 429 Too Many Requests",
        "An unexpected error occurred. Please try again.",
        "Service temporarily unavailable",
        "The model is currently overloaded, please try again later.",
        "Rate limit exceeded",
        "You exceeded your current quota",
        "upstream connect error or disconnect/reset before headers",
        "Request timed out.",
        "Traceback (most recent call last):\n  File",
        "requests.exceptions.ConnectionError: refused",
        "<!DOCTYPE html><html><head><title>504 Gateway Time-out</title>",
        '{"error": {"message": "overloaded", "type": "server_error"}}',
    ],
)
def test_errors_dressed_as_text_are_not(text: str) -> None:
    assert why(text, finish_reason="stop") == "error_text"


@pytest.mark.parametrize(
    "text",
    [
        "Errors are values in Go.",
        "The error budget is 0.1 %.",
        "Unfortunately, we cannot refund orders after 30 days.",
        "I can help with that.",
        "Sorry to hear that! Here is what to do: open the app.",
        "500 grams of flour, two eggs.",
        "503 is the status of a service that is unavailable.",
        "<!DOCTYPE html><html><head><title>My bakery</title></head></html>",
        "Rate limits protect services.",
        '{"error_rate": 0.1}',
        "Error: " + "is a word that this long text begins with. " * 60,
        "The payment failed because the card had expired; order a new one.",
    ],
)
def test_answers_about_errors_are_stored(text: str) -> None:
    assert why(text, finish_reason="stop") is None


@pytest.mark.parametrize("text", ['{"a": 1', "Here is your JSON: {}", "```json\n{}\n```", "NaN", "[" * 100_000])
def test_invalid_json_is_not(text: str) -> None:
    assert why(text, JSON, finish_reason="stop") == "invalid_json"
    assert why('{"a": [1]}', JSON, finish_reason="stop") is None
    assert why('{"error": "overloaded"}', JSON, finish_reason="stop") == "error_text"
