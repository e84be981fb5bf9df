"""Many keys and many callers at once, one that leaves, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cachecore.contract import BackendError
from cachecore.testing.conformance.harness import Harness, holds, registered, same

_CROWD_SECONDS = 30.0


@registered
async def check_many_keys_at_once(harness: Harness) -> None:
    """A thousand keys are written, read and deleted in one call each."""
    items = {f"k{i}": b"%d" % i for i in range(1000)}
    await harness.backend.set_many(items, ttl=60)
    same(await harness.backend.get_many(list(items)), list(items.values()), "a thousand keys are read in one call")
    same(await harness.backend.delete_many(list(items)), 1000, "a thousand keys are deleted and counted in one call")


@registered
async def check_many_tasks_at_once(harness: Harness) -> None:
    """Tasks that use the backend at the same time each get their own answer."""

    async def use(i: int) -> None:
        key = f"k{i}"
        await harness.backend.set_many({key: b"%d" % i}, ttl=60)
        got = await harness.backend.get_many([key, f"none{i}"])
        same(got, [b"%d" % i, None], "a task gets the answer to its own call")

    await asyncio.gather(*(use(i) for i in range(100)))


@registered
async def check_batches_in_any_order_at_once(harness: Harness) -> None:
    """Batches of the same keys in opposite orders neither wait for each other for ever nor fail."""
    keys = [f"k{number}" for number in range(20)]
    calls: list[Awaitable[object]] = []
    for order in (keys, keys[::-1]) * 5:
        calls += [harness.backend.set_many(dict.fromkeys(order, b"v"), ttl=60), harness.backend.delete_many(order)]
    try:
        async with asyncio.timeout(_CROWD_SECONDS):
            await asyncio.gather(*calls)
    except TimeoutError:
        raise AssertionError("batches of the same keys in opposite orders wait for each other") from None
    await harness.backend.set_many(dict.fromkeys(keys, b"v"), ttl=60)
    same(await harness.backend.delete_many(keys), len(keys), "after a crowd of batches the store answers as before")


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
            same(results[i], [b"%d" % i], "a caller gets its own answer after another was cancelled")
    same(await backend.get_many(["k0"]), [b"0"], "the store answers after callers were cancelled")


@registered
async def check_cancelled_writers_leave_a_working_store(harness: Harness) -> None:
    """After writers were cancelled at any step, each key has the old value or the new one, and writes go on."""
    backend = harness.backend
    for steps in range(6):
        keys = [f"k{steps}:{i}" for i in range(20)]
        await backend.set_many(dict.fromkeys(keys, b"old"), ttl=60)
        tasks = [asyncio.ensure_future(backend.swap(key, b"old", b"new", ttl=60)) for key in keys]
        for _ in range(steps):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        same(results[1::2], [True] * 10, "a writer succeeds after another was cancelled")
        for got in await backend.get_many(keys[::2]):
            holds(got in (b"old", b"new"), f"a cancelled swap writes its value or nothing, not {got!r}")
    await backend.set_many({"after": b"v"}, ttl=60)
    same(await backend.get_many(["after"]), [b"v"], "the store takes writes after writers were cancelled")


@registered
async def check_closing_is_final_and_idempotent(harness: Harness) -> None:
    """Closing twice is no error; every call after it raises BackendError, not transient, and does not hang."""
    backend = harness.backend
    await backend.get_many(["k"])
    for which in ("first", "second"):
        try:
            await backend.aclose()
        except Exception as error:  # whatever a broken backend raises: the failure names the promise
            raise AssertionError(f"the {which} aclose is no error; it raised {error!r}") from error
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get_many": lambda: backend.get_many(["k"]),
        "set_many": lambda: backend.set_many({"k": b"v"}, ttl=60),
        "delete_many": lambda: backend.delete_many(["k"]),
        "swap": lambda: backend.swap("k", None, b"v", ttl=60),
    }
    for name, call in calls.items():
        try:
            await call()
        except BackendError as error:
            holds(not error.transient, f"{name} after aclose raises a BackendError that is not transient")
        except Exception as error:  # as above
            raise AssertionError(f"{name} after aclose raises BackendError, not {error!r}") from error
        else:
            raise AssertionError(f"{name} after aclose raises BackendError; the closed backend answered")
