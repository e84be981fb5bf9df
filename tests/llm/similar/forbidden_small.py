"""Pairs of questions over words that are made up, which differ in the small words around them, or in a form alone."""

from __future__ import annotations

from random import Random

from tests.llm.similar.invented import Maker, Pair, words


def thing_or_deed(chance: Random) -> Pair:
    """The price of a ship, and of shipping."""
    verb, noun = words(chance, 2)
    article = chance.choice(("the", "a", "my"))
    return chance.choice(
        (
            (f"What is the {noun} of {article} {verb}?", f"What is the {noun} of {verb}ing?"),
            (f"How do I {noun} for {article} {verb}?", f"How do I {noun} for {verb}ing?"),
            (f"Can I {noun} with {verb}?", f"Can I {noun} with {verb}ing?"),
            (f"Do they {noun} to {verb}?", f"Do they {noun} {article} {verb}ing?"),
        )
    )


def need(chance: Random) -> Pair:
    """A thing is needed, or something to be done."""
    verb, place = words(chance, 2)
    wish = chance.choice(("need", "want", "like"))
    return f"Does it {wish} {verb} in the {place}?", f"Does it {wish} to {verb} in the {place}?"


def doing(chance: Random) -> Pair:
    """Something is, or does."""
    noun, place = words(chance, 2)
    be, do = chance.choice((("is", "does"), ("was", "did"), ("are", "do")))
    return chance.choice(
        (
            (f"What {be} the {noun} {place}?", f"What {do} the {noun} {place}?"),
            (f"{be.title()} the {noun} of the {place} near?", f"{do.title()} the {noun} of the {place} near?"),
            (f"{be.title()} there a {noun} in the {place}?", f"{be.title()} it a {noun} in the {place}?"),
        )
    )


def condition(chance: Random) -> Pair:
    """What would be done, and what is; how much can be done, and how much is."""
    verb, place = words(chance, 2)
    asks = chance.choice(("What", "Where", "Who"))
    much = chance.choice(("much", "often", "long", place))
    return chance.choice(
        (
            (f"{asks} would you {verb} in {place}?", f"{asks} do you {verb} in {place}?"),
            (f"I'd {verb} in {place}. Which {asks} is it?", f"I {verb} in {place}. Which {asks} is it?"),
            (f"How {much} can I {verb} in {place}?", f"How {much} do I {verb} in {place}?"),
        )
    )


def country(chance: Random) -> Pair:
    """The US, and IT, written small."""
    noun, verb = words(chance, 2)
    small = chance.choice(("us", "it"))
    return chance.choice(
        (
            (f"how do i apply for {small} {noun}s", f"how do i apply for {noun}s"),
            (f"what are the best {small} {noun}s", f"what are the best {noun}s"),
            (f"{small} {noun} for {verb}s", f"{noun} for {verb}s"),
            (f"how do us {noun}s {verb}", f"how do {noun}s {verb}"),
            (f"what is it {noun}", f"what is {noun}"),
            (f"how do i {verb} in it", f"how do i {verb} in us"),
        )
    )


def subject(chance: Random) -> Pair:
    """I, you, or it."""
    noun, verb = words(chance, 2)
    person, own = chance.choice((("I", "my"), ("you", "your")))
    return chance.choice(
        (
            (f"Can it {verb} in the {noun}?", f"Can {person} {verb} in the {noun}?"),
            (f"What is its {noun} {verb}?", f"What is {own} {noun} {verb}?"),
            (f"How are you {verb}ing the {noun}?", f"How am I {verb}ing the {noun}?"),
            (f"How do you {verb} my {noun}?", f"How do I {verb} my {noun}?"),
            (f"How do you {verb} me?", f"How do I {verb}?"),
        )
    )


def obligation(chance: Random) -> Pair:
    """How something should be done, and how it is; of a person both ask for a manner."""
    noun, verb, place = words(chance, 3)
    return f"How should {noun}s {verb} in the {place}?", f"How do {noun}s {verb} in the {place}?"


def order_given(chance: Random) -> Pair:
    """What is to be done with a thing."""
    noun, place = words(chance, 2)
    one, other = chance.sample(("tell me", "explain", "show me"), 2)
    other = chance.choice(("", "Could you ", "Can you please ", "please ")) + other
    return f"{one.capitalize()} the {noun} of my {place}", f"{other} the {noun} of my {place}"


