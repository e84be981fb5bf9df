r"""How a text is cut: words, numbers and signs, as they are written.

A word is a run of letters with their marks; a digit run is a number of its own, so that `5GB` and `5 GB` are cut
alike. Every other character is a sign and counts, but for space, quotes around words, and the punctuation of prose:
`. , ; : ? !` behind a word and before a space or the end, `?` and `!` at the end of a text behind a space too. In code
it is none: `a[1:]`, `(1,)`, `5! + 3`, `\d? matches`, `'ab?'`. A hyphen between two letters joins them and is no
sign; a quote behind a number is one (`6"`), unless it closes, and so are those around a number or an operand
(`"1" + 1`). A colon introduces what stands behind it: with a space or a quote behind it, or as a sign before a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal, NamedTuple

_NEAR: Final = 100
"""Characters that are looked back on for the beginning of a piece of code or of a quotation."""
_APOSTROPHES: Final = frozenset("'’ʼ＇")
_PROSE: Final = frozenset(".,;:?!…¿¡。、？！،؟।")
_ENDS: Final = frozenset(".?!:;…。？！؟।")
_HYPHENS: Final = frozenset("-‐‑")
_QUOTES: Final = frozenset("\"“”„«»‹›‘’'`")
_CLOSING: Final = frozenset(")]}")
_AROUND: Final = "".join(_PROSE | _QUOTES) + "()"
_WITHIN: Final = _HYPHENS | _APOSTROPHES
_OPENERS: Final = {"”": "“", "’": "‘"}
_FILLED: Final = re.compile(r"\S")
_INVISIBLE: Final = frozenset("\u00ad\u200b\ufeff")
# Forms of another width are the same characters; other compatibility forms (x², ½, ﬁ) are not.
_WIDTHS: Final = {code: unicodedata.normalize("NFKC", chr(code)) for code in (*range(0xFF01, 0xFFEF), 0x3000)}


_QUOTE: Final = "[\"“”„«»‹›‘’'`]"
_LITERAL: Final = re.compile(
    rf"(?<!\w){_QUOTE}(?:\d[\d.,]{{0,20}}{_QUOTE}(?!\w)|\w{{0,20}}{_QUOTE}(?=\s?[-+*/=<>%&|]))"
    rf"|(?<=[-+*/=<>%&|]\s){_QUOTE}\w{{0,20}}{_QUOTE}(?!\w)"
)
"""A number in quotes, or a word in quotes beside an operator."""


class _Row(NamedTuple):
    """Marks of prose side by side: `?!`, `...`. Found once, for all of its marks."""

    first: int
    last: int
    """The place behind its last mark."""
    is_last: bool
    """Whether nothing but space follows."""


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
    quoted: bool
    """Whether a quote stands directly beside it."""
    paused: bool
    """Whether a comma stands before it."""
    colon: int | None
    """Where a colon that stands before it ends, in the written text; None without one."""
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
    starts, paused, quoted = True, False, False
    colon: int | None = None
    kinds = ["end", *(kind for _, kind, _ in pieces if kind not in _BETWEEN), "end"]
    place = 0
    for at, (piece, kind, end) in enumerate(pieces):
        if kind in _BETWEEN:
            quoted = kind == "opening"
            paused = paused or kind == "pause"
            continue
        place += 1
        if kind == "end":
            starts, paused, quoted = True, False, False
            colon = end if piece == ":" and colon is None else colon
            continue
        beside = "sign" in (kinds[place - 1], kinds[place + 1])
        quoted = quoted or (at + 1 < len(pieces) and pieces[at + 1][1] == "closing")
        ends = kinds[place + 1] == "end"
        found.append(Token(piece, kind, starts, ends, beside, quoted, paused, colon, piece.lower()))  # type: ignore[arg-type]  # "end" is gone
        starts, paused, quoted = False, False, False
        colon = end if piece == ":" and kinds[place + 1] == "word" else None
    return found


_BETWEEN: Final = frozenset({"pause", "opening", "closing"})
"""Pieces that are no tokens, and are noted at their neighbours."""


def _pieces(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield words, numbers, signs, commas, quotes and ends of sentences with their kinds, and where each ends."""
    at, size = 0, len(text)
    row = _Row(0, 0, is_last=False)
    literal = {place for found in _LITERAL.finditer(text) for place in (found.start(), found.end() - 1)}
    while at < size:
        kind = _kind(text[at])
        end = at + 1
        if kind in ("word", "number"):
            end = _end_of_run(text, at, kind)
            yield text[at:end], kind, end
        elif kind == "sign":
            char = text[at]
            before = text[at - 1] if at else " "
            after = text[end] if end < size else " "
            if char in _PROSE and at >= row.last:
                row = _row(text, at)
            if char in _PROSE and _is_prose(text, at, row):
                yield char, "end" if char in _ENDS else "pause", end
            elif char in _QUOTES and _joins(char, before, after) and at not in literal and not _measures(text, at):
                yield char, "opening" if before.isspace() else "closing", end
            elif char in _QUOTES or not _joins(char, before, after):
                yield char, "sign", end
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


