"""The way of a call that wants a whole answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from cachecore import Cache, Computed, Lookup
from cachecore.contract.results import Outcome
from cachecore_llm.errors import NotCachedError
from cachecore_llm.flow import first, ladder
from cachecore_llm.flow.answers import Answer
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.calls import Calls
from cachecore_llm.flow.freshness import acceptable
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.response import CacheStatus
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import Call, JsonObject
from cachecore_llm.wire.objects import dump

_ON_ITS_WAY: Final = 0.005
"""Seconds after which the request is on its way to the provider, and this process has nothing to do for it."""

STATUS: Final[dict[Outcome, CacheStatus]] = {
    "hit": "hit",
    "stale": "stale",
    "rescued": "stale",
    "computed": "miss",
    "bypass": "bypass",
}


async def answer(flow: Calls, asked: Asked, send: Callable[[Call], Awaitable[Sent]], *, similar: bool) -> Answer:
    """Return the answer to `asked`. See `Flow.answer`."""
    asked.check()
    if asked.bypass is not None:
        sent = await flow.costs.timed(asked.call, send)
        stored = sent_as_is(asked, sent)
        flow.costs.spent(asked, stored, asked.protocol.facts(sent.body))
        return flow.passed_by(asked, stored)
    controls = asked.controls
    shadow = first.drawn(flow, asked) if similar else None
    if similar and shadow is None and first.is_first(flow, asked):
        instead = await first.instead(flow, asked)
        if instead is not None:
            return instead
    computed: Computed[StoredAnswer] | None = None
    ran = False

    async def factory() -> Computed[StoredAnswer]:
        nonlocal computed, ran
        ran = True
        computed = await _made(flow, asked, send)
        return computed

    max_age: Any = controls.max_age
    if controls.bounds_freshness and not controls.refresh:
        enough = await acceptable(asked.view, asked.request, controls)
        if enough is not None and enough.value is not None and enough.value.whole:
            return told(flow, asked, enough)
        if controls.only_if_cached:
            raise NotCachedError("not fresh enough")
    try:
        if controls.refresh or controls.min_fresh is not None:
            stored = await asked.view.refresh(asked.request, factory)
            key = asked.key
            found: Lookup[StoredAnswer] = Lookup(value=stored, outcome="computed", key=key, joined=computed is None)
        elif controls.no_store or controls.only_if_cached:
            found = await _unstored(asked, factory, max_age)
        else:
            try:
                found = await asked.view.lookup(asked.request, factory, max_age=max_age)
            except Exception as error:
                if ran or not ladder.is_haste(error):
                    raise
                # Another caller's call, which may have had a timeout of its own. Of a provider that hangs, the breaker
                # is open by now.
                found = await asked.view.lookup(asked.request, factory, max_age=max_age)
        if found.value is not None and not found.value.whole:
            found = await _made_whole(asked.view, asked.request, factory)
    except Exception as error:
        instead = await flow.similar_answer(asked) if similar and ladder.may_rescue(error) else None
        if instead is None:
            raise
        return instead
    if shadow is not None and computed is not None and computed.store and computed.value is not None:
        first.check(flow, asked, shadow, computed.value)
    return told(flow, asked, found, computed)


async def alone(flow: Calls, asked: Asked, send: Callable[[Call], Awaitable[Sent]]) -> Answer:
    """Return an answer made for this caller alone, and store it. See `Flow.alone`."""
    asked.check()
    if asked.bypass is not None:
        stored = sent_as_is(asked, await flow.costs.timed(asked.call, send))
        flow.costs.spent(asked, stored)
        return flow.passed_by(asked, stored)
    if asked.controls.only_if_cached:
        raise NotCachedError("absent")
    computed = await _made(flow, asked, send)
    if computed.store:
        await asked.view.set(asked.request, computed)
    return Answer(
        stored=computed.value,
        status="miss",
        key=asked.key,
        stored_now=computed.store,
        facts=asked.read_facts,
    )


def told(
    flow: Calls, asked: Asked, found: Lookup[StoredAnswer], computed: Computed[StoredAnswer] | None = None
) -> Answer:
    """Return the result of a lookup as an answer, counted. `computed`: that of this call's own factory, if it ran."""
    stored = found.value
    assert stored is not None  # noqa: S101 - a lookup with a factory has a value, or has raised
    outcome = found.outcome
    if outcome == "bypass":
        return flow.passed_by(asked, stored)
    status: CacheStatus = STATUS[outcome]
    if status == "miss":
        if found.joined:
            status = "joined"
            flow.costs.saved(asked, stored)
        return Answer(
            stored=stored,
            status=status,
            age=found.age if found.joined else None,
            fresh_for=found.fresh_for,
            key=found.key,
            stored_now=computed is not None and computed.store,
            reason=None if found.joined else found.reason,
            facts=asked.read_facts,
        )
    flow.costs.saved(asked, stored)
    if ladder.is_from_store(found):
        ladder.remember(asked, flow.questions, stored)
    return Answer(
        stored=stored,
        status=status,
        age=found.age,
        fresh_for=found.fresh_for,
        key=found.key,
        rescued=outcome == "rescued",
        facts=asked.read_facts,
    )


