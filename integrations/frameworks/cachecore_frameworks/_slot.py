"""The slot of a framework that asks a cache first and gives it the answer later, with nothing that joins the two calls.

A miss takes a claim and keeps it in the context of the caller, where the later call finds it, also from a task that was
started in between. So one caller computes and all others wait, as if the framework had handed a function over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

from cachecore import Cache, Claim, Computed, EncodingError, FlightCycleError, SyncCache, SyncClaim
from cachecore.contract.results import UNSET

_CLAIM_TIMEOUT: Final = 600.0
"""Seconds that one answer may take; a claim ends before that with its task or thread."""
_Claims = Mapping[tuple["Slot", str, bool], Claim[Any] | SyncClaim[Any]]
_claims: ContextVar[_Claims] = ContextVar("cachecore_frameworks_claims", default=MappingProxyType({}))
"""The claims of this context by slot, key and whether they are of the sync face. Never changed, but replaced."""

TRUNCATED: Final = frozenset(
    [
        "length",
        "max_tokens",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
        "content_filter",
        "safety",
        "incomplete",
        "pause_turn",
        "error",
        "cancelled",
    ]
)
"""Reasons, in lower case, for which models break off: their text so far is not the answer."""


def broken_off(facts: Mapping[str, Any] | None, names: Iterable[str]) -> bool:
    """Return whether one of the fields `names` says that the model broke off."""
    return facts is not None and any(str(facts.get(name)).lower() in TRUNCATED for name in names)


class Slot:
    """A get and a put for requests, async and sync; the sync calls also work inside a running event loop.

    Args:
        store: the address of a store, or a `Cache`; its other namespaces stay untouched.
        namespace: where the answers lie, which `clear` empties.
        options: as for `Cache`, or for `Cache.scoped` where a `Cache` is given.
    """

    def __init__(self, store: str | Cache[Any], namespace: str, **options: Any) -> None:
        options.setdefault("claim_timeout", _CLAIM_TIMEOUT)
        if isinstance(store, Cache):
            self.cache: Cache[Any] = store.scoped(namespace, **options)
            self._own: Cache[Any] | None = None
        else:
            self._own = Cache(store, **options)
            self.cache = self._own.scoped(namespace)
        self.sync_cache: SyncCache[Any] = SyncCache(self.cache)

    async def aget(self, request: Any) -> Any:
        """Return the answer, or UNSET: then `aput` or `release` is to follow, and other callers wait for that."""
        if self._holds(request, False):
            return UNSET
        with suppress(FlightCycleError):
            claim = await self.cache.claim(request)
            if claim.hit is not None:
                return claim.hit.value
            self._keep(claim)
        return UNSET

    def get(self, request: Any) -> Any:
        """Return the answer, or UNSET; see `aget`. Waits for no other caller inside a running event loop."""
        if self._holds(request, True):
            return UNSET
        value = self.cache.peek(request, UNSET)
        if value is not UNSET:
            return value
        with suppress(FlightCycleError):
            claim = self.sync_cache.claim(request)
            if claim.hit is not None:
                return claim.hit.value
            self._keep(claim)
        return UNSET

    async def aput(self, request: Any, value: Any, *, ttl: Any = UNSET, keep: bool = True) -> None:
        """Store the answer, or give its claim back if it is not to be kept.

        Without a claim of this context it replaces the answer that is there.
        """
        if not keep:
            self.release(request)
            return
        claim = self.claim_of(request, False)
        with suppress(EncodingError):  # counted by the cache; the framework has its answer
            if isinstance(claim, Claim):
                await claim.store(Computed(value, ttl=ttl))
            else:
                await self.cache.set(request, value, ttl=ttl)

    def put(self, request: Any, value: Any, *, ttl: Any = UNSET, keep: bool = True) -> None:
        """Store the answer, or give its claim back; see `aput`."""
        if not keep:
            self.release(request)
            return
        claim = self.claim_of(request, True)
        with suppress(EncodingError):
            if isinstance(claim, SyncClaim):
                claim.store(Computed(value, ttl=ttl))
            else:
                self.sync_cache.set(request, value, ttl=ttl)

    def release(self, request: Any = UNSET) -> None:
        """Give back the claim of `request`, or all of this context: there is no answer, and other callers go on."""
        key = None if request is UNSET else self.cache.key(request)
        for (slot, held, _), claim in _claims.get().items():
            if slot is self and (key is None or held == key):
                claim.end()

    def close(self) -> None:
        """Close the cache, if it was made here."""
        self.release()
        if self._own is not None:
            self.sync_cache.close()

    async def aclose(self) -> None:
        """Close the cache, if it was made here."""
        self.release()
        if self._own is not None:
            await self._own.aclose()

    def claim_of(self, request: Any, sync: bool) -> Claim[Any] | SyncClaim[Any] | None:
        """Return the last claim of `request` in this context, held or not."""
        claims = _claims.get()
        return claims.get((self, self.cache.key(request), sync)) if claims else None

    def _holds(self, request: Any, sync: bool) -> bool:
        claim = self.claim_of(request, sync)
        return claim is not None and claim.held

    def _keep(self, claim: Claim[Any] | SyncClaim[Any]) -> None:
        held = {key: old for key, old in _claims.get().items() if old.held}
        _claims.set({**held, (self, claim.key, isinstance(claim, SyncClaim)): claim})
