"""Many keys and many callers at once, one that leaves, and the end."""

from __future__ import annotations

import asyncio

from cachecore.contract import (
    BackendError,
)
from cachecore.testing.conformance.harness import Harness, registered

_FEED_SECONDS = 10.0


@registered
async def check_many_keys_at_once(harness: Harness) -> None:
    """A thousand keys are written, read and deleted in one call each."""
    items = {f"k{i}": b"%d" % i for i in range(1000)}
    await harness.backend.set_many(items, ttl=60)
    assert await harness.backend.get_many(list(items)) == list(items.values())
    assert await harness.backend.delete_many(list(items)) == 1000


@registered
async def check_many_tasks_at_once(harness: Harness) -> None:
    """Tasks that use the backend at the same time each get their own answer."""

    async def use(i: int) -> None:
        key = f"k{i}"
        await harness.backend.set_many({key: b"%d" % i}, ttl=60)
        assert await harness.backend.get_many([key, f"none{i}"]) == [b"%d" % i, None]

    await asyncio.gather(*(use(i) for i in range(100)))


@registered
async def check_cancelled_caller_harms_nobody(harness: Harness) -> None:
    """After callers were cancelled at any step, others still get their own answers."""
    backend = harness.backend
    await backend.set_many({f"k{i}": b"%d" % i for i in range(50)}, ttl=60)
    for steps in range(8):
        tasks = [asyncio.ensure_future(backend.get_many([f"k{i}"])) for i in range(50)]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for i in range(1, 50, 2):
            assert results[i] == [b"%d" % i]
    assert await backend.get_many(["k0"]) == [b"0"]


@registered
async def check_closing_is_final_and_idempotent(harness: Harness) -> None:
    """Closing twice is no error; a call after it raises BackendError and does not hang."""
    await harness.backend.get_many(["k"])
    await harness.backend.aclose()
    await harness.backend.aclose()
    try:
        await harness.backend.get_many(["k"])
    except BackendError as error:
        assert not error.transient
    else:
        raise AssertionError("a closed backend answered")
