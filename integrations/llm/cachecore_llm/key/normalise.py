"""Questions that are keyed as one although they are written otherwise: white space, Unicode composition, end marks.

Only by choice, and only in the key: the provider gets the text as it was written. Letter case is never changed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Final, Literal, get_args

from cachecore_llm.wire.call import JsonObject

Rule = Literal["white_space", "nfc", "end_punctuation"]
"""`white_space`: in a text of one line each run is one space, and there is none at its ends. In a text of several
lines, which may be code or a table, it goes only at the ends of lines, as do empty lines at the ends of the text.
`nfc`: letters and accents are composed. `end_punctuation`: there is no `.`, `?` or `!` at the end."""

RULES: Final[tuple[Rule, ...]] = get_args(Rule)

_DOTS: Final = frozenset(".。।")
_ASKING: Final = frozenset("?？؟")
_CALLING: Final = frozenset("!！")
_CLOSING: Final = frozenset("\"')]}»”’」』%°€$£")
_TEXTS: Final = frozenset({"text", "input_text"})


def normalised_text(text: str, rules: AbstractSet[str]) -> str:
    """Return `text` as it is keyed under `rules`. O(its length). Applied again, it changes nothing more."""
    if "nfc" in rules:
        text = unicodedata.normalize("NFC", text)
    if "white_space" in rules:
        text = _white_space(text)
    return _without_end(text) if "end_punctuation" in rules else text


def normalised(request: JsonObject, rules: AbstractSet[str]) -> JsonObject:
    """Return the value to key with the questions in it normalised and the rules named. Parts are shared with `request`.

    A message of a user is changed if it has one text. Not changed: system prompts, answers, results of tools, contents
    of several texts, and inputs of embeddings, because the vector of each text is its own.
    """
    protocol = request["protocol"]
    if protocol == "openai.embeddings" or not rules:
        return request

    def text(value: str) -> str:
        return normalised_text(value, rules)

    body = dict(request["body"])
    if protocol == "plain":
        if "user_message" in body:
            body["user_message"] = _content(body["user_message"], text)
        if "context" in body:
            body["context"] = _turns(body["context"], text)
    else:
        field = "input" if protocol == "openai.responses" else "messages"
        value = body.get(field)
        if value is not None:
            body[field] = text(value) if isinstance(value, str) else _turns(value, text)
    return {**request, "body": body, "normalised": sorted(rules)}


def rules_of(given: object) -> frozenset[str]:
    """Return the rules that a setting means: True is all of them. Raises ValueError if it means none."""
    if isinstance(given, bool):
        return frozenset(RULES if given else ())
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"True, False or a list of {', '.join(RULES)}, not {given!r}")
    rules = list(given)
    for rule in rules:
        if rule not in RULES:
            raise ValueError(f"the rules are {', '.join(RULES)}, not {rule!r}; letter case is never changed")
    return frozenset(rules)


def _turns(value: Any, text: Callable[[str], str]) -> Any:
    """Return a list of messages with those of users changed; anything else as it is."""
    if not isinstance(value, list):
        return value
    return [
        {**turn, "content": _content(turn["content"], text)}
        if isinstance(turn, dict) and turn.get("role") == "user" and "content" in turn
        else turn
        for turn in value
    ]


def _content(content: Any, text: Callable[[str], str]) -> Any:
    """Return the content of a message with its text changed, if there is exactly one: several are read as one."""
    if isinstance(content, str):
        return text(content)
    if not isinstance(content, list) or any(isinstance(part, str) for part in content):
        return content
    at = [index for index, part in enumerate(content) if isinstance(part, dict) and part.get("type") in _TEXTS]
    if len(at) != 1 or not isinstance(content[at[0]].get("text"), str):
        return content
    changed = list(content)
    changed[at[0]] = {**content[at[0]], "text": text(content[at[0]]["text"])}
    return changed


def _white_space(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    first = next((index for index, line in enumerate(lines) if line), 0)
    lines = lines[first:]
    if len(lines) == 1:
        return " ".join(lines[0].split())
    return "\n".join(lines)


def _without_end(text: str) -> str:
    """Return `text` without the mark at its end, unless the mark says more than that a sentence is over.

    It says more if it follows white space or another mark (`What is !`, `Go on...`, `cd .`), and a `!` also if it
    follows less than two letters (`What is 5!`, `n!`). A `?` may have a space before it, as in French, but no new line.
    """
    end = len(text)
    while end and (text[end - 1] in _ASKING or text[end - 1] in _CALLING):
        end -= 1
    if end == len(text):
        if not text or text[-1] not in _DOTS:
            return text
        rest = text[:-1]
        return rest if _ends_in_word(rest) else text
    rest, mark = text[:end], text[end]
    if mark in _CALLING:
        return rest if len(rest) > 1 and rest[-2:].isalpha() else text
    if rest and unicodedata.category(rest[-1]) == "Zs":
        rest = rest[:-1]
    return rest if _ends_in_word(rest) else text


def _ends_in_word(text: str) -> bool:
    return bool(text) and (text[-1] in _CLOSING or unicodedata.category(text[-1])[0] in "LMN")
