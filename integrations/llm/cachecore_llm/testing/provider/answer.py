"""Which answer a request gets, in terms that all protocols share. Pure: equal requests get equal answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from cachecore_llm.testing.provider import schema
from cachecore_llm.testing.provider.ask import Ask, Offer, tokens
from cachecore_llm.testing.provider.directives import ToolCall
from cachecore_llm.testing.provider.fields import RejectedError

_WORDS: Final = tuple("the answer follows from the question alone so that it can be told once more".split())  # noqa: SIM905
_EXCERPT: Final = 120


@dataclass(frozen=True, slots=True)
class Called:
    """A tool call of an answer; `arguments` is the text that is sent."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A source of the characters `start` to `end` of the text."""

    url: str
    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens. `output` contains `reasoning`, `prompt` contains `cached`; `cache_write` is part of `prompt` too."""

    prompt: int
    output: int
    reasoning: int
    cached: int
    cache_write: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. `finish` is stop, length, content_filter, tool_calls, function_call, or a text to send as it is."""

    text: str | None
    finish: str
    used: Used
    tools: tuple[Called, ...] = ()
    function: Called | None = None
    reasoning: str | None = None
    redacted: bool = False
    refusal: str | None = None
    stopped_by: str | None = None
    citations: tuple[Citation, ...] = ()
    search: str | None = None
    unknown: bool = False


def answers(ask: Ask) -> list[Answer]:
    """Return the answers to `ask`, one for each choice. Raises RejectedError for a schema that cannot be followed."""
    try:
        return [_answer(ask, ask.seed if n == 0 else f"{ask.seed}/{n}") for n in range(ask.choices)]
    except schema.SchemaError as error:
        raise RejectedError(400, f"Invalid schema: {error}", param="schema", kind="invalid_json_schema") from None


def _derived(ask: Ask, seed: str) -> str:
    """Return a readable text that quotes the question."""
    facts = [f"answer {seed[:8]}" + seed[64:], f"model {ask.model}"]
    facts += [f"saw {medium.text}" for medium in ask.media]
    if ask.results:
        facts.append(f"used {ask.results} tool result" + ("s" if ask.results > 1 else ""))
    asked = f'You asked "{ask.prompt[:_EXCERPT]}": ' if ask.prompt else ""
    text = f"{asked}{', '.join(facts)}."
    if ask.directives.words is None:
        return text
    words = tokens(text)[: ask.directives.words]
    words += [f" {_WORDS[n % len(_WORDS)]}" for n in range(ask.directives.words - len(words))]
    return "".join(words)


def _text(ask: Ask, seed: str) -> str:
    if ask.directives.say is not None:
        return ask.directives.say
    if ask.schema is not None:
        made = schema.instance(ask.schema, seed) if ask.schema else {"answer": _derived(ask, seed)}
        return json.dumps(made, ensure_ascii=False)
    return _derived(ask, seed)


def _called(ask: Ask, seed: str, told: ToolCall, offer: Offer | None) -> Called:
    if told.arguments is not None:
        return Called(told.name, told.arguments)
    made: Any = schema.instance(offer.schema, seed) if offer is not None and offer.schema else {}
    return Called(told.name, msgspec.json.encode(made).decode())


def _calls(ask: Ask, seed: str) -> tuple[Called, ...]:
    asked = ask.directives
    told = asked.tools
    if ask.forced is not None and not (told or asked.say is not None or asked.empty or asked.refusal or asked.function):
        told = (ToolCall(ask.forced.name, None),)
    offered = {offer.name: offer for offer in ask.tools}
    return tuple(_called(ask, f"{seed}#{n}", call, offered.get(call.name)) for n, call in enumerate(told))


def _ended(ask: Ask, text: str | None) -> tuple[str | None, str, str | None]:
    """Return the text as far as limits let it come, how it ended, and the stop sequence that ended it."""
    if text is None:
        return None, "stop", None
    if hit := min(((at, stop) for stop in ask.stop if (at := text.find(stop)) >= 0), default=None):
        return text[: hit[0]], "stop", hit[1]
    words = tokens(text)
    if ask.max_tokens is not None and len(words) > ask.max_tokens:
        return "".join(words[: ask.max_tokens]), "length", None
    return text, "stop", None


def _citations(ask: Ask, text: str | None) -> tuple[Citation, ...]:
    count = ask.directives.citations or (1 if ask.directives.search else 0)
    if not text:
        return ()
    step = max(1, len(text) // max(1, count))
    return tuple(
        Citation(
            f"https://example.org/source/{n}",
            f"Source {n}",
            min(n * step, len(text) - 1),
            min((n + 1) * step, len(text)),
        )
        for n in range(count)
    )


def _answer(ask: Ask, seed: str) -> Answer:
    told = ask.directives
    calls = _calls(ask, seed)
    plain = not (told.empty or calls or told.function or told.refusal)
    text = _text(ask, seed) if plain or (told.say is not None and not told.empty) else None
    text, finish, stopped_by = _ended(ask, text)
    if calls:
        finish = "tool_calls"
    elif told.function:
        finish = "function_call"
    finish = told.finish or finish
    reasoning = told.reasoning
    if reasoning is None and ask.reasons:
        reasoning = f"The question has {len(tokens(ask.prompt))} words; the answer is {seed[:8]}."
    function = (
        None
        if told.function is None
        else _called(ask, seed, told.function, {o.name: o for o in ask.tools}.get(told.function.name))
    )
    shown = [
        text or "",
        told.refusal or "",
        *(call.arguments for call in calls),
        function.arguments if function else "",
    ]
    thought = told.usage.get("reasoning", len(tokens(reasoning or "")))
    return Answer(
        text=text,
        finish=finish,
        tools=calls,
        function=function,
        reasoning=reasoning,
        redacted=told.redacted,
        refusal=told.refusal,
        stopped_by=stopped_by if told.finish is None else None,
        citations=_citations(ask, text),
        search=told.search,
        unknown=told.unknown,
        used=Used(
            prompt=ask.prompt_tokens + told.usage.get("cached", 0) + told.usage.get("cache-write", 0),
            output=sum(len(tokens(part)) for part in shown) + thought,
            reasoning=thought,
            cached=told.usage.get("cached", 0),
            cache_write=told.usage.get("cache-write", 0),
        ),
    )
