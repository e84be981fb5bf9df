"""The frames of English questions: openings that say only that a question comes.

`Could you tell me how I can …`, `I would like to know how to …` and `How do I …` ask the same. A frame is taken off
where a sentence begins with it, and nowhere else: in `Did I tell you …` the same words carry weight.
"""

from __future__ import annotations

from typing import Final

_TELL: Final = "tell me|let me know|explain to me|explain|show me|help me to|help me|advise me|clarify|remind me"
_WISH: Final = "want to|need to|wish to|would like to|am trying to"
_LEARN: Final = "know|understand|ask|find out|learn|check"


def _each(*parts: str) -> list[tuple[str, ...]]:
    """Return the sequences of words that choosing one alternative of each part gives."""
    made: list[tuple[str, ...]] = [()]
    for part in parts:
        made = [(*begun, *choice.split()) for begun in made for choice in part.split("|")]
    return made


def _by_first(*frames: tuple[str, ...]) -> dict[str, list[tuple[str, ...]]]:
    """Return the frames by their first word, the longest first."""
    found: dict[str, list[tuple[str, ...]]] = {}
    for frame in sorted(set(frames), key=lambda frame: (-len(frame), frame)):
        found.setdefault(frame[0], []).append(frame)
    return found


_EMPTY: Final = _by_first(
    *_each("hi|hello|hey|please|thanks|thank you|kindly|ok|okay|so"),
    *_each("can you|could you|would you|will you", "|please|kindly", _TELL),
    *_each(_TELL),
    *_each("do you know|i was wondering|i wonder|just wondering|i'm wondering|any idea|does anyone know"),
    *_each("i|we", _WISH, "|" + _LEARN),
    *_each("i'd|we'd", "like to", "|" + _LEARN),
    *_each("i'm|we're", "trying to"),
)
_ABLE: Final = _by_first(
    *_each("is it possible to|is it possible for me to|am i able to"),
    *_each("is there a way to|is there any way to|is there a way for me to|is there any way for me to"),
)
LONGEST: Final = max(len(frame) for frames in (_EMPTY, _ABLE) for alike in frames.values() for frame in alike)
"""Words of the longest frame."""


_TAILS: Final = sorted(_each("please|thanks|thank you", "|in advance|so much|very much"), key=len, reverse=True)


def tail_of(words: list[str]) -> int:
    """Return how many of the last words of a text only thank."""
    return next((len(tail) for tail in _TAILS if tuple(words[-len(tail) :]) == tail), 0)


def unframed(words: list[str]) -> tuple[int, bool]:
    """Return how many of the first words of a sentence are frames, and whether one asks for an ability."""
    taken, able = 0, False
    while taken < len(words):
        for frames, asks in ((_ABLE, True), (_EMPTY, False)):
            here = frames.get(words[taken], [])
            found = next((one for one in here if tuple(words[taken : taken + len(one)]) == one), None)
            if found is not None:
                taken, able = taken + len(found), able or asks
                break
        else:
            break
    return taken, able
