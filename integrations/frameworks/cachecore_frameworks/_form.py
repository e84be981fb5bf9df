"""How the answers of a framework become plain data and answers again, and which of them are kept.

Plain data goes through every serializer, those that encrypt among them, and makes no object by itself: a form reads the
classes that it names, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

TRUNCATED: Final = frozenset(
    [
        "length",
        "max_tokens",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
        "content_filter",
        "safety",
        "incomplete",
        "pause_turn",
        "error",
        "cancelled",
    ]
)
"""Reasons, in lower case, for which models break off: their text so far is not the answer."""


def broken_off(facts: Mapping[str, Any] | None, names: Iterable[str]) -> bool:
    """Return whether one of the fields `names` says that the model broke off."""
    return facts is not None and any(str(facts.get(name)).lower() in TRUNCATED for name in names)


def _same(value: Any) -> Any:
    return value


def _always(value: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The stored form of a framework's answers."""

    plain: Callable[[Any], Any] = _same
    """Returns plain data."""
    made: Callable[[Any], Any] = _same
    """Returns an answer of plain data, or raises for data of another version and for data that `plain` did not make."""
    whole: Callable[[Any], bool] = _always
    """Returns whether an answer is kept."""

    def read(self, stored: Any) -> Any:
        """Return the answer, or None for data that is not of this form."""
        try:
            return self.made(stored)
        except (AttributeError, LookupError, TypeError, ValueError):
            return None
