"""Pairs of questions over words that are made up on the spot: those that each law forbids."""

from __future__ import annotations

from random import Random

from tests.llm.similar.forbidden_small import SMALL
from tests.llm.similar.invented import Maker, Pair, question, word, words


def _swap(text: str, a: str, b: str) -> str:
    return text.replace(a, "\0").replace(b, a).replace("\0", b)


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


def noun_gerund(chance: Random) -> Pair:
    noun, verb = words(chance, 2)
    return chance.choice(
        (
            (f"How much does {noun} {verb}?", f"How much does {noun}ing {verb}?"),
            (f"Is {noun} {verb} here?", f"Is {noun}ing {verb} here?"),
            (f"Should I stop to {verb} the {noun}?", f"Should I stop {verb}ing the {noun}?"),
        )
    )


def sequence(chance: Random) -> Pair:
    a, b, verb = words(chance, 3)
    return chance.choice(
        (
            (f"Should I {verb} the {a} and then the {b}?", f"Should I {verb} the {b} and then the {a}?"),
            (f"Is a {verb} {a} and {b} enough?", f"Is a {verb} {b} and {a} enough?"),
            (f"Is it not the {a} and the {b}?", f"Is it not the {b} and the {a}?"),
            (f"How do I {verb} to the {a} to the {b}?", f"How do I {verb} to the {b} to the {a}?"),
            (f"Is the {verb} in the {a} on the {b}?", f"Is the {verb} on the {b} in the {a}?"),
            (f"Is the {a} {verb} than the {b} and her?", f"Is her and the {a} {verb} than the {b}?"),
            (f"Don't all {a}s {verb} {b}?", f"Do all {a}s not {verb} {b}?"),
        )
    )


def clauses(chance: Random) -> Pair:
    a, b = words(chance, 2)
    return chance.choice(
        (
            (f"Why don't people who {a} {b}?", f"Why do people who don't {a} {b}?"),
            (f"Why isn't it {a} to {b}?", f"Why is it {a} not to {b}?"),
        )
    )


def few(chance: Random) -> Pair:
    noun, place = words(chance, 2)
    return f"Are there few {noun}s in {place}?", f"Are there a few {noun}s in {place}?"


def other_way(chance: Random) -> Pair:
    verb, noun, which = words(chance, 3)
    return f"What is the {which} way to {verb} a {noun}?", f"What is the best way to {verb} a {noun}?"


def other_person(chance: Random) -> Pair:
    verb, noun = words(chance, 2)
    return chance.choice(
        (
            (f"How do I {verb} your {noun}?", f"How do you {verb} my {noun}?"),
            (f"How much {noun} do you {verb}?", f"How much {noun} do I {verb}?"),
            (f"Can you {verb} a {noun}?", f"Can I {verb} a {noun}?"),
            (f"Do you need my {noun} to {verb}?", f"Do I need your {noun} to {verb}?"),
            (f"Do you need a {verb} {noun}?", f"Do I need a {verb} {noun}?"),
        )
    )


def spoken_of(chance: Random) -> Pair:
    """Words without weight elsewhere, which a question is about."""
    noun, place = words(chance, 2)
    verbs = chance.sample(("is", "was", "do", "have", "can", "might"), 2)
    one, other = chance.sample(("very", "really", "the", "it", "do", "can"), 2)
    polite, civil = chance.sample(("hello", "thanks", "please"), 2)
    return chance.choice(
        (
            (f"What is the {noun} of {verbs[0]} in {place}?", f"What is the {noun} of {verbs[1]} in {place}?"),
            (f'What does "{one}" {noun} in {place}?', f'What does "{other}" {noun} in {place}?'),
            (f"How do I say {polite} to a {noun}?", f"How do I say {civil} to a {noun}?"),
            (f"How do I please the {noun}?", f"How do I thank the {noun}?"),
            (f"How deep is a {noun} well?", f"How deep is a {noun} mine?"),
            (f"How do I {noun} my will in {place}?", f"How do I {noun} in {place}?"),
            (f"Comment dit-on merci à une {noun} ?", f"Comment dit-on bonjour à une {noun} ?"),
        )
    )


def greeting(chance: Random) -> Pair:
    """A greeting, a thank or a `please` that the question is about, where it begins."""
    noun, place, verb = words(chance, 3)
    about = chance.choice(("hello", "hi", "hey", "thanks", "thank you", "well", "ok"))
    civil = chance.choice([one for one in ("hi", "thanks", "please", "hello") if one[:5] != about[:5]])
    first, second = chance.sample(chance.choice((("hola", "gracias"), ("ciao", "grazie"), ("bitte", "danke"))), 2)
    return chance.choice(
        (
            (f"{about} in {place}", f"{civil} in {place}"),
            (f"{about.capitalize()} in the {place} {noun}", f"{civil.capitalize()} in the {place} {noun}"),
            (f"{first} {noun} in {place}", f"{second} {noun} in {place}"),
            (f"{first} in {place}", f"in {place}"),
            (f"{about} {noun} {place}", f"{noun} {place}"),
            (f"{about} {noun} is {verb} by which {place}", f"{noun} is {verb} by which {place}"),
            (f"{about.capitalize()} {noun} to my {place}", f"{noun.capitalize()} to my {place}"),
            (f"{about} my {noun} is in what {place}", f"my {noun} is in what {place}"),
            (f"{about} how are you in {place}", f"how are you in {place}"),
            (f"please my {noun} in the {place}", f"my {noun} in the {place}"),
            (f"please in the {place} of {noun}", f"in the {place} of {noun}"),
        )
    )


