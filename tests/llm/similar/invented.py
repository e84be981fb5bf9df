"""Pairs of questions over words that are made up on the spot: what may share an answer, and what each law forbids.

Made up, so that no list of words can know them: a pair that a law forbids differs by the law alone.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Pair = tuple[str, str]
Maker = Callable[[Random], Pair]

_ENDS = "kmptnrlg"


def word(chance: Random) -> str:
    """Return a word that there is not, of two or three syllables. It looks like the form of no other."""
    syllables = ["".join((chance.choice("bdfgklmnprtvz"), chance.choice("aou"))) for _ in range(chance.choice((2, 3)))]
    return "".join(syllables) + chance.choice(_ENDS) + "u" + chance.choice("km")


def words(chance: Random, count: int) -> list[str]:
    """Return `count` words that there are not, no two alike."""
    found: list[str] = []
    while len(found) < count:
        made = word(chance)
        if made not in found:
            found.append(made)
    return found


def question(chance: Random) -> tuple[str, str, list[str]]:
    """Return the opening and the rest of a question, and the words in it."""
    verb, noun, place = words(chance, 3)
    rest = chance.choice(
        (f"{verb} the {noun} of my {place}", f"{verb} my {noun} with the {place}", f"{verb} a {noun} from the {place}")
    )
    return chance.choice(("How do I", "Why should I", "When do I", "Do I")), rest, [verb, noun, place]


def _swap(text: str, a: str, b: str) -> str:
    return text.replace(a, "\0").replace(b, a).replace("\0", b)


# What may share an answer.


def punctuation(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    return f"{opening} {rest}?", f"{opening.lower().replace(' i', ' I')}  {rest}"


def articles(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    other = rest.replace("the ", "a ", 1) if "the " in rest else rest.replace("a ", "the ", 1)
    return f"{opening} {rest}?", f"{opening} {other}?"


def politeness(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    frame = chance.choice(("Hello, please tell me: ", "Hi! ", "Could you tell me ", "I would like to know "))
    asked = opening.lower().replace(" i", " I")
    return f"{opening} {rest}?", f"{frame}{asked} {rest}?"


def how(chance: Random) -> Pair:
    _, rest, _ = question(chance)
    a, b = chance.sample(("How do I", "How can I", "How do you", "How to", "How would I"), 2)
    return f"{a} {rest}?", f"{b} {rest}?"


def contraction(chance: Random) -> Pair:
    _, rest, _ = question(chance)
    whole, short = chance.choice((("does not", "doesn't"), ("is not", "isn't"), ("can not", "can't")))
    return f"Why {whole} it {rest}?", f"Why {short} it {rest}?"


def plural(chance: Random) -> Pair:
    opening, rest, (_, noun, _) = question(chance)
    return f"{opening} {rest}?", f"{opening} {rest.replace(noun, noun + 's')}?"


def digits(chance: Random) -> Pair:
    opening, rest, (_, noun, _) = question(chance)
    number = chance.choice((("two", "2"), ("seven", "7"), ("twelve", "12"), ("forty", "40"), ("3,000", "3000")))
    return tuple(f"{opening} {rest.replace(noun, f'{one} {noun}')}?" for one in number)  # type: ignore[return-value]


def thanks(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    return (
        f"{opening} {rest}?",
        f"{opening} {rest}{chance.choice((', please?', '? Thank you!', '? Thanks in advance.'))}",
    )


def spelling(chance: Random) -> Pair:
    opening, rest, (verb, _, _) = question(chance)
    british, american = chance.choice((("ise", "ize"), ("ised", "ized"), ("ising", "izing"), ("our", "or")))
    return tuple(f"{opening} {rest.replace(verb, verb + one)}?" for one in (british, american))  # type: ignore[return-value]


TRUE: dict[str, Maker] = {
    make.__name__: make
    for make in (punctuation, articles, politeness, how, contraction, plural, digits, thanks, spelling)
}
"""What may share an answer, by why."""

# What each law forbids.


def case(chance: Random) -> Pair:
    opening, rest, found = question(chance)
    one = chance.choice(found)
    other = chance.choice((one.title(), one.upper(), one[:-1] + one[-1].upper(), one[0] + one[1].upper() + one[2:]))
    if chance.random() < 0.5:
        return f"{opening} {rest}?", f"{opening} {rest.replace(one, other)}?"
    letter = chance.choice("bcdfrxz")
    mark = chance.choice(("-", "\\", "%", "--"))
    return f"What does {found[0]} {mark}{letter} do?", f"What does {found[0]} {mark}{letter.upper()} do?"


def added_word(chance: Random) -> Pair:
    opening, rest, found = question(chance)
    more = next(one for one in iter(lambda: word(chance), "") if one not in found)
    at = chance.choice(found[1:])
    return f"{opening} {rest}?", f"{opening} {rest.replace(at, f'{more} {at}')}?"


def exchanged_word(chance: Random) -> Pair:
    opening, rest, found = question(chance)
    one = chance.choice(found)
    other = chance.choice(("un", "re", "de", "mis")) + one if chance.random() < 0.5 else one[:-1] + "x"
    return f"{opening} {rest}?", f"{opening} {rest.replace(one, other)}?"


def exchanged_letter(chance: Random) -> Pair:
    opening, rest, found = question(chance)
    one = chance.choice(found)
    other = one[:2] + chance.choice("jqwxy") + one[3:]
    return f"{opening} {rest}?", f"{opening} {rest.replace(one, other)}?"


def number(chance: Random) -> Pair:
    opening, rest, (_, noun, _) = question(chance)
    a = chance.randrange(2, 5000)
    b = chance.choice((a + 1, a * 10, a // 2))
    return tuple(f"{opening} {rest.replace(noun, f'{one} {noun}')}?" for one in (a, b))  # type: ignore[return-value]


def unit(chance: Random) -> Pair:
    opening, rest, (_, noun, _) = question(chance)
    a, b = chance.choice(
        (("am", "pm"), ("Mbps", "MBps"), ("km", "mi"), ("g", "kg"), ("m", "M"), ("s", "ms"), ("am", ""))
    )
    size = chance.randrange(2, 12)
    return tuple(f"{opening} {rest.replace(noun, f'{noun} at {size} {one}')}?" for one in (a, b))  # type: ignore[return-value]


def date(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    days = ("Monday", "Sunday", "March", "May", "today", "tomorrow", "yesterday", "tonight", "June", "July", "now")
    a, b = chance.sample(days, 2)
    return f"{opening} {rest} {a}?", f"{opening} {rest} {b}?"


def negated(chance: Random) -> Pair:
    _, rest, _ = question(chance)
    a, b = chance.choice((("does", "doesn't"), ("does", "does not"), ("can", "can never"), ("is", "isn't")))
    return f"Why {a} it {rest}?", f"Why {b} it {rest}?"


def moved_negation(chance: Random) -> Pair:
    a, b = words(chance, 2)
    return f"Why can I {a} but not {b}?", f"Why can I not {a} but {b}?"


def scope(chance: Random) -> Pair:
    opening, rest, (verb, _, place) = question(chance)
    limit = chance.choice(("only", "all", "except", "always", "also", "another", "every", "some"))
    if chance.random() < 0.5:
        return f"{opening} {rest}?", f"{opening} {rest.replace(verb, f'{limit} {verb}')}?"
    a, b = chance.sample(("before", "after", "since", "until", "unless", "if", "and", "or"), 2)
    return f"{opening} {rest} {a} {place}?", f"{opening} {rest} {b} {place}?"


def name(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    a, b = (one.title() for one in words(chance, 2))
    return f"{opening} {rest} in {a}?", f"{opening} {rest}{chance.choice(('', f' in {b}', f' in {a}s'))}?"


def operator(chance: Random) -> Pair:
    a, b = words(chance, 2)
    one, other = chance.sample(("+", "-", "*", "/", "<", ">", "<=", "==", "=", "!=", "&", "|", "&&", "**", "%", "^"), 2)
    return f"What does {a} {one} {b} mean?", f"What does {a} {other} {b} mean?"


def bracket(chance: Random) -> Pair:
    a, b, c = words(chance, 3)
    return f"What is {a}*({b}+{c})?", f"What is ({a}*{b})+{c}?"


def script(chance: Random) -> Pair:
    opening, rest, found = question(chance)
    one = chance.choice([one for one in found if "a" in one or "o" in one] or [found[0] + "a"])
    alike = one.replace("a", "\u0430").replace("o", "\u043e")
    return f"{opening} {rest} {one}?", f"{opening} {rest} {alike}?"


def order(chance: Random) -> Pair:
    a, b, verb = words(chance, 3)
    text = chance.choice(
        (f"How do I {verb} from {a} to {b}?", f"Can the {a} {verb} a {b}?", f"Why is my {a} in the {b}?")
    )
    return text, _swap(text, a, b)


def tense(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    a, b = chance.sample(("is", "was", "will", "can"), 2)
    return f"Who {a} the {noun} of {place} {verb}?", f"Who {b} the {noun} of {place} {verb}?"


def person(chance: Random) -> Pair:
    verb, noun = words(chance, 2)
    text = chance.choice((f"What is my {noun} {verb}?", f"Can I {verb} your {noun}?", f"Did you {verb} my {noun}?"))
    swapped = {"I": "you", "you": "I", "my": "your", "your": "my"}
    return text, " ".join(swapped.get(one, one) for one in text.split())


def voice(chance: Random) -> Pair:
    verb, noun = words(chance, 2)
    return f"Can I {verb} by the {noun}?", f"Can I be {verb}ed by the {noun}?"


def having(chance: Random) -> Pair:
    noun, place = words(chance, 2)
    return f"Who has a {noun} in the {place}?", f"Who is a {noun} in the {place}?"


def language(chance: Random) -> Pair:
    noun = word(chance).title()
    return f"what is {noun} in {noun}?", f"was ist {noun} in {noun}?"


FORBIDDEN: dict[str, Maker] = {
    make.__name__: make
    for make in (
        case,
        added_word,
        exchanged_word,
        exchanged_letter,
        number,
        unit,
        date,
        negated,
        moved_negation,
        scope,
        name,
        operator,
        bracket,
        script,
        order,
        tense,
        person,
        voice,
        having,
        language,
    )
}
"""What may share no answer, by the law that forbids it."""
