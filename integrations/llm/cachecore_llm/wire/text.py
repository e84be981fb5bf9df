"""Text and lists that grow piece by piece, joined once at the end: joining at each piece would be quadratic."""

from __future__ import annotations

from typing import Any


class Grown(list[Any]):
    """The pieces of a text, or of a list."""

    __slots__ = ("text",)

    def __init__(self, text: bool) -> None:
        super().__init__()
        self.text = text


def join_text(pieces: list[str]) -> str:
    """Return the joined text. Halves of a surrogate pair that came in two pieces become one character."""
    text = "".join(pieces)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text


def joined(value: Any) -> Any:
    """Return a copy of `value` in which everything that grew is one value, and dicts by index are lists in order."""
    if type(value) is Grown:
        return join_text(value) if value.text else [item for piece in value for item in piece]
    if isinstance(value, dict):
        if type(value) is not dict:
            return [joined(value[index]) for index in sorted(value)]
        return {key: joined(inner) for key, inner in value.items()}
    return value
