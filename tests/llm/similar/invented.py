"""Pairs of questions over words that are made up on the spot: those that may share an answer.

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
    """Return `count` words that there are not, none of them part of another."""
    found: list[str] = []
    while len(found) < count:
        made = word(chance)
        if not any(made in one or one in made for one in found):
            found.append(made)
    return found


def question(chance: Random) -> tuple[str, str, list[str]]:
    """Return the opening and the rest of a question, and the words in it."""
    verb, noun, place = words(chance, 3)
    rest = chance.choice(
        (f"{verb} the {noun} of my {place}", f"{verb} my {noun} with the {place}", f"{verb} a {noun} from the {place}")
    )
    return chance.choice(("How do I", "Why should I", "When do I", "Do I")), rest, [verb, noun, place]


def punctuation(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    return f"{opening} {rest}?", f"{opening.lower().replace(' i', ' I')}  {rest}"


def articles(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    other = rest.replace("the ", "a ", 1) if "the " in rest else rest.replace("a ", "the ", 1)
    return f"{opening} {rest}?", f"{opening} {other}?"


def politeness(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    greeting = chance.choice(("Hello, please tell me: ", "Hello: ", "Hi there, ", "Hi! ", "hello ", "ok so ", "Well, "))
    frame = chance.choice((greeting, "Could you tell me ", "hi can you tell me ", "I would like to know "))
    asked = opening.lower().replace(" i", " I")
    return f"{opening} {rest}?", f"{frame}{asked} {rest}?"


def how(chance: Random) -> Pair:
    _, rest, _ = question(chance)
    a, b = chance.sample(("How do I", "How can I", "How do you", "How to", "How would I"), 2)
    return _own(f"{a} {rest}?"), _own(f"{b} {rest}?")


def _own(question: str) -> str:
    """Return a question about one person at most: `How do you … my …` asks what another does."""
    return question.replace("my ", "the ") if question.startswith("How do you") else question


def contraction(chance: Random) -> Pair:
    _, rest, _ = question(chance)
    whole, short = chance.choice(
        (
            ("Why does not it", "Why doesn't it"),
            ("Why is not it", "Why isn't it"),
            ("Why can not it", "Why cant it"),
            ("What is it to", "Whats it to"),
            ("I am to", "Im to"),
        )
    )
    return f"{whole} {rest} from the {rest[:5]}?", f"{short} {rest} from the {rest[:5]}?"


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
    british, american = chance.choice(
        (("ise", "ize"), ("ised", "ized"), ("ising", "izing"), ("our", "or"), ("tre", "ter"), ("elled", "eled"))
    )
    return tuple(f"{opening} {rest.replace(verb, verb + one)}?" for one in (british, american))  # type: ignore[return-value]


def manner(chance: Random) -> Pair:
    _, rest, _ = question(chance)
    frame = chance.choice(("What is the best way to", "What are the best ways to", "What should I do to"))
    return (
        f"{chance.choice(('How do I', 'How can I', 'How should I', 'How does one', 'How to'))} {rest}?",
        f"{frame} {rest}?",
    )


def own_person(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    return f"How do I {verb} my {noun} at my {place}?", f"How can you {verb} your {noun} at your {place}?"


def interrogative(chance: Random) -> Pair:
    verb, noun = words(chance, 2)
    rest = chance.choice((f"{noun} should I {verb}", f"{noun} is {verb}", f"is the best {noun} to {verb}"))
    return f"What {rest}?", f"Which {rest}?"


def existence(chance: Random) -> Pair:
    noun, place = words(chance, 2)
    a, b = chance.sample(("Are there any", "Are there some", "Are there"), 2)
    return (f"{a} {noun}s in the {place}?", f"{b} {noun}s in the {place}?")


def some_of(chance: Random) -> Pair:
    noun, place = words(chance, 2)
    a, b = chance.sample(("What are some", "What are the", "What are", "What are some of the"), 2)
    return f"{a} {noun}s of {place}?", f"{b} {noun}s of {place}?"


def progressive(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    return f"Why does my {noun} {verb} in the {place}?", f"Why is my {noun} {verb}ing in the {place}?"


def perfect(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    return f"Why has my {noun} been {verb}ed in {place}?", f"Why was my {noun} {verb}ed in {place}?"


def case_put(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    a, b = chance.sample(("What happens if", "What will happen if", "What happens when", "What would happen if"), 2)
    return f"{a} I {verb} the {noun} of {place}?", f"{b} I {verb} the {noun} of {place}?"


def going_to(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    return f"Who is going to {verb} the {noun} in {place}?", f"Who will {verb} the {noun} in {place}?"


def obliged(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    return f"Do I have to {verb} a {noun} for {place}?", f"Do I need to {verb} a {noun} for {place}?"


def gerund(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    return chance.choice(
        (
            (f"Is it {place} to {verb} the {noun}?", f"Is it {place} {verb}ing the {noun}?"),
            (f"What is the {place} way to {verb} a {noun}?", f"What is the {place} way of {verb}ing a {noun}?"),
            (f"Do I need a {noun} to {verb} in {place}?", f"Do I need a {noun} for {verb}ing in {place}?"),
        )
    )


def sides(chance: Random) -> Pair:
    a, b, more = words(chance, 3)
    return chance.choice(
        (
            (
                f"What is the difference between {a} {more} and {b}?",
                f"What's the difference between {b} and {a} {more}?",
            ),
            (f"Which is {more}, the {a} or the {b}?", f"Which is {more}, the {b} or the {a}?"),
            (
                f"Is it better to {more} {a.title()} or {b.title()}?",
                f"Is it better to {more} {b.title()} or {a.title()}?",
            ),
        )
    )


def phrases(chance: Random) -> Pair:
    verb, a, b = words(chance, 3)
    one, other = chance.sample(("from", "to", "with", "in", "by"), 2)
    return f"How do I {verb} {one} the {a} {other} {b}?", f"How do I {verb} {other} {b} {one} the {a}?"


def moved_not(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    do, short = chance.choice((("does", "doesn't"), ("can", "can't"), ("will", "won't")))
    return f"Why {short} my {noun} {verb} in {place}?", f"Why {do} my {noun} not {verb} in {place}?"


def asking_last(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    return chance.choice(
        (
            (f"Why is the {noun} {verb} in {place}?", f"The {noun} is {verb} in {place}, why?"),
            (f"At which {noun} should I {verb} my {place}?", f"Which {noun} should I {verb} my {place} at?"),
            (f"Which {noun} is best for {place}?", f"What is the best {noun} for {place}?"),
        )
    )


def in_two(chance: Random) -> Pair:
    opening, rest, (verb, _, _) = question(chance)
    more = word(chance)
    return f"{opening} {rest.replace(verb, verb + more)}?", f"{opening} {rest.replace(verb, f'{verb} {more}')}?"


def likeness(chance: Random) -> Pair:
    verb, noun = words(chance, 2)
    a, b = chance.sample(("What is it like to", "What does it feel like to", "How does it feel to"), 2)
    return f"{a} {verb} the {noun}?", f"{b} {verb} the {noun}?"


def place_of_name(chance: Random) -> Pair:
    verb, noun, name = words(chance, 3)
    a, b = chance.sample(("in", "on", "at"), 2)
    return f"How do I {verb} a {noun} {a} {name.title()}?", f"How do I {verb} a {noun} {b} {name.title()}?"


def apart(chance: Random) -> Pair:
    opening, rest, _ = question(chance)
    return f"{opening} {rest}?", f"{opening} {rest} ?"


def old_plural(chance: Random) -> Pair:
    opening, rest, (_, noun, _) = question(chance)
    one, many = chance.choice(
        (("man", "men"), ("knife", "knives"), ("shelf", "shelves"), ("sis", "ses"), ("dy", "dies"))
    )
    return f"{opening} {rest.replace(noun, noun + one)}?", f"{opening} {rest.replace(noun, noun + many)}?"


def request(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    ask = chance.choice(("Can you", "Could you please", "Would you"))
    return f"{ask} {verb} my {noun} with the {place}?", f"{verb.capitalize()} my {noun} with the {place}."


def purpose(chance: Random) -> Pair:
    verb, noun, place = words(chance, 3)
    end = chance.choice((f"to {verb} in the {place}", f"for the {verb} of {place}"))
    return f"Do I need a {noun} {end}?", f"Do you need a {noun} {end}?"


TRUE: dict[str, Maker] = {
    make.__name__: make
    for make in (
        punctuation,
        articles,
        politeness,
        how,
        contraction,
        plural,
        digits,
        thanks,
        spelling,
        manner,
        own_person,
        interrogative,
        existence,
        some_of,
        progressive,
        perfect,
        case_put,
        going_to,
        obliged,
        gerund,
        sides,
        phrases,
        moved_not,
        asking_last,
        in_two,
        likeness,
        place_of_name,
        apart,
        old_plural,
        request,
        purpose,
    )
}
"""What may share an answer, by why."""
