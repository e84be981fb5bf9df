"""How a text is cut: words, numbers and signs, as they are written.

A word is a run of letters with their marks; a digit run is a number of its own, so that `5GB` and `5 GB` are cut
alike. Every other character is a sign and counts, but for space, quotes around words, and the punctuation of prose:
`. , ; : ? !` behind a word and before a space or the end, `?` and `!` at the end of a text behind a space too. A
hyphen between two letters joins them and is none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal, NamedTuple

_APOSTROPHES: Final = frozenset("'’ʼ＇")
_PROSE: Final = frozenset(".,;:?!…¿¡。、？！،؟।")
_ENDS: Final = frozenset(".?!:;…。？！؟।")
_QUOTES: Final = frozenset("\"“”„«»‹›‘’'`")
_HYPHENS: Final = frozenset("-‐‑")
_INVISIBLE: Final = frozenset("\u00ad\u200b\ufeff")
# Forms of another width are the same characters; other compatibility forms (x², ½, ﬁ) are not.
_WIDTHS: Final = {code: unicodedata.normalize("NFKC", chr(code)) for code in (*range(0xFF01, 0xFFEF), 0x3000)}


class Token(NamedTuple):
    """A piece of a text."""

    text: str
    """As written."""
    kind: Literal["word", "number", "sign"]
    starts: bool
    """Whether a sentence begins with it."""
    ends: bool
    """Whether a sentence ends behind it."""
    beside_sign: bool
    """Whether a sign stands beside it."""
    folded: str
    """As written, in small letters. Not `casefold`, to which ß and ss are one."""


def written(text: str) -> str:
    """Return `text` with one form for each character: composed, of common width, without invisible ones."""
    if text.isascii():
        return text
    plain = unicodedata.normalize("NFC", text.translate(_WIDTHS))
    return "".join(char for char in plain if char not in _INVISIBLE)


def tokens(text: str) -> list[Token]:
    """Return the pieces of `text`, in their order."""
    pieces = list(_pieces(written(text)))
    found: list[Token] = []
    starts = True
    for place, (piece, kind) in enumerate(pieces):
        if kind == "end":
            starts = True
            continue
        following = pieces[place + 1][1] if place + 1 < len(pieces) else "end"
        beside = following == "sign" or (place > 0 and pieces[place - 1][1] == "sign")
        found.append(Token(piece, kind, starts, following == "end", beside, piece.lower()))  # type: ignore[arg-type]  # "end" is gone
        starts = False
    return found


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield words, numbers, signs and ends of sentences with their kinds."""
    at, size = 0, len(text)
    while at < size:
        kind = _kind(text[at])
        end = at + 1
        if kind in ("word", "number"):
            end = _end_of_run(text, at, kind)
            yield text[at:end], kind
        elif kind == "sign":
            char = text[at]
            before = text[at - 1] if at else " "
            after = text[end] if end < size else " "
            if char in _PROSE and _is_prose(text, at):
                if char in _ENDS:
                    yield char, "end"
            elif not _joins(char, before, after):
                yield char, "sign"
        at = end


def _end_of_run(text: str, at: int, kind: str) -> int:
    end, size = at + 1, len(text)
    while end < size:
        char = text[end]
        inside = end + 1 < size and _kind(text[end + 1]) == kind
        if (
            _kind(char) == kind
            or (inside and kind == "word" and char in _APOSTROPHES)
            or (inside and kind == "number" and char in ".,")
        ):
            end += 1
        else:
            break
    return end


@lru_cache(4096)
def _kind(char: str) -> str:
    category = unicodedata.category(char)
    if category[0] in "LM":
        return "word"
    if category == "Nd":
        return "number"
    return "space" if category[0] in "ZC" and category != "Cf" else "sign"


def _is_prose(text: str, at: int) -> bool:
    """Return whether the punctuation at `at` is that of prose: behind a word or a number, or at a text's beginning."""
    first, last = at, at + 1
    while first > 0 and text[first - 1] in _PROSE:
        first -= 1
    while last < len(text) and text[last] in _PROSE:
        last += 1
    before = text[first - 1] if first else " "
    after = text[last] if last < len(text) else " "
    if text[at] in "¿¡":
        return True
    if ord(text[at]) > 0x2E7F or text[at] in "،؟।":  # scripts that set no space behind
        return True
    if text[at] in "?!" and before.isspace() and not text[last:].strip():
        return True  # the end of a text, set apart
    closes = after.isspace() or after in _QUOTES or after in ")]}"
    return closes and not before.isspace() and (before in _QUOTES or before in ")]}%" or before.isalnum() or first == 0)


def _joins(char: str, before: str, after: str) -> bool:
    """Return whether a character is a hyphen inside a word, or a quote around words."""
    if char in _HYPHENS:
        return before.isalpha() and after.isalpha()
    if char in _QUOTES:
        outside = "".join(side for side in (before, after) if not (side.isalnum() or side.isspace()))
        return all(side in _PROSE or side in _QUOTES for side in outside)
    return False
