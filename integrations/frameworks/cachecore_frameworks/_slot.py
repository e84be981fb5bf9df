"""The slot of a framework that asks a cache first and gives it the answer later, with nothing that joins the two calls.

A miss takes a claim and keeps it in the context of the caller, where the later call finds it, also from a task that was
started in between. So one caller computes and all others wait, as if the framework had handed a function over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from cachecore import (
    Cache,
    Claim,
    Computed,
    EncodingError,
    FlightCycleError,
    InvalidationPending,
    Stream,
    SyncCache,
    SyncClaim,
)
from cachecore.contract.results import UNSET
from cachecore_frameworks._form import Form

A = TypeVar("A")

_CLAIM_TIMEOUT: Final = 600.0
"""Seconds that one answer may take; a claim ends before that with its task or thread."""
_Claims = Mapping[tuple["Slot", str, bool], Claim[Any] | SyncClaim[Any]]
_claims: ContextVar[_Claims] = ContextVar("cachecore_frameworks_claims", default=MappingProxyType({}))
"""The claims of this context by slot, key and whether they are of the sync face. Never changed, but replaced."""


class Slot:
    """A get and a put for requests, async and sync; the sync calls also work inside a running event loop.

    Args:
        store: the address of a store, or a `Cache`; its other namespaces stay untouched.
        namespace: where the answers lie, which `clear` empties.
        form: their stored form; an entry that has another one is no answer, and the next answer replaces it.
        options: as for `Cache`, or for `Cache.scoped` where a `Cache` is given.
    """

    def __init__(self, store: str | Cache[Any], namespace: str, form: Form | None = None, **options: Any) -> None:
        options.setdefault("claim_timeout", _CLAIM_TIMEOUT)
        if isinstance(store, Cache):
            self.cache: Cache[Any] = store.scoped(namespace, **options)
            self._own: Cache[Any] | None = None
        else:
            self._own = Cache(store, **options)
            self.cache = self._own.scoped(namespace)
        self.sync_cache: SyncCache[Any] = SyncCache(self.cache)
        self._form = form or Form()

    async def aget(self, request: Any) -> Any:
        """Return the answer, or None: then `aput` or `release` is to follow, and other callers wait for that."""
        if self._holds(request, False):
            return None
        with suppress(FlightCycleError):
            claim = await self.cache.claim(request)
            if claim.hit is not None:
                return self._form.read(claim.hit.value)
            self._keep(claim)
        return None

    def get(self, request: Any) -> Any:
        """Return the answer, or None; see `aget`. Waits for no other caller inside a running event loop."""
        if self._holds(request, True):
            return None
        value = self.cache.peek(request, UNSET)
        if value is not UNSET:
            return self._form.read(value)
        with suppress(FlightCycleError):
            claim = self.sync_cache.claim(request)
            if claim.hit is not None:
                return self._form.read(claim.hit.value)
            self._keep(claim)
        return None

    async def aput(self, request: Any, answer: Any, *, ttl: Any = UNSET) -> None:
        """Store the answer, or give its claim back if it is not kept.

        Without a claim of this context it replaces the answer that is there.
        """
        if not self._form.whole(answer):
            self.release(request)
            return
        claim = self.claim_of(request, False)
        with suppress(EncodingError):  # counted by the cache; the framework has its answer
            if isinstance(claim, Claim):
                await claim.store(self.computed(answer, ttl))
            else:
                await self.cache.set(request, self.computed(answer, ttl))

    def put(self, request: Any, answer: Any, *, ttl: Any = UNSET) -> None:
        """Store the answer, or give its claim back; see `aput`."""
        if not self._form.whole(answer):
            self.release(request)
            return
        claim = self.claim_of(request, True)
        with suppress(EncodingError):
            if isinstance(claim, SyncClaim):
                claim.store(self.computed(answer, ttl))
            else:
                self.sync_cache.set(request, self.computed(answer, ttl))

    async def aanswer(self, request: Any, ask: Callable[[], Awaitable[A]]) -> A:
        """Return the stored answer, or that of `ask`, once for all callers. For a slot that hands over a function."""
        own: list[A] = []

        async def compute() -> Computed[Any]:
            own.append(await ask())
            return self.computed(own[-1])

        stored = await self.cache.get_or_set(request, compute)
        if not own and (answer := self._form.read(stored)) is not None:
            return cast("A", answer)
        if not own:  # an entry of another version
            stored = await self.cache.refresh(request, compute)
        return own[-1] if own else self._form.made(stored)

    def answer(self, request: Any, ask: Callable[[], A]) -> A:
        """Return the stored answer, or that of `ask`; see `aanswer`."""
        own: list[A] = []

        def compute() -> Computed[Any]:
            own.append(ask())
            return self.computed(own[-1])

        stored = self.sync_cache.get_or_set(request, compute)
        if not own and (answer := self._form.read(stored)) is not None:
            return cast("A", answer)
        if not own:
            stored = self.sync_cache.refresh(request, compute)
        return own[-1] if own else self._form.made(stored)

    def look(self, request: Any) -> Any:
        """Return the answer, or None. For frameworks that tell of no failure: it claims nothing."""
        stored = self.sync_cache.get(request, UNSET)
        return None if stored is UNSET else self._form.read(stored)

    def look_many(self, requests: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return the answers among named requests by their names, with at most one round trip; claims nothing."""
        seen = {name: self.cache.peek(request, UNSET) for name, request in requests.items()}  # in this thread
        missing = {name: request for name, request in requests.items() if seen[name] is UNSET}
        found = self.sync_cache.get_many(missing) if missing else {}
        stored = {name: found.get(name, value) for name, value in seen.items()}
        answers = {name: self._form.read(value) for name, value in stored.items() if value is not UNSET}
        return {name: answer for name, answer in answers.items() if answer is not None}

    def stream(self, request: Any, ask: Callable[[], AsyncIterator[Any]]) -> Stream[Any]:
        """Return a stream of chunks, the last of which is the answer.

        A stored answer is the only chunk. It is None if the entry has another form: then `stream_anew` is to follow.
        """
        return self.cache.stream(
            request,
            ask,
            assemble=lambda chunks: self.computed(chunks[-1]),
            replay=lambda stored: [self._form.read(stored)],
        )

    async def stream_anew(self, request: Any, ask: Callable[[], AsyncIterator[Any]]) -> Stream[Any]:
        """Return a stream in place of an entry of another form, which is deleted."""
        with suppress(InvalidationPending):  # it is not served here any more
            await self.cache.delete(request)
        return self.stream(request, ask)

    def computed(self, answer: Any, ttl: Any = UNSET) -> Computed[Any]:
        """Return the stored form of an answer, and whether it is kept."""
        return Computed(self._form.plain(answer), ttl=ttl, store=self._form.whole(answer))

    def clear(self, tags: Iterable[str] | None = None) -> None:
        """Make the answers with one of these tags invalid, in every process; without tags, all of this namespace."""
        if tags is None:
            self.sync_cache.invalidate_all()
        else:
            self.sync_cache.invalidate_tags(*tags)

    async def aclear(self, tags: Iterable[str] | None = None) -> None:
        """Make answers invalid; see `clear`."""
        if tags is None:
            await self.cache.invalidate_all()
        else:
            await self.cache.invalidate_tags(*tags)

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
