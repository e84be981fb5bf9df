"""Where the flow says which answers were paid for, and which were not.

A hit is counted with one addition to a dict; what it saved is worked out when somebody reads the ledger.
"""

from __future__ import annotations

from cachecore_llm.cost.ledger import Charge, Ledger
from cachecore_llm.cost.prices import Priced
from cachecore_llm.cost.telemetry import CostTelemetry
from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.places import system_text
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.wire import PROTOCOLS, Call, UnreadableStreamError

_MOST_PENDING = 512


class Costs:
    """Told of each answer that a provider made, and of each that a caller got without one."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self._telemetry = CostTelemetry(self.ledger)
        self._pending: dict[StoredAnswer, tuple[Call, int]] = {}
        self.ledger.collect = self.settle

    def spent(self, asked: Asked, stored: StoredAnswer) -> None:
        """Count an answer that was made: also one that was refused, broken off, or made behind a stale one."""
        charge = _charge(asked.call, stored)
        self.ledger.spent(charge)
        self._telemetry.called(
            charge, stored.latency, protocol=asked.call.protocol, asked_model=system_text(asked.call)[1]
        )

    def saved(self, asked: Asked, stored: StoredAnswer) -> None:
        """Count a hit, an answer that was stale or similar, or a caller that waited for another's answer. O(1)."""
        pending = self._pending
        known = pending.get(stored)
        if known is not None:
            pending[stored] = known[0], known[1] + 1
            return
        if len(pending) >= _MOST_PENDING:
            self.settle()
        pending[stored] = asked.call, 1

    def settle(self) -> None:
        """Write what was saved into the ledger."""
        pending, self._pending = self._pending, {}
        for stored, (call, times) in pending.items():
            self.ledger.saved(_charge(call, stored), times)


def _charge(call: Call, stored: StoredAnswer) -> Charge:
    try:
        facts = PROTOCOLS[stored.protocol].facts(stored.read())
    except UnreadableStreamError:
        facts = PROTOCOLS[stored.protocol].facts({})
    priced = Priced(
        model=facts.model or system_text(call)[1],
        provider=stored.provider,
        endpoint=call.endpoint or None,
        tier=facts.service_tier,
    )
    return Charge(priced, facts.usage, call.tenant, call.prompt)
