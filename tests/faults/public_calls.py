"""Every public call of a cache, each with the check of what it returned; for tests that interrupt them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from cachecore import Cache
from tests.faults.callers import answer, request

Call = Callable[[Cache[Any], int], Coroutine[Any, Any, None]]


def factory_of(number: int, *, turns: int = 3) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return a factory that takes a few turns of the loop."""

    async def factory() -> dict[str, Any]:
        for _ in range(turns):
            await asyncio.sleep(0)
        return answer(number)

    return factory


async def _get(cache: Cache[Any], number: int) -> None:
    assert await cache.get(request(number)) in (None, answer(number))


async def _get_or_set(cache: Cache[Any], number: int) -> None:
    assert await cache.get_or_set(request(number), factory_of(number), tags=["t"]) == answer(number)


async def _lookup(cache: Cache[Any], number: int) -> None:
    found = await cache.lookup(request(number), factory_of(number))
    assert found.value == answer(number)


async def _pinning(cache: Cache[Any], number: int) -> None:
    async def factory() -> dict[str, Any]:
        await cache.pin_tag(f"pinned {number % 3}")
        return answer(number)

    assert await cache.get_or_set(request(number), factory) == answer(number)


async def _refresh(cache: Cache[Any], number: int) -> None:
    assert await cache.refresh(request(number), factory_of(number)) == answer(number)


async def _set(cache: Cache[Any], number: int) -> None:
    assert await cache.set(request(number), answer(number), tags=["t"])


async def _set_since(cache: Cache[Any], number: int) -> None:
    seen = await cache.lookup(request(number))
    if seen.tier != "l1":
        await cache.set(request(number), answer(number), since=seen)


async def _set_many(cache: Cache[Any], number: int) -> None:
    await cache.set_many({f"many {number} {i}": answer(i) for i in range(3)})


async def _delete(cache: Cache[Any], number: int) -> None:
    await cache.delete(request(number))


async def _delete_many(cache: Cache[Any], number: int) -> None:
    await cache.delete_many([request(number), request(number + 1)])


async def _expire(cache: Cache[Any], number: int) -> None:
    await cache.expire(request(number))


async def _get_many(cache: Cache[Any], number: int) -> None:
    found = await cache.get_many({str(i): request(number + i) for i in range(3)})
    assert all(value == answer(number + int(name)) for name, value in found.items())


async def _get_or_set_many(cache: Cache[Any], number: int) -> None:
    async def factory(names: list[str]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {name: answer(number + int(name)) for name in names}

    found = await cache.get_or_set_many({str(i): request(number + i) for i in range(3)}, factory)
    assert found == {str(i): answer(number + i) for i in range(3)}


async def _invalidate_tags(cache: Cache[Any], number: int) -> None:
    await cache.invalidate_tags("t", f"pinned {number % 3}")


async def _invalidate_prefix(cache: Cache[Any], number: int) -> None:
    await cache.invalidate_prefix("below")


async def _invalidate_all(cache: Cache[Any], number: int) -> None:
    await cache.invalidate_all()


async def _health(cache: Cache[Any], number: int) -> None:
    assert (await cache.health())["store"] == "ok"


CALLS: dict[str, Call] = {
    call.__name__.removeprefix("_"): call
    for call in (
        _get,
        _get_or_set,
        _lookup,
        _pinning,
        _refresh,
        _set,
        _set_since,
        _set_many,
        _delete,
        _delete_many,
        _expire,
        _get_many,
        _get_or_set_many,
        _invalidate_tags,
        _invalidate_prefix,
        _invalidate_all,
        _health,
    )
}
