"""Why a call misses: what the store says of its key, and in which fields the nearest stored request differs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from cachecore import OptionsError
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.calls import Calls
from cachecore_llm.flow.nearest import NearestEntry, Search
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.policy.tenants import tenant_segments
from cachecore_llm.wire import OPENAI_EMBEDDINGS, Call

MOST: Final = 10_000
"""Entries that are looked at, twice at most: in the namespace of the call, then in all of its tenant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissReport:
    """Why a call is answered from the cache, or why not. Holds names of fields, and no value of any request."""

    status: Literal["hit", "miss", "bypass"]
    """The result that a call would get now."""
    reason: str | None = None
    """Of a bypass, why the cache is passed by. Of a miss, as the store says it: `absent`, `expired`, `deleted`,
    `invalidated`, `max_age`, `store`, `stream only`, or the reason of a rejected entry."""
    key: str = ""
    nearest: NearestEntry | None = None
    """Where the key is absent: the nearest stored answer, and the fields in which its request differs."""
    looked_at: int = 0
    """Entries that were looked at to find it."""
    comparable: int = 0
    """Of these: entries that hold digests of fields, of the same tenant and protocol."""

    def __str__(self) -> str:
        if self.status == "hit":
            return "hit: stored and fresh"
        head = f"{self.status}: {self.reason}"
        if self.nearest is not None:
            return f"{head}; {self.nearest} (of {self.comparable} stored requests)"
        return f"{head}; none of {self.looked_at} stored answers compares" if self.reason == "absent" else head


async def explain(flow: Calls, call: Call, controls: Controls = DEFAULT, *, most: int = MOST) -> MissReport:
    """Return why `call` misses. Asks no provider, counts nothing, and changes nothing in the store.

    Of a call with many inputs, the first input that misses is explained. It costs a scan of the store, two at most, and
    0.05 to 0.25 ms for each stored answer that is looked at.

    Raises:
        OptionsError: `most` is below 1, or as `Calls.ask`.
    """
    if most < 1:
        raise OptionsError(f"most must be 1 or more, not {most!r}")
    asked = flow.ask(call, controls)
    if asked.bypass is not None:
        return MissReport(status="bypass", reason=asked.bypass)
    parts = [asked]
    if call.protocol == OPENAI_EMBEDDINGS.name:
        parts = [flow.ask(replace(call, body=body), controls) for body in OPENAI_EMBEDDINGS.split(call.body)]
    report = MissReport(status="hit")
    for part in parts:
        report = await _explained(flow, part, most)
        if report.status != "hit":
            break
    return report


async def _explained(flow: Calls, asked: Asked, most: int) -> MissReport:
    view = flow.unasked(asked)
    max_age: Any = asked.controls.max_age
    found = await view.lookup(asked.request)
    key = found.key or view.key(asked.request)
    if "bypass" in (found.outcome, found.reason):
        return MissReport(status="bypass", reason="bypass()", key=key)
    if found.value is not None and not found.value.whole and not asked.facts.stream:
        return MissReport(status="miss", reason="stream only", key=key)
    if found.value is not None and max_age is not None and found.age is not None and found.age > max_age:
        return MissReport(status="miss", reason="max_age", key=key)
    if found.value is not None:
        return MissReport(status="hit", key=key)
    if found.reason != "absent":
        return MissReport(status="miss", reason=found.reason, key=key)
    search = Search(flow.fields.digests(asked.request))
    seen = set()
    async for stored_key, stored in view.contents(most=most):
        seen.add(stored_key)
        search.show(stored_key, stored)
    if not search.says_the_same:
        root = flow.root.scoped("/".join(tenant_segments(asked.call.tenant)))
        async for stored_key, stored in root.contents(most=most, below=True):
            if stored_key not in seen:
                search.show(stored_key, stored)
    return MissReport(
        status="miss",
        reason="absent",
        key=key,
        nearest=search.nearest,
        looked_at=search.looked_at,
        comparable=search.comparable,
    )