def keyword(chance: Random) -> Pair:
    """Keywords without a frequent word, among them a noun that looks like a pronoun, an auxiliary or an opening."""
    one, other = words(chance, 2)
    noun = chance.choice(("it", "us", "am", "may", "will", "might", "mine", "help me", "remind me", "ok"))
    return f"{noun} {one} {other}", f"{chance.choice(('the', 'your', 'my'))} {one} {other}"


def cited(chance: Random) -> Pair:
    """A text that a colon introduces: each of its characters counts."""
    verb, noun, place = words(chance, 3)
    a, b = chance.choice(
        (
            (f"it {verb} to the {noun}", f"it {verb} to {noun}"),
            (f"the {noun}", f"a {noun}"),
            (f"you are my {noun}", f"are you my {noun}"),
            (f"I could {verb}", f"I can {verb}"),
            (f"{verb} me the {noun}", f"please {verb} me the {noun}"),
            (f"it {verb}s a {noun}", f"it {verb} a {noun}"),
            (f"{verb} it {noun}", f"{verb} it, {noun}"),
            (f"{verb} it {noun}?", f"{verb} it {noun}"),
            (f"{verb} {noun}", f"{verb.title()} {noun}"),
            (f"is it {noun} or {verb}", f"is it {verb} or {noun}"),
            tuple(chance.sample(("Hello!", "Thanks!", "Thank you!", "please", "hi"), 2)),
        )
    )
    head = chance.choice(
        (f"Translate into {place}", f"How do you say in {place}", f"Fix the {place}", f"Hi, {place} this message")
    )
    colon = chance.choice((": ", ":", " : ", ":\n"))
    quote = chance.choice(("", "", '"'))
    return f"{head}{colon}{quote}{a}{quote}", f"{head}{colon}{quote}{b}{quote}"


def done(chance: Random) -> Pair:
    verb, noun = words(chance, 2)
    return chance.choice(
        (
            (f"Who is {verb}ed in the {noun}?", f"Who {verb}ed in the {noun}?"),
            (f"Have I been {verb}ed to the {noun}?", f"Have I {verb}ed to the {noun}?"),
            (f"Who is paid in {noun} at the {verb}?", f"Who paid in {noun} at the {verb}?"),
        )
    )


def inflected(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    return f"I {verb} in the {place}. Where is my {noun}?", f"I {verb}ed in the {place}. Where is my {noun}?"


def owned(chance: Random) -> Pair:
    noun, place = words(chance, 2)
    return f"Can I have {noun} in the {place}?", f"Can I {noun} in the {place}?"


def asked_for(chance: Random) -> Pair:
    """The subject, or the object."""
    verb, noun = words(chance, 2)
    aux = chance.choice(("can", "will", "should", "might"))
    who, me = chance.choice((("Who do I", "me"), ("Who do you", "you"), ("What does it", "it")))
    i, other = chance.choice((("I", "me"), ("we", "us"), ("you", "you"), ("it", "it")))
    asks = chance.choice(("Who", "What", f"Which {noun}"))
    return chance.choice(
        (
            (f"{who} {verb} in the {noun}?", f"{who.split()[0]} {verb}s {me} in the {noun}?"),
            (f"{asks} {aux} {i} {verb}?", f"{asks} {aux} {verb} {other}?"),
            (f"{asks} has {verb}ed {other}?", f"{asks} have {i} {verb}ed?"),
            (f"{asks} is {verb}ing {other}?", f"{asks} are {i} {verb}ing?"),
        )
    )


def formula(chance: Random) -> Pair:
    noun, place = words(chance, 2)
    a, b = chance.choice(
        (("5!", "5"), (f"{noun}[1:]", f"{noun}[1]"), ("(1,)", "(1)"), ("\\d?", "\\d"), ("'ab?'", "'ab'"), ('6"', "6'"))
    )
    return f"What is {a} for the {place}?", f"What is {b} for the {place}?"


def decimal(chance: Random) -> Pair:
    noun = word(chance)
    a, b = chance.choice((("1,5", "15"), ("[1,2,3]", "[12,3]"), ("1,20", "120"), ("0,125", "0125")))
    return f"How much is {a} {noun} here?", f"How much is {b} {noun} here?"


def two_joined(chance: Random) -> Pair:
    """The phrase behind two nouns belongs to the last."""
    a, b, c = words(chance, 3)
    return (
        f"What is the difference between {a} and {b} with {c}?",
        f"What is the difference between {b} and {a} with {c}?",
    )


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
        noun_gerund,
        sequence,
        clauses,
        few,
        other_way,
        other_person,
        spoken_of,
        greeting,
        keyword,
        cited,
        done,
        inflected,
        owned,
        asked_for,
        formula,
        decimal,
        two_joined,
    )
} | SMALL
"""What may share no answer, by the law that forbids it."""
