"""Normalised texts: which are one question, which stay apart; and that only the key is changed."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cachecore.keys import encode
from cachecore_llm.key import RULES, Keyed, normalised, normalised_text, rules_of
from cachecore_llm.wire import JsonObject, ProtocolName
from tests.llm.key.asking import ask

ALL = frozenset(RULES)
MARKS = ".?!。।？؟！"
texts = st.text() | st.text(st.sampled_from("ab ä5\u0308\u00a0\n\t.?!…)\"'Å"), max_size=12)
rules = st.sets(st.sampled_from(RULES)).map(frozenset)


def one(*spellings: str) -> bool:
    """Return whether all these are one question."""
    return len({normalised_text(text, ALL) for text in spellings}) == 1


@example("\t0\n?", ALL)
@given(texts, rules)
def test_applied_again_it_changes_nothing(text: str, chosen: frozenset[str]) -> None:
    once = normalised_text(text, chosen)
    assert normalised_text(once, chosen) == once


@given(texts)
def test_nothing_is_lost_but_space_and_marks_at_the_end(text: str) -> None:
    """Words, their order, their letter case and their limits stay: all but the marks after the last one."""
    before, after = unicodedata.normalize("NFC", text).split(), normalised_text(text, ALL).split()
    assert after[:-1] == before[: max(len(after) - 1, 0)]
    lost = "".join(before)[len("".join(after)) :]
    assert "".join(before) == "".join(after) + lost
    assert set(lost) <= set(MARKS)
    assert len(lost) == 0 or after


@given(texts, rules)
def test_letter_case_counts(text: str, chosen: frozenset[str]) -> None:
    for other in (text.upper(), text.lower(), text.swapcase()):
        same = unicodedata.normalize("NFC", text) == unicodedata.normalize("NFC", other)
        assert same or normalised_text(text, chosen) != normalised_text(other, chosen)


@given(texts)
def test_without_a_rule_a_text_stays(text: str) -> None:
    assert normalised_text(text, frozenset()) == text


@given(st.text(st.characters(categories=["L", "N"]), min_size=2), st.text(st.sampled_from(" \t\u00a0"), max_size=3))
def test_what_is_typed_by_the_way_does_not_count(word: str, space: str) -> None:
    for mark in ("", "?", "??", " ?", "."):
        for form in ("NFC", "NFD"):
            assert one(f"Where is {word}", space + unicodedata.normalize(form, f"Where  is {word}") + mark + space)


@pytest.mark.parametrize(
    "spellings",
    [
        ("Where is my card?", "Where is my card", " Where  is\tmy card ?", "Where is my card??", "Where is my card?!"),
        ("Où est ma carte\u202f?", "Où est ma carte ?", "Ou\u0300 est ma carte?"),
        ("My card is lost.", "My card is lost", "My card is lost!", "My card is lost!!"),
        ("卡在哪里？", "卡在哪里", "卡在哪里。"),
        ("What is 2 + 5?", "What is 2 + 5"),
        ("Line one \r\n  code\n", "Line one\n  code", "\n\nLine one\n  code"),
    ],
)
def test_one_question(spellings: tuple[str, ...]) -> None:
    assert one(*spellings)


@pytest.mark.parametrize(
    ("one_text", "other"),
    [
        ("Where is my card", "where is my card"),
        ("Compute 5!", "Compute 5"),
        ("What is 15!?", "What is 15?"),
        ("Compute n!", "Compute n"),
        ("What does ! do", "What does do"),
        ("What is the meaning of !", "What is the meaning of ?"),
        ("?", "!"),
        ("Go on...", "Go on"),
        ("Go on…", "Go on"),
        ("ls .", "ls"),
        ("cd ..", "cd ."),
        ("if x:\n  y\nz", "if x:\n  y\n  z"),
        ("a b", "ab"),
        ("a  b\nc", "a b\nc"),  # several lines may be a table, or code
        ("x\u200by", "xy"),
        ("ﬁne", "fine"),  # NFC, not NFKC
    ],
)
def test_other_questions(one_text: str, other: str) -> None:
    assert not one(one_text, other)


def keyed(protocol: ProtocolName, body: JsonObject, chosen: frozenset[str] = ALL) -> bytes:
    """Return the canonical bytes of a call whose questions are normalised."""
    found = ask(protocol, body)
    assert isinstance(found, Keyed)
    before = encode(found.request)
    made = encode(normalised(found.request, chosen))
    assert encode(found.request) == before
    return made


def user(content: Any) -> JsonObject:
    return {"role": "user", "content": content}


PICTURE = {"type": "image_url", "image_url": {"url": "https://a.test/a.png"}}
BODIES: list[tuple[ProtocolName, Any]] = [
    ("openai.chat", lambda text: {"messages": [user(text)]}),
    ("openai.chat", lambda text: {"messages": [user([{"type": "text", "text": text}, PICTURE])]}),
    ("openai.chat", lambda text: {"messages": [user(text), {"role": "assistant", "content": "Yes."}, user("And?")]}),
    ("openai.responses", lambda text: {"model": "m", "input": text}),
    ("openai.responses", lambda text: {"model": "m", "input": [user([{"type": "input_text", "text": text}])]}),
    ("anthropic.messages", lambda text: {"max_tokens": 9, "messages": [user([{"type": "text", "text": text}])]}),
    ("plain", lambda text: {"system_prompt": "s", "user_message": text, "context": None, "params": {}}),
    ("plain", lambda text: {"system_prompt": "s", "user_message": "q", "context": [user(text)], "params": {}}),
]
OTHERS: list[tuple[ProtocolName, Any]] = [
    ("openai.chat", lambda text: {"messages": [{"role": "system", "content": text}, user("q")]}),
    ("openai.chat", lambda text: {"messages": [user("q"), {"role": "assistant", "content": text}, user("q")]}),
    ("openai.chat", lambda text: {"messages": [user([{"type": "text", "text": text}, {"type": "text", "text": "q"}])]}),
    ("openai.chat", lambda text: {"messages": [user("q")], "stop": text}),
    ("openai.embeddings", lambda text: {"model": "m", "input": text}),
    ("openai.responses", lambda text: {"model": "m", "input": "q", "instructions": text}),
    ("anthropic.messages", lambda text: {"max_tokens": 9, "messages": [user("q")], "system": text}),
    ("plain", lambda text: {"system_prompt": text, "user_message": "q", "context": None, "params": {}}),
    ("plain", lambda text: {"system_prompt": "s", "user_message": "q", "context": text, "params": {}}),
]


@pytest.mark.parametrize(("protocol", "body"), BODIES)
def test_what_users_say_is_normalised(protocol: ProtocolName, body: Any) -> None:
    assert keyed(protocol, body("Where is it?")) == keyed(protocol, body(" Where  is it"))
    assert keyed(protocol, body("Where is it?")) != keyed(protocol, body("where is it?"))


@pytest.mark.parametrize(("protocol", "body"), OTHERS)
def test_all_else_is_not(protocol: ProtocolName, body: Any) -> None:
    assert keyed(protocol, body("Where is it?")) != keyed(protocol, body("Where is it"))


def test_other_rules_are_other_requests() -> None:
    """Caches with other rules never share an answer, on one store."""
    body = BODIES[0][1]("Where is it")
    keys = {keyed("openai.chat", body, chosen) for chosen in (ALL, frozenset({"nfc"}), frozenset[str]())}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("given", "meant"), [(True, ALL), (False, frozenset()), (["nfc", "nfc"], {"nfc"}), (frozenset(), frozenset())]
)
def test_rules(given: object, meant: frozenset[str]) -> None:
    assert rules_of(given) == meant


@pytest.mark.parametrize("given", ["nfc", ["case"], None, 1, ["nfc", 3]])
def test_no_rules(given: object) -> None:
    with pytest.raises(ValueError, match="white_space, nfc, end_punctuation, not"):
        rules_of(given)
