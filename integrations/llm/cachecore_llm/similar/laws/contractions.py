"""English words that are written together: `doesn't` and `dont` are `does not`, `what's` and `whats` are `what is`."""

from __future__ import annotations

import re
from typing import Final

from cachecore_llm.similar.laws.vocabulary import listed

_SUFFIX: Final = re.compile(r"['’ʼ＇](?:s|re|ve|d|ll|m)\Z")
_NOT: Final = re.compile(r"n['’ʼ＇]t\Z")
_BARE_NOT: Final = {
    word: word[:-2]
    for word in listed(
        """
        dont doesnt didnt cant couldnt wont wouldnt shouldnt isnt arent wasnt werent hasnt havent hadnt mustnt
        """
    )
}
_STEMS: Final = {"ca": "can", "wo": "will", "sha": "shall", "can": "can"}
_BEFORE_IS: Final = listed("what who where when how why it that there here he she")
_BARE: Final = {f"{word}s": (word, "is") for word in listed("what where when how why that there")} | {
    "im": ("i", "am"),
    "ive": ("i", "have"),
}
"""Without an apostrophe, where that is no other word: not `its`, `whos` as written for `whose`, `ill`, `were`, `id`."""
_ENDINGS: Final = {"ll": ["will"], "re": ["are"], "m": ["am"], "ve": ["have"], "d": ["'d"]}


def parts(word: str) -> tuple[str, bool]:
    """Return a folded English word without its ending, and whether the ending was a negation.

    An ending as a word of its own is kept (`What does n't mean?`); `n't` still negates (`do n't`).
    """
    if word in _BARE:
        return _BARE[word][0], False
    if _NOT.search(word):
        stem = _NOT.sub("", word) or word
        return _STEMS.get(stem, stem), True
    if word in _BARE_NOT:
        stem = _BARE_NOT[word]
        return _STEMS.get(stem, stem), True
    if word == "cannot":
        return "can", True
    return _SUFFIX.sub("", word) or word, False


def contracted(word: str) -> list[str]:
    """Return the auxiliary that the ending of an English word stands for; after a noun it is a possessive."""
    if word in _BARE:
        return [_BARE[word][1]]
    stem, mark, ending = word.replace("’", "'").partition("'")
    if mark and ending == "s":
        return ["is"] if stem in _BEFORE_IS else []
    return _ENDINGS.get(ending, []) if mark else []