def _row(text: str, at: int) -> _Row:
    """Return the row of marks that begins at `at`."""
    last = at + 1
    while last < len(text) and text[last] in _PROSE:
        last += 1
    return _Row(at, last, _FILLED.search(text, last) is None)


def _is_prose(text: str, at: int, row: _Row) -> bool:
    """Return whether the mark at `at` of a row is one of prose: behind a word or a number, or where a text begins."""
    before = text[row.first - 1] if row.first else " "
    after = text[row.last] if row.last < len(text) else " "
    if text[at] in "¿¡":
        return True
    if ord(text[at]) > 0x2E7F or text[at] in "،؟।":  # scripts that set no space behind
        return True
    if text[at] in "?!" and before.isspace() and row.is_last:
        return True  # the end of a text, set apart
    if _is_code(text, at, row):
        return False
    closes = after.isspace() or after in _QUOTES or after in _CLOSING
    behind = before in _QUOTES or before in ")]}%" or before.isalnum() or row.first == 0
    return closes and not before.isspace() and behind


def _is_code(text: str, at: int, row: _Row) -> bool:
    """Return whether the mark at `at` of a row belongs to code or a formula."""
    char, before = text[at], text[at - 1] if at else " "
    if char == "!" and before.isdigit():
        return True
    if char in ".…" or row.is_last:
        return False
    after = text[row.last]
    if after in _CLOSING:
        return True
    piece = text[max(0, at - _NEAR) : at].split()[-1:]
    if after in _QUOTES:
        return char != "," and bool(piece) and piece[0][0] in _QUOTES
    plain = piece[0].strip(_AROUND) if piece else ""
    return char in "?!" and (len(plain) == 1 or any(_kind(one) == "sign" and one not in _WITHIN for one in plain))


def _opened(text: str, opening: str, closing: str) -> bool:
    """Return whether a quote before a word of `text` is still to be closed."""
    opens = sum(
        char == opening and (not at or not text[at - 1].isalnum()) and text[at + 1 : at + 2].strip() != ""
        for at, char in enumerate(text)
    )
    closes = sum(
        char == closing and at > 0 and not text[at - 1].isspace() and not text[at + 1 : at + 2].isalnum()
        for at, char in enumerate(text)
    )
    return opens > closes


def _measures(text: str, at: int) -> bool:
    """Return whether the quote at `at` means feet, inches, minutes or seconds: behind a number and closing nothing."""
    char, before, after = text[at], text[at - 1] if at else " ", text[at + 1] if at + 1 < len(text) else " "
    return (
        char in "\"'’”"
        and before.isdigit()
        and not after.isalpha()
        and not _opened(text[max(0, at - _NEAR) : at], _OPENERS.get(char, char), char)
    )


def _joins(char: str, before: str, after: str) -> bool:
    """Return whether a character is a hyphen inside a word, or a quote around words."""
    if char in _HYPHENS:
        return before.isalpha() and after.isalpha()
    if char in _QUOTES:
        outside = "".join(side for side in (before, after) if not (side.isalnum() or side.isspace()))
        return all(side in _PROSE or side in _QUOTES for side in outside)
    return False
