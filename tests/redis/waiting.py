"""Receiver for a state instead of a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from cachecore.contract import BackendError


async def until(condition: Callable[[], bool | Awaitable[bool]], *, within: float = 10.0) -> float:
    """Return the seconds it took until `condition` held; fail after `within`."""
    started = time.monotonic()
    while time.monotonic() < started + within:
        held = condition()
        if not isinstance(held, bool):
            held = await held
        if held:
            return time.monotonic() - started
        await asyncio.sleep(0.005)
    raise AssertionError(f"it did not happen within {within} s")


async def until_it_works(call: Callable[[], Awaitable[object]], *, within: float = 10.0) -> float:
    """Return the seconds it took until `call` raised no BackendError."""

    async def works() -> bool:
        try:
            await call()
        except BackendError:
            return False
        return True

    return await until(works, within=within)
