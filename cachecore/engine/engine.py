"""Shared by all views of one cache: the guarded store, L1, the stamps, and the state of each event loop.

State that belongs to an event loop (coalescer, flights, background tasks) is kept per loop, so that a second
`asyncio.run`, a loop in another thread and a forked child each have their own; state of the process (L1, stamps,
tickets, counts) is shared between them and safe to use from several threads.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Collection, Container, Coroutine, Mapping
from typing import Any, Final

from cachecore.contract import plugins
from cachecore.contract.clock import counting_sleep
from cachecore.contract.errors import BackendUnavailable
from cachecore.contract.forks import in_child
from cachecore.contract.loop_local import LoopLocal
from cachecore.contract.options import MemoryOptions
from cachecore.contract.protocols import (
    CacheBackend,
    SupportsExtend,
    SupportsFeed,
    SupportsLocal,
    SupportsPartitions,
    SupportsSizes,
    SupportsTime,
)
from cachecore.contract.tokens import STAMP_BYTES
from cachecore.encoding.entry import tombstone
from cachecore.engine.flights.claim import ClaimRules, Insisting
from cachecore.engine.flights.coalesce import Batch, Coalescer, ReadRules
from cachecore.engine.flights.loop_state import LoopState, no_loop_error
from cachecore.engine.given import GivenStore, Sources
from cachecore.engine.store_observer import StoreObserver
from cachecore.engine.telemetry import Telemetry
from cachecore.engine.unshared import Unshared
from cachecore.engine.unstored import UnstoredLog
from cachecore.invalidation.feed import FeedState
from cachecore.invalidation.feed_log import FeedLog
from cachecore.invalidation.outbox.backlog import Root
from cachecore.invalidation.outbox.outbox import Outbox
from cachecore.invalidation.outbox.sender import Sender, Tombstone
from cachecore.invalidation.rewind import REWOUND, Marks
from cachecore.invalidation.stamps import StampBook
from cachecore.invalidation.tickets import Ticket
from cachecore.keys import ROOT_TAG
from cachecore.memory.copies import tier_of_copies
from cachecore.memory.warmth import Warmth
from cachecore.store.local_guard import LocalGuard, guard_of
from cachecore.store.set_calls import set_calls_of
from cachecore.store.store_clock import StoreClock

logger = logging.getLogger("cachecore")

SHARDS: Final = 64
"""Hash tags over which the keys of a store with several nodes are spread."""
_MOST_FAILED: Final = 10_000
_TOMBSTONE_SLACK: Final = 2.0


class Engine:
    """The shared machinery under `Cache` and its scoped views. Use through them."""

    def __init__(self, given: GivenStore, memory: MemoryOptions, sources: Sources, telemetry: Telemetry) -> None:
        self.prefix = given.prefix
        self.store = store = given.options
        self.memory = memory
        self.clock = clock = counting_sleep(sources.clock)
        self.monotonic = clock.monotonic
        self.chance, self.token = sources.chance, sources.token
        self.telemetry = telemetry
        self.raw = backend = given.backend
        self.owns_backend = given.owned
        observer = self.observer = StoreObserver(telemetry, self._was_away, self._is_back)
        self.backend = guard_of(backend, store, clock=clock, chance=self.chance, observer=observer)
        self.explicit = self.backend.explicit
        """The store for explicit writes and invalidations."""
        self.feed = backend if isinstance(backend, SupportsFeed) else None
        self.partition = backend.partition if isinstance(backend, SupportsPartitions) else None
        self.local = backend if isinstance(backend, SupportsLocal) and self.feed is None else None
        self.extends = isinstance(backend, SupportsExtend)
        self.tells_sizes = isinstance(backend, SupportsSizes)
        self.set_calls = set_calls_of(self.explicit, backend, observer)
        self.shards = 0 if self.partition is None else SHARDS
        self.store_clock = StoreClock(clock, self.backend if isinstance(backend, SupportsTime) else None)
        feed_log = FeedLog(backend, self.backend.states)
        self.feed_state = FeedState(max_age=memory.l1_max_age, clock=clock, log=feed_log)
        self.book = StampBook(stamp=lambda: self.token()[:STAMP_BYTES], monotonic=clock.monotonic, extends=self.extends)
        insisting = Insisting(self.backend, clock.monotonic, store.write_timeout / 2)
        self.claim_rules = ClaimRules(
            store=insisting, interval=store.lease_ttl, token=self.token, now=self.store_clock.now
        )
        self.l1 = tier_of_copies(memory, plugins.eviction(memory.eviction), clock)
        self.warmth = Warmth(self.backend, clock)
        self.keeps = memory.l1_max_bytes > 0 and memory.l1_max_entries > 0
        """Whether there is an L1 at all."""
        self.marks, self.outbox = self._new_outbox()
        self._read_rules = ReadRules(
            feed_state=self.feed_state,
            keeps=self.keeps,
            max_keys=store.batch_keys,
            monotonic=clock.monotonic,
            partition=self.partition,
            answered=self._answered,
            marks=self.marks.of,
        )
        telemetry.counts.tier = self.l1
        telemetry.counts.pending = self.outbox.__len__
        self.failed: dict[str, float] = {}  # key -> monotonic second until which its factory is not tried again
        self.unshared = Unshared(clock.monotonic)
        self.unstored_log = UnstoredLog()
        self.function_names: dict[tuple[str, str], tuple[tuple[str, str], object]] = {}
        """(namespace, name of a cached function) -> where it is from, and its code."""
        self.longest_computation = 0.0
        """The longest `factory_timeout` of all views."""
        self.protection = _TOMBSTONE_SLACK
        """Seconds after which no computation that began before now is stored any more: how long a tombstone stands."""
        self._states: LoopLocal[LoopState] = LoopLocal()
        self._last: Callable[[], LoopState | None] = _no_state  # a weak reference to the one that was asked for last
        self._stamp_prefix = f"{self.prefix}:s:"
        self.adopt: Callable[[Any, str], None] | None = None
        """Makes the copy of an entry (its view and key) of a store in this process, when it is asked for first."""
        self.closed = False
        self.ended = False
        """Whether closing is over: later requests are computed and not stored."""
        self._said_ended = False
        self.owner: weakref.ref[object] | None = None
        in_child(self.after_fork)

    def _new_outbox(self) -> tuple[Marks, Outbox]:
        hash_tags = [f"{{{n}}}" for n in range(self.shards)] or [""]
        root = Root(self.prefix, tuple(f"{self.prefix}:s:{tag}{ROOT_TAG}" for tag in hash_tags))
        marks = Marks(
            self.explicit,
            root=root,
            now=self.monotonic,
            unix=self.store_clock.now,
            send_again=lambda items: self.outbox.lost(items),
            distrust=self._distrust,
        )
        sender = Sender(self.explicit, self.bury, marks.beside)
        return marks, Outbox(self.store, root, sender, self, marked=marks.state != "none")

    def state(self) -> LoopState:
        """Return the state of the running loop. Cheap for the loop that asked last."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise no_loop_error() from None
        state = self._last()
        if state is not None and state.loop is loop:
            return state
        state = self._states.get(loop)
        if state is None:
            rules, backend = self._read_rules, self.backend
            state = LoopState(
                loop,
                Coalescer(rules, backend.begin_read, backend),
                Coalescer(rules, self.explicit.begin_read, inline=True),
            )
            if isinstance(self.backend, LocalGuard):
                state.waits = False
                state.explicit.at_once = True
            self._states.set(loop, state)
            self.outbox.attend()
        if self.ended:
            self._say_ended()
            return state
        self._last = weakref.ref(state)
        if self.feed is not None and not self.closed:
            self.feed_state.attend(self.feed, f"{self.prefix}:", self)
        return state

    @property
    def last_state(self) -> LoopState | None:
        """The state of the loop that asked last, if it is there and not closed; for other threads, to know of it."""
        state = self._last()
        return None if state is None or state.loop.is_closed() else state

    def end(self) -> None:
        """Take note that closing is over."""
        self.ended = True
        self._last = _no_state

    def _say_ended(self) -> None:
        if not self._said_ended:
            self._said_ended = True
            logger.warning(
                "the cache on %r is asked after it was closed: answers are computed and not stored; close it once its "
                "last user has ended",
                self.raw,
            )

    def measure(self, state: LoopState) -> None:
        """Begin to measure the store's clock, if it is time to."""
        clock = self.store_clock
        if self.monotonic() >= clock.due_at and (state.measuring is None or state.measuring.done()):
            state.measuring = state.spawn(clock.measure(), "cachecore-clock")

    async def measured(self, state: LoopState) -> None:
        """See that the store's clock is known, as far as it can be: waits for the first measurement only."""
        self.measure(state)
        if self.store_clock.unmeasured and state.measuring is not None and not state.measuring.done():
            await asyncio.wait([state.measuring])

    # Stamps

    def _answered(self, batch: Batch) -> None:
        if batch.marks and not self.marks.judge(batch.marks, batch.values, self._spawn):
            self.telemetry.backend_error("get_many", REWOUND)
            batch.error = BackendUnavailable("get_many", reason=REWOUND)
            batch.values.update(dict.fromkeys(batch.values))
            return
        self.learn_from(batch)

    def learn_from(self, batch: Batch) -> None:
        """Take over the stamps that were read in `batch`."""
        if not batch.stamp_keys:
            return
        values = batch.values
        prefix = self._stamp_prefix
        self._learn({key: values[key] for key in batch.stamp_keys if key.startswith(prefix)}, batch)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self.state().spawn(work, name)

    def _learn(self, stamps: Mapping[str, bytes | None], ticket: Ticket) -> None:
        """Take over stamps that were read under `ticket`."""
        if ticket.epoch != self.feed_state.epoch:
            return  # a change may have gone untold since it was asked
        if ticket.void is not None:
            stamps = {key: stamp for key, stamp in stamps.items() if ticket.covers(key)}
        if self.outbox.busy:  # some may pend, and count as gone although the store may still have them
            withheld = self.outbox.withholds
            stamps = {key: stamp for key, stamp in stamps.items() if not withheld(key)}
        self.book.learn(stamps)
        if ticket.void is not None and not ticket.void.isdisjoint(stamps):  # by another thread, since the line above
            self.book.forget(ticket.void)

    async def create_stamps(
        self,
        stamps: Mapping[str, bytes | None],
        life: float | None,
        permanent: Container[str],
        backend: CacheBackend | None = None,
    ) -> dict[str, bytes | None]:
        """Return `stamps` with those that are None created in the store, as far as it can be done. Raises BackendError.

        `life` is that of their entries in seconds, None for ever, as those stamps live that are `permanent`; `backend`
        is the store as the caller uses it.
        """
        missing = [key for key, stamp in stamps.items() if stamp is None]
        if self.marks.lacks(stamps):  # no entry is older than the mark beside it
            await self.marks.create(stamps)
        if not missing:
            return dict(stamps)
        ticket = Ticket(missing, epoch=self.feed_state.epoch)
        self.feed_state.tickets.open(ticket)
        complete = await self.book.create_missing(backend or self.backend, stamps, life=life, permanent=permanent)
        self._learn({key: complete[key] for key in missing}, ticket)
        return complete

    # Events of the feed (feed.Listener)

    def changed(self, keys: Collection[str]) -> None:
        """Forget the copies and stamps of these keys; flights for them are not joined any more."""
        stamps = [key for key in keys if key.startswith(self._stamp_prefix)]
        if stamps:
            self.book.forget(stamps)
            self.detach_stamps(stamps, pushed=True)
        if len(stamps) < len(keys):
            entries = [key for key in keys if not key.startswith(self._stamp_prefix)]
            for state in self.states():
                state.flights.detach_keys(entries, pushed=True)
                state.wakeups.wake(entries)
            for key in entries:
                self.l1.discard(key)

    def changed_all(self) -> None:
        """Forget everything that this process knows of the store."""
        self.l1.clear()
        self.book.forget_all()
        self.store_clock.expire()  # another server may answer now
        for state in self.states():
            state.flights.detach_all()

    def alive(self) -> None:
        """Do what is due besides requests: measure the store's clock, touch keys that memory has answered for.

        The mark is read too, and judged like any read.
        """
        state = self.state()
        if not self.closed:
            self.measure(state)
        if self.warmth.due and not self.closed:
            state.spawn(self.warmth.touch(), "cachecore-touch")
        for key in self.marks.due():
            state.coalescer.read(None, (key,))

    def revived(self, *, again: bool) -> None:
        """Let calls through at once, and read the store's clock again: the feed says that the store is back."""
        self.backend.sign_of_life()
        self.store_clock.expire()
        if again:
            self.outbox.send_again()
        self.outbox.hurry()

    def _distrust(self, roots: Collection[str]) -> None:
        """Forget everything known of a store that has gone back in time."""
        self.feed_state.tickets.void_all()
        self.changed_all()
        self.detach_stamps(roots)

    # Changes by this process

    def forget_entries(self, keys: Collection[str]) -> None:
        """Forget entries: copies in memory, and flights that later callers would join, are worth nothing any more."""
        self.detach_keys(keys)
        for key in keys:
            self.l1.discard(key)

    def forget_stamps(self, stamp_keys: Collection[str]) -> None:
        """Forget stamps: copies in memory and reads under way that rest on them are worth nothing any more."""
        self.feed_state.tickets.void(stamp_keys)
        self.book.forget(stamp_keys)
        self.detach_stamps(stamp_keys)

    def detach_keys(self, keys: Collection[str], *, supersede: bool = False) -> None:
        """Detach the flights of these keys, in every loop; with `supersede` their answers are not stored either."""
        for state in self.states():
            state.flights.detach_keys(keys, supersede=supersede)

    def detach_stamps(self, stamp_keys: Collection[str], *, pushed: bool = False) -> None:
        """Detach the flights that carry the tags of these stamps, in every loop; `pushed`: reported by the feed."""
        for state in self.states():
            state.flights.detach_tags(stamp_keys, pushed=pushed)

    def delivered(self, keys: Collection[str], stamp_keys: Collection[str]) -> None:
        """Forget the keys of delivered invalidations: reads in the meantime saw the old values."""
        self.feed_state.tickets.void(keys)
        self.forget_entries(keys)
        if stamp_keys:
            self.forget_stamps(stamp_keys)

    def allow_computations(self, seconds: float) -> None:
        """Take note that there is a view with this `factory_timeout`."""
        self.longest_computation = max(self.longest_computation, seconds)
        self.protection = self.longest_computation + _TOMBSTONE_SLACK

    def bury(self, key: str) -> Tombstone:
        """Return a tombstone that outlives every computation of `key` that began before now."""
        now, life = self.store_clock.now(), self.protection
        return Tombstone(tombstone(key, created=now, dead_until=now + life, nonce=self.token()[:8]), life)

    def _was_away(self) -> None:
        if not self.closed:
            self.store_clock.expire()
            self.outbox.send_again()

    def _is_back(self) -> None:
        self._was_away()
        self.outbox.hurry()

    def note_failure(self, key: str, seconds: float) -> None:
        """Remember that computing `key` failed just now, for about `seconds`."""
        if len(self.failed) >= _MOST_FAILED:
            self.failed.clear()  # forgetting means trying again
        self.failed[key] = self.monotonic() + seconds * (0.9 + 0.2 * self.chance.random())

    def recently_failed(self, key: str) -> bool:
        """Return whether computing `key` failed within its `retry_after`."""
        if not self.failed:
            return False
        until = self.failed.get(key)
        if until is None:
            return False
        if self.monotonic() < until:
            return True
        self.failed.pop(key, None)
        return False

    def states(self) -> list[LoopState]:
        """Return the states of the loops that are not closed."""
        return self._states.open()

    def after_fork(self) -> None:
        """Start anew in a child: flights, tasks and tickets are the parent's; copies in memory are too old to judge."""
        self.chance.seed()  # or every child would jitter alike
        self._states.forget()
        self._last = _no_state
        self.l1.clear()
        for part in (self.feed_state, self.outbox, self.marks, self.warmth, self.book):
            part.after_fork()


def _no_state() -> LoopState | None:
    return None
