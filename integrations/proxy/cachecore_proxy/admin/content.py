"""The content of one entry, as a person reads it: bounded, and only where it was asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from cachecore_llm.flow import StoredAnswer
from cachecore_llm.flow.responses import text_of
from cachecore_llm.wire import UnreadableStreamError

MOST: Final = 100_000
"""Characters of each part that are shown."""
_LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a body that is still read and laid out anew."""


@dataclass(frozen=True, slots=True)
class Content:
    """The parts of an answer. Empty where there is none."""

    text: str
    body: str
    """The provider's JSON, laid out."""
    question: str
    """The question it answers, where other questions may be answered with it."""
    cut: bool
    """Whether a part is longer than the part shown."""


def content_of(stored: StoredAnswer) -> Content:
    """Return the content of a stored answer; of one that cannot be read, its bytes as they are."""
    text = ""
    body = stored.body[: 4 * MOST].decode("utf-8", "replace")
    if len(stored.body) <= _LARGEST:
        try:
            body = json.dumps(stored.read(), indent=2, ensure_ascii=False)
            text = text_of(stored)
        except (UnreadableStreamError, ValueError):
            text = ""
    question = stored.question or ""
    cut = max(len(text), len(body), len(question)) > MOST or len(stored.body) > _LARGEST
    return Content(_shown(text), _shown(body), _shown(question), cut)


def _shown(text: str) -> str:
    # A lone surrogate has no UTF-8 form, which the page is sent as.
    return text[:MOST].encode("utf-8", "replace").decode()
