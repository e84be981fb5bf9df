"""A loop that ends cancels its tasks once: it does not get the feed again, and one that goes on does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from cachecore.contract.protocols import Alive, FeedEvent
from cachecore.invalidation.feed import FeedState
from cachecore.testing.virtual import VirtualClock
from tests.unit.virtual_caches import Scene, virtual


class Told:
    """A store's feed, and a listener who is told nothing of interest."""

    def __init__(self, clock: VirtualClock) -> None:
        self.begun = 0
        self._clock = clock

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        self.begun += 1
        yield Alive(self._clock.monotonic())
        await asyncio.Event().wait()

    def changed(self, keys: object) -> None: ...
    def changed_all(self) -> None: ...
    def alive(self) -> None: ...
    def revived(self, *, again: bool) -> None: ...


@virtual
async def test_cancelled_feed_is_read_again_only_in_a_loop_that_goes_on(scene: Scene) -> None:
    told = Told(scene.clock)
    state = FeedState(max_age=5, clock=scene.clock)
    state.attend(told, "cc:", told)
    await asyncio.sleep(0.01)
    ((_, reading),) = state._readers.items()
    reading.cancel()
    await asyncio.wait([reading])
    state.attend(told, "cc:", told)  # as an answer does that arrives while the loop ends
    await asyncio.sleep(0.01)
    assert told.begun == 1
    await asyncio.sleep(0.1)
    state.attend(told, "cc:", told)
    await asyncio.sleep(0.01)
    assert told.begun == 2
    await state.stop()
    state.attend(told, "cc:", told)  # it was stopped on purpose
    await asyncio.sleep(0.01)
    assert told.begun == 3
    await state.stop()