async def quick(
    flow: Calls,
    view: Cache[StoredAnswer],
    request: JsonObject,
    ask: Callable[[], Asked],
    send: Callable[[Call], Awaitable[Sent]],
) -> Answer | tuple[StoredAnswer, float | None]:
    """Return the answer to a call of known place and key, while the call itself has not been written.

    As `answer`, without controls; of a hit in memory, the stored answer and its age. `ask` gives the call on its
    way, with the same place and key.
    """
    if flow.config.similar_first or flow.config.similar_shadow is not None:
        return await answer(flow, ask(), send, similar=True)
    computed: Computed[StoredAnswer] | None = None
    asked: Asked | None = None

    async def factory() -> Computed[StoredAnswer]:
        nonlocal computed, asked
        asked = ask()
        computed = await _made(flow, asked, send)
        return computed

    try:
        found = await view.lookup(request, factory)
        if found.value is not None and not found.value.whole:
            found = await _made_whole(view, request, factory)
    except Exception as error:
        if asked is None and ladder.is_haste(error):  # the call was another caller's
            return await answer(flow, ask(), send, similar=True)
        asked = asked or ask()
        instead = await flow.similar_answer(asked) if ladder.may_rescue(error) else None
        if instead is None:
            raise
        return instead
    stored = found.value
    if found.tier != "l1" or stored is None:
        return told(flow, asked or ask(), found, computed)
    flow.costs.hit(stored, request["tenant"], request["prompt"], ask)
    return stored, found.age


def in_memory(flow: Calls, asked: Asked) -> Answer | None:
    """Return the fresh answer to `asked` that is in memory, or None. See `Flow.in_memory`."""
    controls = asked.controls
    if asked.bypass is not None or controls.refresh or controls.max_age is not None:
        return None
    found = asked.view.peek_lookup(asked.request)
    if found is None or found.value is None or not found.value.whole:
        return None
    return told(flow, asked, found)


async def _made_whole(
    view: Cache[StoredAnswer], request: JsonObject, factory: Callable[[], Awaitable[Computed[StoredAnswer]]]
) -> Lookup[StoredAnswer]:
    """Return an answer computed anew, in place of one that serves streams alone."""
    return Lookup(value=await view.refresh(request, factory), outcome="computed")


async def _made(flow: Calls, asked: Asked, send: Callable[[Call], Awaitable[Sent]]) -> Computed[StoredAnswer]:
    """Ask for an answer; return its entry.

    The caller that asked gets the answer as soon as it is judged, where its key proves that no other one gets an older
    one meanwhile: encoding, storing and counting it come behind.
    """
    preparing = asyncio.get_running_loop().call_later(_ON_ITS_WAY, asked.prepare)
    try:
        sent = await flow.costs.timed(asked.call, send)
    finally:
        preparing.cancel()
    judged = flow.commit.whole(asked, sent)
    if sent.deliver is not None and not asked.controls.refresh and asked.view.hand_over():
        await sent.deliver(asked.key, judged.kept)
    computed = flow.commit.entry(asked, judged)
    flow.costs.spent(asked, computed.value, judged.facts)
    if computed.store:
        ladder.remember(asked, flow.questions, computed.value)
    return computed


async def find(flow: Calls, asked: Asked) -> Answer | None:
    """Return the fresh answer to `asked`, or None."""
    max_age: Any = asked.controls.max_age
    found = await asked.view.lookup(asked.request, max_age=max_age)
    if found.outcome != "hit" or found.value is None or not found.value.whole:
        return None
    return told(flow, asked, found)


def sent_as_is(asked: Asked, sent: Sent) -> StoredAnswer:
    """Return an answer that is not shared, with its fields for the caller alone."""
    return StoredAnswer(
        protocol=asked.call.protocol,
        body=dump(sent.body),
        provider=sent.provider,
        fallback=sent.fallback,
        latency=sent.latency,
        headers=tuple(sorted(sent.headers.items())),
    )


async def _unstored(
    asked: Asked, factory: Callable[[], Awaitable[Computed[StoredAnswer]]], max_age: Any
) -> Lookup[StoredAnswer]:
    """Return the stored answer if it is fresh, else one that is made beside the cache, for this caller alone."""
    found = await asked.view.lookup(asked.request, max_age=max_age)
    if found.value is not None:
        return found
    if asked.controls.only_if_cached:
        raise NotCachedError(found.reason or "absent")
    try:
        return Lookup(value=(await factory()).value, outcome="computed", key=found.key)
    except Exception as error:
        if ladder.may_rescue(error):
            old = await asked.view.lookup(asked.request, stale=True)
            if old.value is not None:
                return old
        raise
