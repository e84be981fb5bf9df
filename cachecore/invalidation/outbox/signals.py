"""The events that wake the delivery of one event loop."""

from __future__ import annotations

import asyncio


class Signals:
    """The events that end a wait of one loop's delivery."""

    __slots__ = ("added", "alive")

    def __init__(self) -> None:
        self.added = asyncio.Event()
        """There is something new to deliver."""
        self.alive = asyncio.Event()
        """The store has shown a sign of life."""


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set, at most so long; return whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    return event.is_set()
