"""Waiting for tasks within a deadline, without cancelling them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any


async def ended(tasks: Sequence[asyncio.Future[Any]], deadline: float) -> bool:
    """Wait until `tasks` have ended, or until `deadline` (the loop's clock); return whether they have."""
    waiting = [task for task in tasks if not task.done()]
    if waiting:
        _, waiting_still = await asyncio.wait(waiting, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        return not waiting_still
    return True
