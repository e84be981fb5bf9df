"""Requests in an application's words: which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_llm import LLMRequest


def test_parameter_cannot_pass_for_a_field() -> None:
    with pytest.raises(OptionsError, match="tenant"):
        LLMRequest("s", "u", None, {"tenant": "other"})


@pytest.mark.parametrize(("system_prompt", "user_message"), [(None, "u"), (5, "u"), ("s", None), ("s", {"a": 1})])
def test_prompts_are_texts_and_a_question_may_be_parts(system_prompt: Any, user_message: Any) -> None:
    with pytest.raises(OptionsError, match=r"(system_prompt|user_message) must be text"):
        LLMRequest(system_prompt, user_message)
    LLMRequest("s", [{"type": "text", "text": "u"}])
