"""Invalidations that the store has not acknowledged: kept, bounded, delivered as soon as it answers.

Until then this process treats the named keys as gone: its own reads do not trust a store that has yet to apply the
invalidation, nor a read that began before the store applied it. Each node acknowledges for itself: a dead node delays
only its own keys. An acknowledged invalidation is sent again five seconds later, and those of the last seconds once
more when the store has been away: a replica that lags, or that has taken over, may bring old values back. A
repetition removes only the values that the first one removed, by a swap, so that no newer value is lost. On a store
without marks, whose old value was not seen, it removes any value.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import weakref
from collections.abc import Collection, Iterable, Mapping
from contextvars import Context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from cachecore.contract.errors import BackendError
from cachecore.contract.loop_local import LoopLocal
from cachecore.contract.options import StoreOptions
from cachecore.invalidation.outbox import at_exit
from cachecore.invalidation.outbox.backlog import (
    Acknowledged,
    Backlog,
    Groups,
    Invalidation,
    Recent,
    Repetition,
    Root,
    digest_of,
    entries,
    stamps,
)
from cachecore.invalidation.outbox.owner import Owner
from cachecore.invalidation.outbox.sender import Sender
from cachecore.invalidation.outbox.signals import Signals, set_within

if TYPE_CHECKING:
    from cachecore.invalidation.outbox.journal import Journal

logger = logging.getLogger("cachecore")

AGAIN_AFTER: Final = 5.0
"""Seconds after a delivery until it is delivered once more: a lagging replica may have brought old values back. Also
for how long, at least, acknowledged invalidations are remembered in case another server takes over."""
_FIRST_WAIT: Final = 0.1
_SOON: Final = 0.02
_LONGEST_WAIT: Final = 0.3
"""Seconds between two attempts, half as much again at most: an open breaker refuses most of them at no cost, and half a
second after an outage no other process may be serving an answer that was invalidated in it."""
_CALM: Final = 1.0  # seconds between two repetitions of acknowledged invalidations

Parents = Groups


class Outbox:
    """Invalidations still to be delivered. Safe to use from several threads; delivered by the loops that exist.

    Args:
        options: how much is kept, and where on the disk.
        root: the root of all keys.
        sender: carries invalidations to the store.
        owner: the cache that the invalidations are for.
        marked: whether there are marks, which show lost invalidations.
    """

    def __init__(self, options: StoreOptions, root: Root, sender: Sender, owner: Owner, *, marked: bool) -> None:
        self._most = options.max_pending
        self.patience = options.write_timeout
        self._now = owner.monotonic
        self._chance = owner.chance
        self._sender = sender
        self._unseen: frozenset[bytes] | None = frozenset() if marked else None
        self._delivered = owner.delivered
        self._within = owner.explicit.within
        self._lock = threading.Lock()
        self._waiting = Backlog(self._most)
        self._acknowledged = Acknowledged(AGAIN_AFTER)
        self._again: list[Repetition] = []
        self._recent = Recent(self._most, AGAIN_AFTER)  # acknowledged by the store
        self._resent_at, self._resend_at = -math.inf, math.inf
        self._tasks: LoopLocal[tuple[asyncio.Task[None], Signals]] = LoopLocal()
        self.loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._journal: Journal | None = None
        if options.pending_path is not None:
            from cachecore.invalidation.outbox.journal import Journal

            self._journal = Journal(options.pending_path, root)
            adopted = self._journal.adopt()
            self._waiting.add(item for item in adopted if not item.delivered)
            again = Backlog(self._most, (item for item in adopted if item.delivered))
            if again:
                self._again.append(Repetition(self._now(), again))
        self.busy = len(self._waiting) > 0
        """Whether `covers` may say yes to anything: looked at by each read. Stays True a little longer than need be."""

    def __len__(self) -> int:
        return len(self._waiting)

    def covers(self, key: str, stamp_keys: Iterable[str], asked_at: float) -> bool:
        """Return whether an entry under `key` with these stamps, asked for at `asked_at`, is to be treated as gone.

        Never while the outbox is not `busy`.
        """
        waiting, acknowledged = self._waiting, self._acknowledged
        return any(name in waiting or acknowledged.covers(name, asked_at) for name in (key, *stamp_keys))

    def withholds(self, stamp_key: str) -> bool:
        """Return whether this stamp counts as gone although the store may still have it."""
        return stamp_key in self._waiting

    # Incoming invalidations

    async def invalidate(
        self, stamp_keys: Collection[str], parents: Parents, had: Mapping[str, bytes] | None = None
    ) -> None:
        """Delete these stamps; those that the store does not acknowledge are kept, and tried again until it does.

        `had`: the known current stamps.

        Raises:
            BackendError: some of it pends.
        """
        items = stamps(stamp_keys, parents)
        done: set[Invalidation] = set()
        try:
            async with self._within("invalidate", keys=len(items)):
                error = await self._sender.send(items, done.update)
        except BackendError as late:
            error = late
        self._note(done, had or {})
        if error is not None:
            self._add([item for item in items if item not in done])
            await self.saved()
            raise error

    def add_entries(self, keys: Collection[str], parents: Parents) -> None:
        """Keep the deletion of these entries, and try it again until it is acknowledged. Needs a running loop."""
        self._add(entries(keys, parents))

    async def empty(self, keys: Iterable[str]) -> None:
        """Delete the values of these pending keys at once, without tombstones: the store has no room for them."""
        await self._sender.empty(self._waiting.named(keys))

    def _add(self, items: Collection[Invalidation]) -> None:
        with self._lock:
            self.busy = True
            self._waiting.add(items)
            if self._journal is not None:
                self._journal.append(items)
        self.attend()

    async def saved(self) -> None:
        """Return once the added invalidations are on the disk, if there is a journal."""
        if self._journal is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._journal.flush, lambda: list(self._waiting))

    def settle(self, keys: Iterable[str]) -> None:
        """Forget the deletion of these entries: the store has acknowledged something newer under their keys."""
        if not self._waiting.items and not self._again:
            return
        names = list(keys)
        with self._lock:
            self._acknowledged.add(self._waiting.named(names), self._now())
            # Those remembered in case of a failover stay: they name the value they removed.
            for known in (self._waiting, *(repetition.items for repetition in self._again)):
                known.forget(names)
        self._owe()

    def deleted(self, had: Mapping[str, bytes | None], parents: Parents) -> None:
        """Take note that the store has acknowledged the deletion of these entries. Needs a running loop.

        `had`: the previous bytes of each; None where they are not known. Pending invalidations of these keys are
        superseded. But a write that failed, and left one pending, may still be on its way, so the deletion is repeated
        as one that was delivered late.
        """
        with self._lock:
            overtaken = self._waiting.named(had)
            self._acknowledged.add(overtaken, self._now())
            self._waiting.remove(overtaken)
            if overtaken:
                self._again.append(Repetition(self._now() + AGAIN_AFTER, Backlog(self._most, overtaken)))
        self.note_entries(had, parents)
        if overtaken:
            self.attend()

    def note_entries(self, had: Mapping[str, bytes | None], parents: Parents) -> None:
        """Remember for a while the deletions that the store has acknowledged, with the digests of the entries."""
        known = {key: digest_of(data) for key, data in had.items() if data is not None}
        self._note(entries(had, parents), known)

    def _note(self, items: Iterable[Invalidation], had: Mapping[str, bytes]) -> None:
        noted = [
            replace(item, was=frozenset((had[item.name],)) if item.name in had else self._unseen) for item in items
        ]
        with self._lock:
            self._recent.add(noted, self._now())

    def lost(self, items: Collection[Invalidation]) -> None:
        """Send these again unconditionally: the store has gone back to a time before it applied them.

        Needs a running loop.
        """
        waiting = {item.name for item in self._waiting if item.was is None}
        self._add([item for item in items if item.name not in waiting])

    # Outgoing invalidations

    async def deliver(self) -> bool:
        """Try once to deliver everything; return whether nothing is left."""
        with self._lock:
            items = list(self._waiting)
        await self._sender.send(items, self._heard)
        return not self._waiting

    def _heard(self, items: list[Invalidation]) -> None:
        """Take note that the store, or one of its nodes, has acknowledged these."""
        with self._lock:
            now = self._now()
            self.busy = True  # also where all of them were settled on their way
            self._acknowledged.add(items, now)
            whole = [item for item in items if item.was is None]
            if whole:
                self._again.append(Repetition(now + AGAIN_AFTER, Backlog(self._most, whole)))
                self._recent.add((replace(item, was=self._unseen) for item in whole), now)
        self._tell(items)
        with self._lock:
            # One that was added again meanwhile is another invalidation, which the store has not acknowledged.
            self._waiting.remove(items)
        self._owe()

    def _owe(self) -> None:
        """Let the interpreter's end deliver what pends, if anything does."""
        with self._lock:
            (at_exit.owe if self._waiting else at_exit.release)(self)
        at_exit.give_up_oldest()

    def attend(self) -> None:
        """Make the running loop deliver pending invalidations."""
        loop = asyncio.get_running_loop()
        self.loops.add(loop)
        if not self._waiting and not self._again and self._resend_at == math.inf:
            return
        self._owe()
        trying = self._tasks.get(loop)
        if trying is not None and not trying[0].done():
            trying[1].added.set()
            return
        signals = Signals()
        # In a context of its own: it outlives the request that found it necessary.
        task = loop.create_task(self._keep_trying(signals), name="cachecore-pending", context=Context())
        self._tasks.set(loop, (task, signals))
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        trying = self._tasks.get(task.get_loop())
        if trying is not None and trying[0] is task:
            self._tasks.pop(task.get_loop())
        if task.cancelled() and not self._tasks:  # its loop ends; another one takes over
            for loop in list(self.loops):
                if loop is not task.get_loop():
                    with contextlib.suppress(RuntimeError):  # closed
                        loop.call_soon_threadsafe(self.attend)
                        return

    def hurry(self) -> None:
        """Try again soon: the store has shown a sign of life. May be called from any thread."""
        for loop, (_, signals) in self._tasks.items():
            with contextlib.suppress(RuntimeError):  # its loop is closed
                loop.call_soon_threadsafe(signals.alive.set)

    def send_again(self) -> None:
        """Deliver the invalidations acknowledged lately once more: the store was away, another may answer now.

        Needs a running loop. At most once a second: signs that come sooner count together, when the second is over.
        """
        now = self._now()
        with self._lock:
            items = [item for item in self._recent.items(now) if item.was != frozenset()]
            if not items:
                return
            if now < self._resent_at + _CALM:
                self._resend_at = self._resent_at + _CALM
            else:
                self._resent_at, self._resend_at = now, math.inf
                # Newer items of a name are newer invalidations, which must not be taken out with the older.
                self.busy = True
                self._waiting.add([item for item in items if item.name not in self._waiting])
        self.attend()

    async def aclose(self) -> None:
        """Try a last time, and stop trying; the log says how many are left.

        The repetition of those delivered within the last seconds is left to the next process, too, if there is a
        journal, and is not done if there is none.
        """
        loop = asyncio.get_running_loop()
        await self._stop_trying()
        if not await self.last_attempts():
            self.say_what_is_left()
        self.loops.discard(loop)
        await self._stop_trying()  # begun meanwhile: another loop that ended has handed over to this one
        at_exit.release(self)  # not before: where the interpreter ends meanwhile, `at_exit` goes on from here
        if self._journal is not None:
            with self._lock:
                again = [replace(item, delivered=True) for repetition in self._again for item in repetition.items]
                left = [*self._waiting, *again]
            await loop.run_in_executor(None, self._journal.keep, left)
            await loop.run_in_executor(None, self._journal.close)

    async def _stop_trying(self) -> None:
        trying = self._tasks.get(asyncio.get_running_loop())
        if trying is not None:
            trying[0].cancel()
            await asyncio.wait([trying[0]])

    async def last_attempts(self) -> bool:
        """Try to deliver pending invalidations within `write_timeout`; return whether none is left."""
        try:
            async with self._within("invalidate"):
                while self._waiting and not await self.deliver():  # noqa: ASYNC110 - nothing tells that a store is back
                    await asyncio.sleep(_SOON)
        except BackendError:
            pass  # the time is over; how many are left is said in the log
        return not self._waiting

    def say_what_is_left(self) -> None:
        """Log how many were never acknowledged."""
        then = "end with this process" if self._journal is None else "are left to the next process"
        logger.warning("%d invalidations were never acknowledged by the store and %s", len(self), then)

    def after_fork(self) -> None:
        """Start anew in a child process: pending invalidations pend here too; no loop delivers them yet."""
        self._lock = threading.Lock()
        self._tasks.forget()
        self.loops = weakref.WeakSet()
        at_exit.release(self)
        if self._journal is not None:
            self._journal.after_fork()

    def _tell(self, items: Iterable[Invalidation]) -> None:
        self._delivered(
            [item.name for item in items if not item.is_stamp], [item.name for item in items if item.is_stamp]
        )

    async def _keep_trying(self, signals: Signals) -> None:
        wait = _FIRST_WAIT
        while True:
            if self._waiting:
                if await set_within(signals.alive, wait * (0.5 + self._chance.random())):
                    signals.alive.clear()
                    wait = _SOON  # the first attempt may be refused, and makes the guard probe the store
                wait = _FIRST_WAIT if await self.deliver() else min(2 * wait, _LONGEST_WAIT)
                continue
            with self._lock:
                self.busy = bool(self._waiting or self._acknowledged)
                due = min((repetition.at for repetition in self._again), default=self._acknowledged.over_at())
                if due == math.inf and self._journal is not None and not self._waiting:
                    self._journal.clear()
            if min(due, self._resend_at) == math.inf:
                return
            if self._resend_at <= self._now():
                self._resend_at = math.inf
                self.send_again()
                continue
            if due <= self._now():
                await self._repeat()
                continue
            signals.added.clear()
            await set_within(signals.added, min(due, self._resend_at) - self._now())

    async def _repeat(self) -> None:
        now = self._now()
        with self._lock:
            due = [repetition for repetition in self._again if repetition.at <= now]
        for repetition in due:
            await self._sender.send(list(repetition.items), partial(self._heard_again, repetition), repeated=True)
            with self._lock:
                if repetition.items:
                    repetition.at = self._now() + _LONGEST_WAIT
                    continue
                self._again = [other for other in self._again if other is not repetition]
        with self._lock:
            kept = {item.name for repetition in self._again for item in repetition.items}
            self._acknowledged.forget(self._now(), kept)

    def _heard_again(self, repetition: Repetition, items: list[Invalidation]) -> None:
        self._tell(items)
        with self._lock:
            repetition.items.remove(items)
