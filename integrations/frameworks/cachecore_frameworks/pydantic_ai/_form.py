"""The responses of Pydantic AI as they are stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic_ai.messages import ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.usage import RequestUsage

from cachecore_frameworks._form import TRUNCATED, Form


def as_of_now(response: Any) -> ModelResponse:
    """Return a response as one that came now, in another run, and took nothing."""
    now = datetime.now(UTC)
    return replace(response, timestamp=now, usage=RequestUsage(), run_id=None, conversation_id=None, metadata=None)


def _whole(response: ModelResponse) -> bool:
    return response.state == "complete" and response.finish_reason not in TRUNCATED


def _plain(response: ModelResponse) -> bytes:
    return ModelMessagesTypeAdapter.dump_json([response])


def _made(stored: Any) -> ModelResponse:
    (response,) = ModelMessagesTypeAdapter.validate_json(stored)
    return as_of_now(response)


RESPONSES: Final = Form(plain=_plain, made=_made, whole=_whole)
