"""Bugs of others that are found by a check of their own: what they do wrong is not a matter of order."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from cachecore.contract.protocols import FeedEvent
from cachecore.engine.flights.flight import Flight, Retry
from cachecore.invalidation import stamps
from cachecore.invalidation.feed import FeedState, Listener
from cachecore.invalidation.tickets import Ticket
from cachecore.keys import keyspace
from tests.simulation import checks
from tests.simulation.bugs import BUGS, Bug, Patch, bug


@bug("redis-py 8, cashews: a link that is silently dead is believed for ever", checks.dead_link_is_not_believed)
def dead_link_trusted(patch: pytest.MonkeyPatch) -> None:
    hear = FeedState.hear

    def trusting(self: FeedState, event: FeedEvent, listener: Listener) -> None:
        hear(self, event, listener)
        if self.trusted_until > -math.inf:
            self.trusted_until = math.inf

    patch.setattr(FeedState, "hear", trusting)


@bug(
    "every two-tier cache without leases for its fills: an old value is put into memory after the push",
    checks.late_answer_is_not_kept,
)
def fill_without_ticket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Ticket, "cancel", lambda self, keys: None)


@bug("FusionCache, Bentocache, JetCache: each waiter tries again when the first one fails", checks.failure_is_shared)
def failures_are_not_shared(patch: pytest.MonkeyPatch) -> None:
    join = Flight.join

    async def try_again(self: Flight, patience: float | None = None) -> Any:
        others = self.waiters
        try:
            return await join(self, patience)
        except ZeroDivisionError as error:
            if others:
                raise Retry from error
            raise

    patch.setattr(Flight, "join", try_again)


@bug("FusionCache: tag markers that expire before their entries", checks.stamps_outlive_entries)
def stamps_expire_first(patch: pytest.MonkeyPatch) -> None:
    async def never(*args: Any, **kwargs: Any) -> bool:
        return True

    patch.setattr(stamps, "stamp_life", lambda entry_life: 60.0)
    patch.setattr(stamps.StampBook, "prolong", never)


def _joined(join: Callable[[Any], bytes]) -> Patch:
    """Return the patch by which keys are made of text that `join` makes of a request."""

    def patch_with(patch: pytest.MonkeyPatch) -> None:
        def digester(key_of_bytes: Callable[[bytes], str]) -> Callable[[Any], str]:
            return lambda request: key_of_bytes(join(request))

        patch.setattr(keyspace, "digester", digester)

    return patch_with


def _flat(request: Any) -> bytes:
    return "".join(f"{name}: {value}" if name != "prompt" else str(value) for name, value in request.items()).encode()


_KEYS: dict[str, tuple[str, Callable[[Any], bytes]]] = {
    "fields_run_together": ("LiteLLM, redisvl, dogpile: fields are joined without delimiters", _flat),
    "order_of_fields_counts": ("LiteLLM, aiocache, fastapi-cache: the order counts", lambda r: repr(r).encode()),
    "numbers_are_texts": (
        "cashews: 1 is '1', and None is ''",
        lambda r: repr(sorted((k, "" if v is None else str(v)) for k, v in r.items())).encode(),
    ),
    "list_of_fields_forgets": (
        "LiteLLM, khazad: a list of fields that knows no new ones",
        lambda r: repr(sorted((k, v) for k, v in r.items() if k in ("prompt", "suffix", "model"))).encode(),
    ),
    "case_is_folded": ("Bifrost: lower-cased", lambda r: repr(sorted(r.items(), key=str)).lower().encode()),
}
for _name, (_whose, _join) in _KEYS.items():
    BUGS.append(Bug(_name, _whose, _joined(_join), checks.keys_differ_as_requests_do))


@bug("Helicone, Bifrost: 64 bits of a digest", checks.short_digests_are_refused)
def digest_cut_short(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keyspace, "_DIGEST", re.compile("[0-9a-f]{8,}"))
