"""Where the flow says which answers were paid for, and which were not.

A hit is noted in a queue; its savings are worked out when the ledger is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from cachecore_llm.cost.ledger import Charge, Ledger
from cachecore_llm.cost.prices import Priced
from cachecore_llm.cost.telemetry import CostTelemetry
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.places import system_text
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import PROTOCOLS, AnswerFacts, Call, UnreadableStreamError

_MOST_PENDING: Final = 128
"""Working one out takes some ten microseconds, so that this many are a few milliseconds."""

_MOST_CHARGES: Final = 1024

_Whose = tuple[int, str | None, str | None]
"""A digest of an answer, for this process alone, and the caller's tenant and prompt."""

_Hit = tuple[StoredAnswer, str | None, str | None, Callable[[], Asked]]
"""An answer that was given out, the caller's tenant and prompt, and a function that gives the call."""


class Costs:
    """Told of each answer that a provider made, and of each that a caller got without one. Any thread may call."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self._telemetry = CostTelemetry(self.ledger)
        self._pending: deque[_Hit | Charge] = deque()  # its ends need no lock, not after a fork either
        self._charges: dict[_Whose, Charge] = {}
        self.ledger.collect_from(self.settle)

    def spent(self, asked: Asked, stored: StoredAnswer, facts: AnswerFacts | None = None) -> None:
        """Count an answer that was made: also one that was refused, broken off, or made behind a stale one.

        `facts`: those of its body, where they are at hand.
        """
        call, facts = asked.call, facts or _facts(stored)
        charge = _charge(call, stored, facts)
        self.ledger.spent(charge)
        model = system_text(call)[1]
        self._telemetry.called(charge, stored.latency, protocol=call.protocol, asked_model=model)
        self._telemetry.traced(charge, stored.latency, facts, protocol=call.protocol, asked_model=model)

    async def timed(self, call: Call, send: Callable[[Call], Awaitable[Sent]]) -> Sent:
        """Return the answer of `send` to `call`. If it raises, its error and its seconds are recorded."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return await send(call)
        except Exception as error:
            model = system_text(call)[1]
            charge = Charge(Priced(None, "unknown", call.endpoint or None), None, call.tenant, call.prompt)
            seconds = clock() - began
            self._telemetry.called(charge, seconds, protocol=call.protocol, asked_model=model, error=error)
            raise

    def saved(self, asked: Asked, stored: StoredAnswer) -> None:
        """Count a hit, an answer that was stale or similar, or a caller that waited for another's answer. O(1)."""
        self.hit(stored, asked.call.tenant, asked.call.prompt, lambda: asked)

    def hit(self, stored: StoredAnswer, tenant: str | None, prompt: str | None, ask: Callable[[], Asked]) -> None:
        """Count as `saved` for a call that has not been written; `ask` gives it if it is needed."""
        charge = self._charges.get((hash(stored.body), tenant, prompt))  # then the call need not be kept
        self._pending.append((stored, tenant, prompt, ask) if charge is None else charge)
        if len(self._pending) >= _MOST_PENDING:
            self.settle()

    def settle(self) -> None:
        """Write the noted hits into the ledger."""
        times: dict[int, int] = {}
        charges: dict[int, Charge] = {}
        for _ in range(len(self._pending)):
            try:
                hit = self._pending.popleft()
            except IndexError:  # another thread settles too
                break
            charge = hit if isinstance(hit, Charge) else self._charge(hit)
            place = id(charge)  # its hash would be that of all its parts
            times[place] = times.get(place, 0) + 1
            charges[place] = charge
        for place, number in times.items():
            self.ledger.saved(charges[place], number)

    def _charge(self, hit: _Hit) -> Charge:
        """Return the cost of an answer, read from it once."""
        stored, tenant, prompt, ask = hit
        key = (hash(stored.body), tenant, prompt)  # not the body itself: charges would keep it
        charge = self._charges.get(key)
        if charge is None:
            charge = _charge(ask().call, stored, _facts(stored))
            if len(self._charges) >= _MOST_CHARGES:
                self._charges.clear()
            self._charges[key] = charge
        return charge


def _facts(stored: StoredAnswer) -> AnswerFacts:
    protocol = PROTOCOLS[stored.protocol]
    try:
        return protocol.facts(stored.read())
    except UnreadableStreamError:
        return protocol.facts({})


def _charge(call: Call, stored: StoredAnswer, facts: AnswerFacts) -> Charge:
    asked = system_text(call)[1]
    priced = Priced(
        model=facts.model or asked,
        provider=stored.provider,
        endpoint=None if stored.fallback else call.endpoint or None,  # a call names the first provider's
        tier=facts.service_tier,
        asked=None if stored.fallback else asked,
    )
    return Charge(priced, facts.usage, call.tenant, call.prompt)
