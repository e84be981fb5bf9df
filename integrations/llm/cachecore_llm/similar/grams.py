"""How alike two questions look: the cosine of their sets of character 3-grams.

Compatibility forms, letter case, space and punctuation do not count here: what they mean is a matter of the laws.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

_GRAM: Final = 3
_GAP: Final = re.compile(r"[\s?!.,;:¿¡…\"“”„«»()]+")


def folded(message: str) -> str:
    """Return `message` as it is compared."""
    return _GAP.sub(" ", unicodedata.normalize("NFKC", message).casefold()).strip()


def grams(message: str) -> frozenset[str]:
    """Return the 3-grams of `message`; its ends count as spaces."""
    text = f" {folded(message)} "
    return frozenset(text[start : start + _GRAM] for start in range(len(text) - _GRAM + 1))


def cosine(a: frozenset[str], b: frozenset[str]) -> float:
    """Return the cosine of two sets of grams, each gram a dimension: 0 for nothing shared, 1 for the same."""
    return len(a & b) / math.sqrt(len(a) * len(b)) if a and b else 0.0
