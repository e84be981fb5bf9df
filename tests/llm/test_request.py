"""Requests: what of them is keyed."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_llm import TRANSPORT_FIELDS, LLMRequest


def test_everything_is_keyed_less_what_only_travels() -> None:
    request = LLMRequest(
        "s", "u", ["c"], {"model": "m", "next_year": 1, **dict.fromkeys(TRANSPORT_FIELDS, 1)}, "t", "l"
    )
    assert request.key_fields() == {
        "system_prompt": "s",
        "user_message": "u",
        "context": ["c"],
        "tenant": "t",
        "params": {"model": "m", "next_year": 1},
    }


def test_real_numbers_are_one_kind() -> None:
    """0 and 0.0 are the same temperature; True is no temperature, and a seed stays an integer."""
    fields = LLMRequest("s", "u", None, {"temperature": 0, "top_p": True, "seed": 1}).key_fields()
    assert [(name, value, type(value)) for name, value in fields["params"].items()] == [
        ("temperature", 0.0, float),
        ("top_p", True, bool),
        ("seed", 1, int),
    ]


def test_integer_beyond_every_real_number_stays_itself() -> None:
    fields = LLMRequest("s", "u", None, {"temperature": 10**400}).key_fields()
    assert fields["params"] == {"temperature": 10**400}


def test_partition_is_all_but_the_question() -> None:
    one, other = LLMRequest("s", "u", 1, {"a": 1}, "t"), LLMRequest("s", "v", 1, {"a": 1}, "t")
    assert one.partition_fields() == other.partition_fields()
    assert one.key_fields() != other.key_fields()


def test_parameter_cannot_pass_for_a_field() -> None:
    with pytest.raises(OptionsError, match="tenant"):
        LLMRequest("s", "u", None, {"tenant": "other"})


@pytest.mark.parametrize(
    "params",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_format": "json"},
        {"text": {"format": {"type": "json_schema"}}},
        {"response_mime_type": "application/json; charset=utf-8"},
        {"format": "json"},
        {"json_mode": True},
    ],
)
def test_json_is_asked_for_in_many_ways(params: dict[str, Any]) -> None:
    assert LLMRequest("s", "u", None, params).wants_json


@pytest.mark.parametrize(
    "params", [{}, {"response_format": {"type": "text"}}, {"text": "json"}, {"format": 1}, {"json_mode": "no"}]
)
def test_json_is_not_asked_for(params: dict[str, Any]) -> None:
    assert not LLMRequest("s", "u", None, params).wants_json
