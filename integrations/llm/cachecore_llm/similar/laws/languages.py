"""Languages: two texts whose languages are both known are in the same one."""

from __future__ import annotations

from cachecore_llm.similar.laws.reading import Reading


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the languages of two texts if both are known and not the same, else None."""
    if a.language is None or b.language is None or a.language == b.language:
        return None
    return f"{a.language} / {b.language}"
