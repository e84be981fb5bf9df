"""The frames of English questions: openings that say only that a question comes.

`Could you tell me how I can …`, `I would like to know how to …` and `How do I …` ask the same. A frame is taken off
where a sentence begins with it, and nowhere else: in `Did I tell you …` the same words carry weight. A frame may ask
for a manner: `What is the best way to …` and `What should I do to …` are `How do I …`; the fastest way is another.
`What does it feel like to …` is `What is it like to …`, and `What is meant by …` is `What is …`. `Explain` and
`Show me` are frames before a word that asks; `Explain my bill` is not `Show me my bill`. Behind the word that asks,
`do you think` says nothing either.
"""

from __future__ import annotations

from typing import Final

from cachecore_llm.similar.laws.vocabulary import ASKING, NO_ORDERS, SECOND, listed

_TELL: Final = "tell me|let me know|help me to|help me"
_ASKED: Final = "can you|could you|would you|will you|can someone|can anyone|can anybody"
_WISH: Final = "want to|need to|have to|wish to|would like to|am trying to"
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
    *_each(_ASKED, "|please|kindly", _TELL),
    *_each(_TELL),
    *_each("do you know|i was wondering|i wonder|just wondering|i'm wondering|any idea"),
    *_each("does anyone know|does anybody know"),
    *_each("i|we", _WISH, "|" + _LEARN),
    *_each("i'd|we'd", "like to", "|" + _LEARN),
    *_each("i'm|we're", "trying to"),
)
_DONE: Final = tuple(
    (_by_first(*_each("|" + _ASKED, "|please|kindly", told)), order)
    for order, told in (
        ("explain", "explain|explain to me"),
        ("show", "show me"),
        ("advise", "advise me"),
        ("clarify", "clarify"),
        ("remind", "remind me"),
    )
)
"""Before a word that asks they are frames (`Explain how …`); before another they are an order."""
_GREETINGS: Final = _by_first(
    *_each("hi|hello|hey", "|there"),
    *_each("well|thanks|ok|okay|so|thank you"),
    *_each("thank you", "so much|very much"),
)
_WISHES: Final = _by_first(*_each("please|pls|plz|kindly"))
_ABLE: Final = _by_first(
    *_each("is it possible to|is it possible for me to|am i able to|am i allowed to|is it allowed to"),
    *_each("is there a way to|is there any way to|is there a way for me to|is there any way for me to"),
)
_BEST: Final = "|best|good|right"
_MANNER: Final = _by_first(
    *_each("what is the|what's the|whats the|which is the|what is a|what's a", _BEST, "way", "to|of"),
    *_each("what are|which are", "|the|some", _BEST, "ways", "to|of"),
    *_each("what should|what can", "i|we|you|one", "do to"),
    *_each("what do", "i|we|you", "need to do to|have to do to"),
)
_LIKENESS: Final = _by_first(
    *_each("what does|what did", "it feel like to"),
    *_each("how does|how did", "it feel to"),
    *_each("what is|what's|whats", "it like", "to|"),
)
_MEANT: Final = _by_first(*_each("what is meant by|what's meant by|what do you mean by|what do we mean by"))
_NO_VERBS: Final = frozenset({"a", "an", "the", "my", "our", "your", "this", "that", "be"})
"""Behind `the way to` these begin a place, not a deed; `to be` is kept."""
_FRAMES: Final = (
    (_MANNER, "how"),
    (_LIKENESS, "like"),
    (_MEANT, "what"),
    (_ABLE, None),
    *_DONE,
    (_EMPTY, None),
    (_GREETINGS, None),
    (_WISHES, None),
)
_ORDERS: Final = frozenset(order for _, order in _DONE)
LONGEST: Final = max(len(frame) for frames, _ in _FRAMES for alike in frames.values() for frame in alike)
"""Words of the longest frame."""


_TAILS: Final = sorted(
    _each("please|thanks|thank you|pls|plz|thx", "|in advance|so much|very much"), key=len, reverse=True
)


_NAMING: Final = listed(
    "say says said saying word words write spell pronounce mean means translate translation use using of for as"
)
"""Behind these the last words of a text are its object: `How do you say thank you?`."""


def tail_of(words: list[str]) -> int:
    """Return how many of the last words of a text only thank."""
    tail = next((len(tail) for tail in _TAILS if tuple(words[-len(tail) :]) == tail), 0)
    return 0 if words[-tail - 1 : -tail] and words[-tail - 1] in _NAMING else tail


def unframed(words: list[str], apart: list[bool]) -> tuple[int, bool, str | None]:
    """Return how many of the first words of a sentence are frames, whether one asks for an ability, and the word that
    asks in its place: `how` for a manner, `like` for what it is like, `what` for what is meant by it, or None.

    `apart` says of each word whether a comma or the end of a sentence stands before it.
    """
    taken, able = 0, False
    while taken < len(words):
        for frames, asks in _FRAMES:
            here = frames.get(words[taken], [])
            found = next((one for one in here if tuple(words[taken : taken + len(one)]) == one), None)
            end = taken + len(found or ())
            if found is not None and asks in _ORDERS and _asks_next(words[end:]):
                asks = None  # the question itself tells
            if found is None or (asks and (end == len(words) or (asks == "how" and words[end] in _NO_VERBS))):
                continue
            if end < len(words) and not apart[end] and not _is_opening(frames, words[end:]):
                if frames is not _GREETINGS:
                    continue
                more, can, asks = unframed(words[end:], apart[end:])  # a greeting before another frame
                return (end + more, able or can, asks) if more else (taken, able, None)
            taken, able = end, able or frames is _ABLE
            if asks:
                return taken, able, asks
            break
        else:
            break
    return taken, able, None


def _asks_next(words: list[str]) -> bool:
    return bool(words) and (words[0].removesuffix("'s") in ASKING or words[0] in ("if", "whether"))


def _is_opening(frames: dict[str, list[tuple[str, ...]]], words: list[str]) -> bool:
    """Return whether a frame is one where `words`, which are no frame, follow it without a pause."""
    if frames is _GREETINGS:
        return words[0] in ASKING and SECOND.isdisjoint(words[:-1])
    return frames is not _WISHES or words[0] not in NO_ORDERS


def inner(words: list[str]) -> int:
    """Return how many words from here on, inside a sentence, say nothing: `(Who) do you think (will …)`."""
    if words[:3] == ["do", "you", "think"] and len(words) > 3 and words[3] not in ("about", "of", "that", ""):
        return 3
    return 2 if words[:3] == ["in", "order", "to"] else 0
