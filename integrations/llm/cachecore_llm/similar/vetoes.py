"""Whether two questions that look alike may share an answer: the vetoes after the similarity.

Two questions can differ in three letters and mean the opposite. So questions that are alike enough must also agree in
their numbers and signs, in negation, in names, in words that limit (`only`, `all`, `without`), in the order of their
words, and no word of weight may have been exchanged for another. A veto costs a right answer now and then; without one
somebody is told how to *close* an account they asked to open.

Known limits: the word lists are those of a few European languages; text written without spaces agrees only if it is the
same; a lower-case name that was only added is not seen.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Final, Literal

Veto = Literal["numbers", "signs", "negation", "names", "limits", "words", "order"]
"""What two questions disagree in."""

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NUMBER: Final = re.compile(r"[^\W_]*\d[^\W_]*(?:[.,:/-][^\W_]*\d[^\W_]*)*")
_SIGNS: Final = re.compile(r"[+*/=<>%^~|&\\$€£¥₹₩₿@#§°±×÷≤≥≠−]|(?<!\w)-(?=\d)|(?<=\d)\s*-\s*(?=\d)")
_SENTENCE_END: Final = re.compile(r"[.!?:;]\s*\Z|\A\s*\Z")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NUMBER_WORDS: Final = {
    word: number
    for number, words in {
        "0": "zero null cero zéro",
        "1": "one once first single",
        "2": "two twice second double",
        "3": "three thrice third triple",
        "4": "four fourth",
        "5": "five fifth",
        "6": "six sixth",
        "7": "seven seventh",
        "8": "eight eighth",
        "9": "nine ninth",
        "10": "ten tenth",
        "11": "eleven",
        "12": "twelve dozen",
        "20": "twenty",
        "30": "thirty",
        "50": "fifty half",
        "100": "hundred",
        "1000": "thousand",
        "1000000": "million",
        "1000000000": "billion",
    }.items()
    for word in words.split()
}
_NEGATIONS: Final = _listed(
    """
    no not never none nobody nothing nowhere neither nor cannot without unable refuse deny stop hardly barely
    dont doesnt didnt cant couldnt wont wouldnt shouldnt isnt arent wasnt werent hasnt havent hadnt mustnt aint
    nicht kein keine keinen keinem keiner nie niemals ohne
    ne pas jamais aucun aucune sans rien
    nunca jamás ningún ninguna ninguno sin nada tampoco
    non mai nessuno nessuna senza
    não nunca nenhum nenhuma sem
    niet geen nooit zonder
    inte ingen inga aldrig utan ikke ingen aldri uten aldrig uden
    nie bez żaden не нет без никогда
    """
)
_NOT: Final = re.compile(r"n['’]t\Z")
_LIMITS: Final = _listed(
    """
    only except but unless all every each both any some most least more less other another else instead before after
    and or until since while if again still yet always sometimes
    """
)
# Question words carry the question: "when" must not answer "where". So they are not among these.
_WEIGHTLESS: Final = _listed(
    """
    a an the is are was were be been being am do does did doing have has had having can could would will shall should
    may might must i me my mine we us our you your it its this that these those there here please thanks thank hi hello
    hey just so very really actually kindly now then well ok okay want like need know tell it's i'm i've i'd i'll that's
    there's
    """
)
_CONTRACTIONS: Final = re.compile(r"['’](?:s|re|ve|d|ll|m)\Z")
_ENDINGS: Final = frozenset({"", "s", "es", "ed", "d", "ing", "e", "ly"})


def disagreement(a: str, b: str) -> Veto | None:
    """Return in what the questions `a` and `b` disagree, or None if they may share an answer. Symmetric."""
    a, b = sorted((unicodedata.normalize("NFKC", a), unicodedata.normalize("NFKC", b)))
    if _numbers(a) != _numbers(b):
        return "numbers"
    if Counter(sign.strip() for sign in _SIGNS.findall(a)) != Counter(sign.strip() for sign in _SIGNS.findall(b)):
        return "signs"
    words_a, words_b = _words(a), _words(b)
    if _negations(words_a) != _negations(words_b):
        return "negation"
    if Counter(word for word in words_a if word in _LIMITS) != Counter(word for word in words_b if word in _LIMITS):
        return "limits"
    weights_a = [_stem(word) for word in words_a if _has_weight(word)]
    weights_b = [_stem(word) for word in words_b if _has_weight(word)]
    pairs, only_a, only_b = _paired(weights_a, weights_b)
    if only_a and only_b:
        return "words"
    if (_names(a) | _names(b)) & {*only_a, *only_b}:
        return "names"
    if pairs != sorted(pairs):
        return "order"
    return None


def _numbers(text: str) -> Counter[str]:
    found = Counter(number.casefold().replace(",", "") for number in _NUMBER.findall(text))
    found.update(_NUMBER_WORDS[word] for word in _words(text) if word in _NUMBER_WORDS)
    return found


def _words(text: str) -> list[str]:
    return [word.casefold().replace("’", "'") for word in _WORD.findall(text)]


def _negations(words: list[str]) -> int:
    return sum(map(_is_negation, words))


def _has_weight(word: str) -> bool:
    return not (word in _WEIGHTLESS or word in _LIMITS or _is_negation(word))


def _is_negation(word: str) -> bool:
    return word in _NEGATIONS or _NOT.search(word) is not None


def _stem(word: str) -> str:
    return _NUMBER_WORDS.get(word) or _CONTRACTIONS.sub("", word)


def _names(text: str) -> set[str]:
    """Return the words written with a capital where no sentence begins, folded; the pronoun "I" is none."""
    found = set()
    for match in _WORD.finditer(text):
        word = match[0]
        inside = not _SENTENCE_END.search(text[: match.start()])
        if word != "I" and ((word[0].isupper() and inside) or (len(word) > 1 and word.isupper())):
            found.add(_stem(word.casefold().replace("’", "'")))
    return found


def _paired(a: list[str], b: list[str]) -> tuple[list[int], list[str], list[str]]:
    """Return for each word of `a` that has a partner its place in `b`, and the words without one on either side."""
    free = list(range(len(b)))
    places: list[int] = []
    lonely: list[str] = []
    partner: dict[int, int] = {}
    for same in (lambda x, y: x == y, _akin):
        for i, word in enumerate(a):
            if i in partner:
                continue
            found = next((j for j in free if same(word, b[j])), None)
            if found is not None:
                partner[i] = found
                free.remove(found)
    for i, word in enumerate(a):
        if i in partner:
            places.append(partner[i])
        else:
            lonely.append(word)
    return places, lonely, [b[j] for j in free]


def _akin(a: str, b: str) -> bool:
    """Whether two words are forms of one word, or one is the other with a slip of one letter inside."""
    if len(a) > len(b):
        a, b = b, a
    shared = 0
    while shared < len(a) and a[shared] == b[shared]:
        shared += 1
    if shared >= 3 and a[shared:] in _ENDINGS and b[shared:] in _ENDINGS:
        return True
    # A slip inside a long word is a typing error; at its beginning or end it makes another word (payer, payee).
    return len(a) >= 5 and shared >= 1 and a[-1] == b[-1] and _one_slip(a[shared:], b[shared:])


def _one_slip(a: str, b: str) -> bool:
    """Whether the longer text `b` is `a` with one letter more, one other, or two neighbours exchanged."""
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return len(b) == len(a) + 1 and a == b[1:]
