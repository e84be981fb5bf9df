"""Answers as facts, and the files of texts that must and must not be stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cachecore_llm.policy.admission import BUILT_IN, AdmissionRules, rejection
from cachecore_llm.wire.call import RequestFacts
from cachecore_llm.wire.facts import AnswerFacts, ChoiceFacts

HERE = Path(__file__).parent


def answer(
    text: str = "Paris.", *, complete: bool = True, usage: Any = None, error: Any = None, **choice: Any
) -> AnswerFacts:
    """Return an answer of one choice that stopped."""
    choice = {"finish": "stop", "raw_finish": "stop", **choice}
    return AnswerFacts(choices=(ChoiceFacts(text=text, **choice),), complete=complete, usage=usage, error=error)


def request(**facts: Any) -> RequestFacts:
    return RequestFacts(**{"model": "m", **facts})


def why(text: str, rules: AdmissionRules = BUILT_IN, **choice: Any) -> str | None:
    """Return why a text with a good finish is not stored, where text was asked for."""
    return rejection(answer(text, **choice), request(), rules)


def texts(name: str) -> list[tuple[str, str]]:
    r"""Return the texts of a file, each with its heading. A line is a text; `\\n` in it is the end of a line."""
    found, heading = [], ""
    for line in (HERE / name).read_text("utf-8").split("\n"):
        if line.startswith("# ") and "|" not in line:
            heading = line[2:]
        elif line:
            found.append((heading, line.replace("\\n", "\n")))
    return found
