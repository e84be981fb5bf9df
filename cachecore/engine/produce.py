"""The producing side of a stream: claim, generator, buffer, and the stored answer: all or nothing.

A stream waits for no other process: that would be a whole stream until the first chunk. Its claim is there for the
proof alone that nothing was written under the key meanwhile. Where another computation has the claim and lives, the
stream runs without one and is not stored, since that other answer will be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

from cachecore.engine.computation import Computation
from cachecore.engine.compute import end_claim, pin, read_again, served, take_claim
from cachecore.engine.factories import streamed
from cachecore.engine.flights.broadcast import Broadcast, Chunk
from cachecore.engine.flights.claim import SILENCE
from cachecore.engine.flights.flight import Retry, computing
from cachecore.engine.publish import publish
from cachecore.engine.stamp_keeper import StampKeeper
from cachecore.engine.store_read import StoreRead

Assemble = Callable[[list[Any]], Any]

_TRIES: Final = 3


class LiveStream(Broadcast):
    """The stream of one computation."""

    __slots__ = ("assemble", "began_at", "computation", "refused", "takes_over")

    def __init__(self, computation: Computation, assemble: Assemble, takes_over: bytes | None) -> None:
        options = computation.scope.engine.store
        super().__init__(
            max_chunks=options.stream_max_chunks,
            max_bytes=options.stream_max_bytes,
            left=computation.flight.give_up_alone,
        )
        self.computation = computation
        self.assemble = assemble
        self.takes_over = takes_over
        """The token of a claim that this process is giving up."""
        self.began_at: float | None = None
        """Monotonic second at which the factory began."""
        self.refused = False
        """Whether the buffer was too small: nothing is stored."""

    @property
    def token(self) -> bytes | None:
        """The token of its claim, if it has one."""
        claim = self.computation.claim
        return None if claim is None else claim.token

    def admits(self, snapshot: StoreRead, asked_at: float) -> bool:
        """Return whether a caller may join that asked at the monotonic second `asked_at` and has read `snapshot` since.

        Chunks go out before the end, when the stamps are read again. A caller that came after the factory began needs
        proof now that there was no invalidation in between: the same stamps, of all tags that the stream has, and the
        same claim or bytes under the key.
        Where the store cannot be asked there is none to be had: an outage costs one stream, not one for each caller,
        unless the store has said before that one of the stamps has changed.
        """
        computation = self.computation
        if self.began_at is None or asked_at <= self.began_at:
            return True
        if snapshot.error is not None:
            return not computation.flight.doubted
        pins, seen = computation.flight.pins.stamps, snapshot.stamps()
        if seen is None or seen != {name: pins.get(name) for name in snapshot.tagset.stamp_keys}:
            return False
        others = [(name, stamp) for name, stamp in pins.items() if name not in seen]
        if others and not _vouched_for(computation, others):
            return False
        claim, mark, before = computation.claim, snapshot.claim, computation.snapshot.claim
        if claim is not None and claim.in_place:
            return mark is not None and mark.token == claim.token
        if mark is not None and before is not None:
            return mark.token == before.token
        return snapshot.raw == computation.snapshot.raw


def _vouched_for(computation: Computation, stamps: list[tuple[str, bytes | None]]) -> bool:
    """Return whether a live feed says that these are the stamps of now, which the caller has not read."""
    engine = computation.scope.engine
    given = [(name, stamp) for name, stamp in stamps if stamp is not None]
    return len(given) == len(stamps) and engine.feed_state.live and engine.book.holds(given)


async def produce(live: LiveStream) -> None:
    """Run the stream to its end, store its answer, and answer the flight."""
    computation = live.computation
    flight = computation.flight
    flight.reading()
    stored = False
    try:
        if await _claimed_by_another(live) and computation.behind:
            flight.answer(error=Retry())
            return
        answer = served(computation)
        if answer is not None:
            live.end(Retry())  # readers find it in the cache
            flight.answer(answer, late_too=False)
            return
        seconds = await _run(live)
        if live.refused:
            flight.answer(error=Retry())
            return
        try:
            value = live.assemble(live.whole())
        except Exception as error:  # noqa: BLE001 - the application's own code, after all was delivered
            _not_assembled(computation, error)
            flight.answer(error=Retry())
            return
        stored = await publish(computation, value, seconds)
    finally:
        await end_claim(computation, stored=stored)


async def _claimed_by_another(live: LiveStream) -> bool:
    """Claim the key if no living computation has it; return whether one has."""
    computation = live.computation
    engine = computation.scope.engine
    patience = SILENCE * (engine.store.lease_ttl or 0.0)
    read_since = False
    for _ in range(_TRIES):
        holder = await take_claim(computation)
        if holder is None:
            return False
        if not computation.snapshot.claimable:  # beside bytes that stay; the answer is swapped from those
            return True
        if holder.token == live.takes_over or engine.store_clock.now() - holder.time >= patience:
            computation.abandoned = computation.snapshot.raw
        elif read_since:
            return True
        else:  # it may have ended since the caller's read
            read_since = True
            await read_again(computation)
    return True


async def _run(live: LiveStream) -> float:
    """Run the generator to its end; return the seconds it took."""
    computation = live.computation
    engine, flight, telemetry = computation.scope.engine, computation.flight, computation.scope.telemetry
    await pin(computation)
    live.began_at = began = engine.monotonic()
    telemetry.counts.factory_calls += 1
    keeper = StampKeeper(computation.scope, computation.state, [flight], computation.life)
    keeper.start()
    try:
        with computing(flight):
            await _pump(live, computation.policy.factory_timeout)
    except BaseException:  # a cancelled generator counts as failed
        telemetry.factory(engine.monotonic() - began, failed=True)
        raise
    finally:
        keeper.stop()
    seconds = engine.monotonic() - began
    telemetry.factory(seconds, failed=False)
    live.complete = True
    flight.land()
    if keeper.renewals:
        await keeper.settle()
    return seconds


async def _pump(live: LiveStream, limit: float) -> None:
    """Move chunks from the generator to the readers; each may take `limit` seconds.

    A generator that swallows its cancellation may yield or return after it: its chunks are then no whole answer.
    """
    flight = live.computation.flight
    late = f"the stream gave no chunk within {limit:g} s"

    def check() -> None:
        if flight.answered or _cancelled():
            raise asyncio.CancelledError

    async with AsyncExitStack() as stack:
        flight.start_timer(limit, late)
        chunks = await streamed(live.computation.factory)
        close = getattr(chunks, "aclose", None)
        if close is not None:
            stack.push_async_callback(close)
        now = asyncio.get_running_loop().time
        async for chunk in chunks:
            check()
            kept = Chunk(chunk)
            if not live.holds(kept):
                flight.stop_timer()  # the time of the readers is not the provider's
                await _overflow(live)
                check()
                flight.start_timer(limit, late)
            live.append(kept)
            flight.postpone(now() + limit)
        check()


def _cancelled() -> bool:
    """Return whether the running task has been cancelled, even if the exception was swallowed."""
    # Never kept in a frame: a cancelled task keeps its exception, and on Python 3.11 unseen by the garbage collector.
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _overflow(live: LiveStream) -> None:
    """Make the buffer a window for the present readers: no other joins, and no whole answer will come of it."""
    flight = live.computation.flight
    if not live.refused:
        live.refused = True
        live.computation.scope.telemetry.counts.not_stored["size"] += 1
        flight.refuse()
    await live.wanted()
    if not live.readers:  # to be finished behind, for nothing
        flight.answer(error=Retry())


def _not_assembled(computation: Computation, error: Exception) -> None:
    scope = computation.scope
    why = f"assemble raised {type(error).__qualname__}"
    scope.engine.unstored_log.warn(scope.keys.namespace, computation.factory, "assemble_error", why, error)
    scope.telemetry.counts.not_stored["assemble_error"] += 1
