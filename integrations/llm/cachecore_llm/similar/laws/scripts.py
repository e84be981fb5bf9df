"""Scripts: both texts are written in the same scripts."""

from __future__ import annotations

import unicodedata

_WRITTEN_TOGETHER = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}


def disagreement(a: str, b: str) -> str | None:
    """Return the scripts of two texts if they are not the same, else None."""
    if a.isascii() and b.isascii():
        return None
    here, there = _scripts(a), _scripts(b)
    return None if here == there else f"{', '.join(sorted(here))} / {', '.join(sorted(there))}"


def _scripts(text: str) -> set[str]:
    names = {unicodedata.name(char, "UNKNOWN").split()[0] for char in set(text) if char.isalpha()}
    names -= {"FULLWIDTH", "HALFWIDTH"}
    return {_WRITTEN_TOGETHER.get(name, name) for name in names}