def definition(chance: Random) -> Pair:
    """What such a thing is, and which one it is."""
    one, two = words(chance, 2)
    which, such = chance.choice((("my", "a "), ("the", "a "), ("your", ""), ("my", "")))
    be = chance.choice(("What is", "What's", "What was", "Who is"))
    return chance.choice(
        (
            (f"{be} {which} {one} {two}?", f"{be} {such}{one} {two}?"),
            (f"What is the {one}?", f"What is {one}?"),
        )
    )


def aspect(chance: Random) -> Pair:
    """What is done now, and what is done."""
    verb, place = words(chance, 2)
    asks = chance.choice(("What", "Where", "Who", "When"))
    return chance.choice(
        (
            (f"{asks} do you {verb} in {place}?", f"{asks} are you {verb}ing in {place}?"),
            (f"Does it {verb} in {place}?", f"Is it {verb}ing in {place}?"),
        )
    )


def progress(chance: Random) -> Pair:
    """What is being done, and what is done."""
    noun, verb = words(chance, 2)
    be = chance.choice(("Is", "Was"))
    return f"{be} my {noun} being {verb}ed?", f"{be} my {noun} {verb}ed?"


def lasting(chance: Random) -> Pair:
    """What still is, and what is over."""
    noun, verb = words(chance, 2)
    long = chance.choice(("for 2 years", "for three weeks", "since 2019", "since the summer"))
    asks = chance.choice(("Do I pay", "Can I go", "Is it right"))
    return f"I have {verb}ed a {noun} {long}. {asks}?", f"I {verb}ed a {noun} {long}. {asks}?"


def two_tenses(chance: Random) -> Pair:
    """Of two clauses one is in another tense, while both texts speak of the past; `-ed` is no participle."""
    noun, verb, other = words(chance, 3)
    return chance.choice(
        (
            (f"I was {verb}ed and my {noun} is {other}. Who?", f"I was {verb}ed and my {noun} was {other}. Who?"),
            (f"It was {verb}ed. Do I get a {noun}?", f"It was {verb}ed. Did I get a {noun}?"),
            (f"My {noun} is {other}. Was it {verb}?", f"My {noun} was {other}. Is it {verb}?"),
            (f"I have {verb}ed {noun}s. Is it {other}?", f"I had {verb}ed {noun}s. Is it {other}?"),
            (f"I can't {verb}. Can I {noun}?", f"I don't {verb}. Can I {noun}?"),
        )
    )


def lettered(chance: Random) -> Pair:
    """A letter or a numeral behind its noun, written small; and a degree."""
    noun, verb = words(chance, 2)
    kind = chance.choice(("vitamin a", "hepatitis a", "influenza a", "type i", "very"))
    return f"how do i {verb} {kind} {noun}s", f"how do i {verb} {kind.split()[0].replace('very', '')} {noun}s"


def said(chance: Random) -> Pair:
    """Words that are spoken of, however small."""
    noun, verb = words(chance, 2)
    say = chance.choice(("How do you say", "How to say", "Translate", "Can you translate", "How do I pronounce"))
    one, other = chance.choice(
        (
            (f"the {noun}", f"a {noun}"),
            (f"my {noun}", f"the {noun}"),
            (f"can I {verb}", f"could I {verb}"),
            (f"it is {verb}", f"is it {verb}"),
        )
    )
    return f"{say} {one} in Spanish", f"{say} {other} in Spanish"


def article(chance: Random) -> Pair:
    """The same word in another case, gender or number, which the article alone tells."""
    noun, verb = words(chance, 2)
    one, other = chance.sample(("der", "die", "den", "dem"), 2)
    thing, place = chance.sample(("el", "la"), 2)
    return chance.choice(
        (
            (f"Darf ich in {one} {noun} {verb}en?", f"Darf ich in {other} {noun} {verb}en?"),
            (f"Wie kann {one} {noun} {verb}en?", f"Wie kann {other} {noun} {verb}en?"),
            (f"Comment est le {noun} ?", f"Comment est la {noun} ?"),
            (f"¿Por qué está {thing} {noun}?", f"¿Por qué está {place} {noun}?"),
        )
    )


def foreign_form(chance: Random) -> Pair:
    """An ending that is a plural in English, and another person in Spanish."""
    noun, verb = words(chance, 2)
    return f"¿Por qué {verb}e la {noun}?", f"¿Por qué {verb}es la {noun}?"


SMALL: dict[str, Maker] = {
    make.__name__: make
    for make in (
        thing_or_deed,
        need,
        doing,
        condition,
        country,
        subject,
        obligation,
        order_given,
        definition,
        aspect,
        progress,
        lasting,
        two_tenses,
        lettered,
        said,
        article,
        foreign_form,
    )
}
"""What may share no answer, by the difference."""
