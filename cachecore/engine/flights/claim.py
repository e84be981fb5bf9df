"""The right to compute a key among processes, and the proof that nothing was written there meanwhile.

An absent key proves nothing, because a store that evicts makes absence: the tombstone of a deletion may be gone before
the computation that it was to keep out. So a computation of an absent key first puts its claim under the entry's own
key, and its answer is stored by a swap from the claim. A claim that is gone means that the answer
is returned and not stored.

The claim is the lease as well (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013): other processes wait for
its holder as long as that shows signs of life. Where bytes must stay under the key (a stale answer), the claim lies
beside it, under the lease key; there it is only advice, since the answer is swapped from the bytes.

A swap decides whether others compute, so it is not given up because a live store was late once. The first calls of a
process on a busy machine, or a file that another process has locked, may miss the deadline of a computed value's write.
Then the store is asked for the outcome: a store that answers is worth another attempt, and one that does not costs no
more than that question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from cachecore.contract.errors import BackendError, BackendTimeout
from cachecore.contract.protocols import CacheBackend
from cachecore.encoding.claim import NO_TOKEN, ClaimMark, claim_bytes, read_claim

SILENCE: Final = 1.8
"""Intervals without a sign of life after which a holder is taken for gone: half a second late is still alive."""
_ENDED_SECONDS: Final = 2.0
"""How long the mark of a computation that ended without an answer stays, for the processes that wait for it."""

_PAUSE: Final = 0.005
"""Seconds between two attempts at a store that another process has locked."""
_TRIES: Final = 3
LOCKED: Final = "locked"
"""The reason of a timeout by which a store says that it was locked: the write was not carried out."""


class Insisting:
    """Swaps that are made again while the store is alive: `patience` seconds where it is locked, else a few times.

    Where that was in vain nothing is insisted on until a swap has succeeded: a store that stays locked costs this once.
    """

    def __init__(self, backend: CacheBackend, monotonic: Callable[[], float], patience: float) -> None:
        self.backend = backend
        self._monotonic = monotonic
        self._patience = patience
        self._in_vain = False
        self.latest = 0.0
        """Seconds that the store took for the latest swap: how far away it is, or how busy."""

    async def swap(self, key: str, old: bytes | None, new: bytes, *, ttl: float | None) -> bool:
        """Make the value `new`, which is unlike any other, if it is `old` now; return whether it is there.

        Raises BackendError: the store failed, and the outcome is not known.
        """
        began = self._monotonic()
        ends = began + self._patience
        tries = 0
        while True:
            tries += 1
            try:
                swapped = await self.backend.swap(key, old, new, ttl=ttl)
            except BackendTimeout as error:
                if self._in_vain:
                    raise
                (there,) = await self.backend.get_many([key])
                if there == new or there != old:  # carried out though its reply was late; or overtaken
                    return there == new
                if self._monotonic() >= ends if error.reason == LOCKED else tries >= _TRIES:
                    self._in_vain = True
                    raise
                if error.reason == LOCKED:
                    await asyncio.sleep(_PAUSE)
            else:
                self._in_vain = False
                self.latest = self._monotonic() - began
                return swapped


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """The rules that all claims of one cache have in common."""

    store: Insisting
    """For the swap by which a claim is put there, and plain for its signs of life."""
    interval: float | None
    """Seconds between two signs of life; None: none are given, and no process waits."""
    token: Callable[[], bytes]
    """Returns 16 bytes that no other computation has."""
    now: Callable[[], float]
    """The store's clock, Unix seconds."""


