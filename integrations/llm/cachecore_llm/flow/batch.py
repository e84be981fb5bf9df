"""The way of a call with many inputs: embeddings. Each input is a request of its own, with an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from cachecore import Cache, Computed, Lookup
from cachecore_llm.errors import NotCachedError, UnusableAnswerError
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.calls import Calls
from cachecore_llm.flow.freshness import acceptable
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.policy.controls import Controls
from cachecore_llm.upstream import Sent, fault_of
from cachecore_llm.wire import OPENAI_EMBEDDINGS, Call, JsonObject


@dataclass(slots=True, kw_only=True)
class Batch:
    """The answers to many inputs, joined."""

    body: JsonObject
    """One answer to all inputs, in their order. Its usage is the tokens billed now."""
    computed: frozenset[int] = frozenset()
    """Places of the inputs that this call had computed now; the others were stored, or computed for another caller."""
    stored: bool = True
    """Whether all that were computed now are stored."""
    bypass: str | None = None
    provider: str = ""
    fallback: bool = False
    lookup: Lookup[StoredAnswer] | None = None
    """How the answer came, where there is one input."""


@dataclass(slots=True)
class _Billed:
    """The inputs that a batch sent upstream, and their cost."""

    usage: JsonObject | None = None
    computed: set[int] = field(default_factory=set)
    stored: bool = True
    provider: str = ""
    fallback: bool = False

    def add(self, usage: Any) -> None:
        """Add the usage of one answer."""
        if isinstance(usage, dict):
            before = self.usage or {}
            self.usage = {
                name: before.get(name, 0) + count if type(count) is int else count for name, count in usage.items()
            }


async def answer_many(flow: Calls, call: Call, send: Callable[[Call], Awaitable[Sent]], controls: Controls) -> Batch:
    """Return the answers to all inputs of `call`. See `Flow.answer_many`."""
    whole = flow.ask(call, controls)
    whole.check()
    if whole.bypass is not None:
        sent = await flow.costs.timed(call, send)
        _spent(flow, whole, sent)
        every = frozenset(range(whole.facts.n)) if whole.bypass != "unreadable" else frozenset[int]()
        return Batch(
            body=sent.body, computed=every, bypass=whole.bypass, provider=sent.provider, fallback=sent.fallback
        )
    parts = [flow.ask(replace(call, body=body), controls) for body in OPENAI_EMBEDDINGS.split(call.body)]
    requests = {place: part.request for place, part in enumerate(parts)}
    billed = _Billed()

    async def compute(places: list[int]) -> dict[int, Computed[StoredAnswer]]:
        sent, bodies = await _sent(call, parts, places, partial(flow.costs.timed, send=send))
        billed.computed.update(places)
        billed.provider, billed.fallback = sent.provider, sent.fallback
        billed.add(sent.body.get("usage"))
        _spent(flow, whole, sent)
        way: dict[str, Any] = {"provider": sent.provider, "fallback": sent.fallback, "latency": sent.latency}
        facts = {place: OPENAI_EMBEDDINGS.facts(body) for place, body in bodies.items()}
        made = {place: flow.commit.judged(parts[place], body, facts[place], **way) for place, body in bodies.items()}
        billed.stored = billed.stored and all(one.store for one in made.values())
        return made

    async def one() -> Computed[StoredAnswer]:
        return (await compute([0]))[0]

    lookup: Lookup[StoredAnswer] | None = None
    if (
        controls.refresh
        or controls.no_store
        or controls.only_if_cached
        or controls.max_age is not None
        or controls.bounds_freshness
    ):
        found = {} if controls.refresh else await _stored(whole.view, requests, controls)
        missing = [place for place in requests if place not in found]
        if missing and controls.only_if_cached:
            raise NotCachedError("absent")
        made = await compute(missing) if missing else {}
        for place, computed in made.items():
            found[place] = computed.value
            if computed.store:
                await whole.view.set(requests[place], computed)
    elif len(parts) == 1:
        lookup = await whole.view.lookup(requests[0], one, ttl=controls.ttl)
        found = {0: lookup.value} if lookup.value is not None else {}
    else:
        found = await whole.view.get_or_set_many(requests, compute, ttl=controls.ttl)
    for place, stored in found.items():
        if place not in billed.computed:
            flow.costs.saved(parts[place], stored)
    answers = [found[place].read() for place in range(len(parts))]
    return Batch(
        body=OPENAI_EMBEDDINGS.joined(answers, billed.usage),
        computed=frozenset(billed.computed),
        stored=billed.stored,
        provider=billed.provider or found[0].provider,
        fallback=billed.fallback,
        lookup=lookup,
    )


def _spent(flow: Calls, whole: Asked, sent: Sent) -> None:
    """Count the billed tokens. The vectors are no part of that, so they are not written out for it."""
    paid = StoredAnswer(
        protocol=whole.call.protocol, body=b"", provider=sent.provider, fallback=sent.fallback, latency=sent.latency
    )
    flow.costs.spent(whole, paid, whole.protocol.facts(sent.body))


async def _stored(
    view: Cache[StoredAnswer], requests: dict[int, JsonObject], controls: Controls
) -> dict[int, StoredAnswer]:
    """Return the answers that are stored, fresh, and as young as `controls` wants them."""
    if controls.max_age is None and not controls.bounds_freshness:
        return await view.get_many(requests)
    found = await asyncio.gather(*(acceptable(view, request, controls) for request in requests.values()))
    return {
        place: one.value
        for place, one in zip(requests, found, strict=True)
        if one is not None and one.value is not None
    }


async def _sent(
    call: Call, parts: list[Asked], places: list[int], send: Callable[[Call], Awaitable[Sent]]
) -> tuple[Sent, dict[int, JsonObject]]:
    """Ask for the answers to the inputs at `places`; return the answer, and the body of each of these inputs."""
    asked = places
    try:
        sent = await send(replace(call, body=_merged(parts, asked)))
    except Exception as error:
        # Some endpoints take a batch as their caller wrote it and no part of it. An answer of a wrong form is passed on
        # to the caller as it came, which it can be only if it answers all that was asked.
        if len(places) == len(parts) or fault_of(error) == "passing":
            raise
        asked = list(range(len(parts)))
        sent = await send(call)
    try:
        bodies = OPENAI_EMBEDDINGS.answers_of(sent.body, len(asked))
    except ValueError as error:
        raise UnusableAnswerError(sent.provider, str(error)) from None
    wanted = set(places)
    return sent, {place: body for place, body in zip(asked, bodies, strict=True) if place in wanted}


def _merged(parts: list[Asked], places: list[int]) -> JsonObject:
    bodies = [parts[place].call.body for place in places]
    return bodies[0] if len(bodies) == 1 else OPENAI_EMBEDDINGS.merged(bodies)
