"""The calls of a view that change answers: set, claimed, deleted, expired and invalidated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from cachecore.api.claims import Claim
from cachecore.api.many import Many
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration
from cachecore.contract.results import UNSET, Computed, Lookup, Unset
from cachecore.engine import delete as deleting
from cachecore.engine import write as writing
from cachecore.engine.compute import pin_tag
from cachecore.engine.flights.flight import current_flight
from cachecore.engine.invalidate import delete_entries, invalidate_stamps
from cachecore.engine.scope import Question, Scope, checked_tags, question
from cachecore.engine.store_read import StoreRead
from cachecore.engine.two_phase import TwoPhase
from cachecore.engine.write_group import store_one
from cachecore.engine.write_here import store_here
from cachecore.engine.writing import carried
from cachecore.keys import KeySpace, user_tag

V = TypeVar("V")
R = TypeVar("R")


class Answers(Many[V]):
    """A view with all calls that read and write its answers: what a decorated function uses. `Cache` can be built too.

    `set` and `set_many` return whether the store took the value; deletions and invalidations raise
    `InvalidationPending` if the store did not acknowledge them within `write_timeout`.
    """

    __slots__ = ()

    async def set(
        self,
        request: Any,
        value: V | Computed[V],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        since: Lookup[Any] | None = None,
        served_by: str | None = None,
        required: bool = False,
    ) -> bool:
        """Store `value` as the answer to `request`; return whether it was stored.

        A store that is sick is no error: False, within `write_timeout`, counted in `stats.not_stored`. An old answer is
        not served after that; its deletion pends, unless the store has said that there was none.

        Args:
            request: the value that the answer depends on.
            value: the answer, or a `Computed` that says how to store it.
            ttl: seconds it stays fresh; None means for ever; not given: the cache's own.
            tags: tags of this answer beside the cache's own.
            since: store only if nothing was stored, deleted or invalidated since this lookup of the same request, and
                at most `factory_timeout` later. After a lookup that found nothing, a deletion in between is known by
                its tombstone, which a store that evicts may have dropped: there use `get_or_set`, which claims the key.
            served_by: the origin of the value; returned by later lookups.
            required: raise where the store does not take the value.

        Raises:
            EncodingError: the value cannot be encoded, or is over `max_value_bytes`.
            InvalidationPending: `required`, and the store did not acknowledge.
        """
        key = self._key_of(request)
        computed = value if isinstance(value, Computed) else Computed(value, served_by=served_by)
        life = self._life(ttl if isinstance(computed.ttl, Unset) else computed.ttl)
        with self._span("cachecore.set"):
            state = self._open("set")
            if since is None and state.waits:
                every = (*checked_tags(tags), *computed.tags)
                return await store_one(question(self._scope, state, key, every, life), computed, required=required)
            if since is None:
                every = (*checked_tags(tags), *computed.tags)
                if store_here(question(self._scope, state, key, every, life), computed):
                    return True
                write = writing.store(self._scope, state, {key: computed}, tags, life, required=required)
                return (await carried(state, write))[key]
            seen = since.version
            if not isinstance(seen, StoreRead) or seen.key != key:
                raise OptionsError("since must be what `lookup` found of the same request, not what it computed")
            asked = Question(self._scope, state, key, seen.tagset, life)
            return await carried(state, writing.store_since(asked, computed, seen, required=required))

    async def set_many(
        self,
        items: Mapping[R, V | Computed[V]],
        *,
        ttl: Duration | Unset | None = UNSET,
        tags: Sequence[str] = (),
        required: bool = False,
    ) -> list[bool]:
        """Store several answers, request to value, in one round trip; return whether each was stored, in their order.

        Raises as `set`; with `required`, if one of them is not stored.
        """
        keys = [self._key_of(request) for request in items]
        values = (value if isinstance(value, Computed) else Computed(value) for value in items.values())
        entries = dict(zip(keys, values, strict=True))
        if not entries:
            return []
        with self._span("cachecore.set_many"):
            state = self._open("set_many")
            write = writing.store(self._scope, state, entries, tags, self._life(ttl), required=required)
            stored = await carried(state, write)
        return [stored[key] for key in keys]

    def claim(self, request: Any, *, ttl: Duration | Unset | None = UNSET, tags: Sequence[str] = ()) -> Claim[V]:
        """Return the claim of a request, for `async with` or `await`.

            async with cache.claim(request) as claim:
                if claim.hit is not None:
                    return claim.hit.value
                answer = await compute()
                await claim.store(answer)

        Callers that ask for the request meanwhile, in this process or another, wait for the stored answer. A task that
        holds a claim never waits for another computation by taking a second claim: it gets the right at once. Inside
        the block its own request raises FlightCycleError.

        Args:
            request: the value that the answer depends on.
            ttl: how long the answer stays fresh, as for `get_or_set`; a `Computed` that is stored may say it too.
            tags: tags of the answer beside the cache's own.

        Raises:
            UnkeyableError: `request` has no canonical form.
        """
        self._refuse_closed("claim")
        return Claim(TwoPhase(self._scope, self._key_of(request), checked_tags(tags), self._checked(ttl)))

    async def delete(self, request: Any) -> bool:
        """Delete the answer to `request`, also one that is being computed; return whether there was one.

        Raises:
            InvalidationPending: the store did not acknowledge; it is delivered by itself as soon as the store answers.
        """
        return bool(await self.delete_many([request]))

    async def delete_many(self, requests: Sequence[Any]) -> int:
        """Delete several answers; return how many there were. Raises as `delete`."""
        keys = list(dict.fromkeys(self._key_of(request) for request in requests))
        with self._span("cachecore.delete"):
            state = self._open("delete_many")
            return await carried(state, deleting.delete(self._scope, state, keys))

    async def delete_keys(self, keys: Sequence[str]) -> int:
        """Delete the answers under these keys, as `key` and `Cache-Status` give them; return how many there were.

        For operators, who have the key of an answer and not its request. Raises what `delete` raises.

        Raises:
            OptionsError: a key is none of this cache's namespace or of those below it.
        """
        starts = self._scope.keys.scan_prefixes()
        for key in keys:
            if not key.startswith(starts):
                raise OptionsError(f"{key!r} is no key of an answer here: those begin with {' or '.join(starts)}")
        with self._span("cachecore.delete"):
            state = self._open("delete_keys")
            return await carried(state, deleting.delete(self._scope, state, list(dict.fromkeys(keys))))

    async def expire(self, request: Any) -> bool:
        """Make the answer stale as of now, keeping its bytes for rescue; return whether there was one.

        Where it cannot be marked (the store is full) or the mark was lost (the store failed over), it is deleted.

        Raises:
            InvalidationPending: the store did not acknowledge; until it has, the answer is treated as deleted.
        """
        with self._span("cachecore.expire"):
            state, key = self._open("expire"), self._key_of(request)
            return await carried(state, deleting.expire(self._scope, state, key))

    async def invalidate_tags(self, *tags: str) -> None:
        """Make every answer that carries one of `tags` invalid, in every process, at once. O(1) per tag.

        Raises:
            InvalidationPending: the store did not acknowledge; it is delivered by itself as soon as the store answers.
        """
        given: Any = tags
        if len(given) == 1 and isinstance(given[0], list | tuple | set | frozenset):
            raise OptionsError(
                f"invalidate_tags takes each tag by itself, not {given[0]!r}: write invalidate_tags(*tags)"
            )
        stored = [user_tag(tag) for tag in checked_tags(tags)]
        if stored:
            with self._span("cachecore.invalidate_tags"):
                await carried(self._open("invalidate_tags"), invalidate_stamps(self._scope, stored, "tags"))

    async def invalidate_prefix(self, namespace: str, *, progress: Callable[[int], None] | None = None) -> int | None:
        """Make every answer of `namespace` (whole segments, below this cache's own) invalid, at once.

        Then their memory is given back, page by page; `progress` is called with the number deleted so far. Who stops
        waiting meanwhile leaves answers that are invalid, and go with their ttl.

        Returns how many entries were deleted to give their memory back: exact without concurrent writers, None where
        the store cannot list its keys. Raises as `invalidate_tags`.
        """
        if not namespace:
            raise OptionsError("namespace must not be empty here; `invalidate_all` invalidates everything")
        return await self._invalidate_namespace(self._scope.keys.child(namespace), "prefix", progress)

    async def invalidate_all(self, *, progress: Callable[[int], None] | None = None) -> int | None:
        """Make every answer of this cache's namespace and those below it invalid; as `invalidate_prefix`."""
        return await self._invalidate_namespace(self._scope.keys, "all", progress)

    async def sweep_tag(
        self, tag: str, wanted: Callable[[str], bool], *, progress: Callable[[int], None] | None = None
    ) -> int | None:
        """Make every answer that carries `tag` invalid, at once, then delete those that lie in `wanted` namespaces.

        For tags whose answers the caller can find by namespace: `wanted` is given each namespace below this cache's own
        (`faq/v3`) and says whether its entries carry the tag. Otherwise as `invalidate_prefix`.
        """
        tags = [user_tag(one) for one in checked_tags([tag])]
        return await self._sweep(self._scope, tags, "tags", wanted, progress)

    async def _invalidate_namespace(
        self, keys: KeySpace, kind: str, progress: Callable[[int], None] | None
    ) -> int | None:
        return await self._sweep(replace(self._scope, keys=keys), keys.namespace_tags()[-1:], kind, None, progress)

    async def _sweep(
        self,
        scope: Scope,
        tags: Sequence[str],
        kind: str,
        wanted: Callable[[str], bool] | None,
        progress: Callable[[int], None] | None,
    ) -> int | None:
        with self._span("cachecore.invalidate"):
            state = self._open(f"invalidate_{kind}")
            await carried(state, invalidate_stamps(scope, tags, kind))
            return await delete_entries(scope, state, kind, tags, wanted, progress)

    def hand_over(self) -> bool:
        """Inside a factory: return whether its caller may get the answer now, before the factory returns it.

        Then requests that come until it is stored wait for it. False where the store has older bytes under the key,
        which another process may still read; where there is no claim on the key; and outside of a factory.
        """
        flight = current_flight()
        if flight is None or flight.flights is not self._engine.state().flights:
            return False
        if not flight.claimed or flight.answered or len(flight.group) > 1:
            return False
        flight.handed_out = True
        self._engine.l1.discard(flight.key)  # an older copy must not be served beside the answer in hand
        return True

    async def pin_tag(self, tag: str) -> None:
        """Inside a factory: depend on `tag` from now on. Call it before reading the data that the tag stands for.

        An invalidation of the tag between this call and the end of the factory makes the answer be born dead. Outside
        a factory it does nothing. A store that cannot be read means that the answer will not be stored.
        """
        flight = current_flight()
        (stored,) = (user_tag(one) for one in checked_tags([tag]))
        state = self._engine.state()
        if flight is None or flight.flights is not state.flights:  # none, or another cache's
            return
        # One factory computes a whole batch, so the pin holds for all of its answers.
        await asyncio.gather(*(pin_tag(self._scope, state, one, stored) for one in flight.group if one.timed))