class Claim:
    """The claim of one computation. Belongs to one event loop.

    Args:
        rules: the cache's.
        place: where it lies: the entry's key, or the lease key beside it.
        in_place: whether that is the entry's key.
        life: seconds after which the store may drop it, however its holder ended.
    """

    def __init__(self, rules: ClaimRules, place: str, *, in_place: bool, life: float) -> None:
        self.place = place
        self.in_place = in_place
        self.value: bytes | None = None
        """The bytes that lie in the store; None: this computation has no claim, or lost it."""
        self._backend = rules.store.backend
        self._store = rules.store
        self.token = rules.token()
        self._previous = NO_TOKEN
        self._interval = rules.interval
        self._life = life
        self._ended_life = _ENDED_SECONDS
        self._now = rules.now
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._unsure = False
        self._silent = False  # no more signs of life, also from a renewal that is under way
        self.on_lost: Callable[[], None] | None = None
        """Told when the claim turns out to be gone."""

    async def acquire(self, base: bytes | None, *, guards: bool = False) -> bool:
        """Put the claim over `base` (None: nothing is there); return whether it could be. Raises BackendError.

        If `base` `guards` the key from older answers, as a tombstone does, the mark of an end without an answer will do
        so as long as the claim would.
        """
        before = None if base is None else read_claim(base, self.place)
        self._previous = before.token if before is not None and before.ended else NO_TOKEN
        if guards:
            self._ended_life = self._life
        value = self._bytes()
        try:
            won = await self._store.swap(self.place, base, value, ttl=self._life)
        except asyncio.CancelledError:
            # The store may carry it out all the same, and the next caller would wait for a holder that is gone.
            self.value = value
            await self.release()
            raise
        if won:
            self.value = value
            self._renew_later()
        return won

    async def settle(self) -> bool:
        """End the signs of life; return whether the claim is still there: then its bytes are in `value`.

        Raises BackendError if the store cannot tell.
        """
        self._fall_silent()
        task, self._renewing = self._renewing, None
        if task is not None:
            await asyncio.wait([task])
        if self._unsure:
            await self._look()
        return self.value is not None

    async def settled(self) -> bool:
        """End the signs of life; return whether the bytes in its place are known."""
        try:
            await self.settle()
        except BackendError:
            return False
        return True

    async def release(self) -> None:
        """Give the claim up without an answer, and say so to the processes that wait for one.

        Does nothing where there is none. A store that fails is left to the silence of this holder.
        """
        try:
            if await self.settle() and self.value is not None:
                value, self.value = self.value, None
                await self._backend.swap(self.place, value, self._bytes(ended=True), ttl=self._ended_life)
        except BackendError:
            pass  # counted where it happened

    async def done(self) -> None:
        """End after the answer was stored: over the claim, or beside it."""
        if self.in_place:
            self._fall_silent()
            self.value = None
            return
        try:
            if await self.settle() and self.value is not None:
                value, self.value = self.value, None
                await self._backend.swap(self.place, value, None, ttl=None)
        except BackendError:
            pass  # counted where it happened

    def _bytes(self, *, ended: bool = False) -> bytes:
        return claim_bytes(self.place, ClaimMark(self.token, self._previous, ended, self._now()))

    def _renew_later(self) -> None:
        if self._interval is not None and not self._silent:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._begin_renewal)

    def _begin_renewal(self) -> None:
        self._timer = None
        self._renewing = asyncio.get_running_loop().create_task(self._renew(), name="cachecore-claim")

    async def _renew(self) -> None:
        try:
            if self._unsure:
                await self._look()
            elif self.value is not None:
                value = self._bytes()
                self._unsure = True
                won = await self._backend.swap(self.place, self.value, value, ttl=self._life)
                self._unsure = False
                # Lost: evicted, overwritten, or taken over while this loop was blocked.
                self._found(value if won else None)
        except BackendError:
            pass  # it may or may not have been carried out; the next turn asks
        if self.value is not None:
            self._renew_later()

    async def _look(self) -> None:
        """Read the claim's place after a renewal with an unknown outcome."""
        (there,) = await self._backend.get_many([self.place])
        mark = read_claim(there, self.place)
        self._unsure = False
        self._found(there if mark is not None and mark.token == self.token else None)

    def _found(self, value: bytes | None) -> None:
        self.value = value
        if value is None and self.on_lost is not None:
            self.on_lost()

    def _fall_silent(self) -> None:
        self._silent = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


Verdict = Literal["wait", "over", "silent"]
"""`wait`: the holder is alive. `over`: it has ended. `silent`: it gave no sign of life, so its place may be taken."""


class HolderWatch:
    """The holder of a claim as a waiting process knows it. Pure: monotonic time is an argument."""

    def __init__(self, holder: ClaimMark, *, interval: float, now: float, age: float) -> None:
        self._patience = SILENCE * interval
        self.token = holder.token
        self._time = holder.time
        self._heard_at = now - min(max(0.0, age), self._patience)
        self._succeeded = False

    def judge(self, mark: ClaimMark | None, *, present: bool, now: float) -> Verdict:
        """Return the verdict on a look at the holder's place.

        Args:
            mark: the claim there, if there is one.
            present: whether anything is there. Absence is silence: a claim may be evicted while its holder computes.
            now: monotonic second of the look.
        """
        if mark is None:
            if present:
                return "over"
        elif mark.token != self.token:
            # A computation that came after the end of ours, or a second successor: callers do not wait in a row.
            if mark.previous == self.token or mark.ended or self._succeeded:
                return "over"
            self.token, self._time, self._heard_at, self._succeeded = mark.token, mark.time, now, True
        elif mark.ended:
            return "over"
        elif mark.time != self._time:
            self._time, self._heard_at = mark.time, now
        return self.silence(now)

    def silence(self, now: float) -> Verdict:
        """Return the verdict on a look that brought no news of the holder."""
        return "silent" if now - self._heard_at >= self._patience else "wait"
