"""A swap that decides whether others compute: it is not given up because a live store was late once.

The first calls of a process on a busy machine, or a file that another process has locked, may miss the deadline of a
computed value's write. Then the store is asked for the outcome: a store that answers is worth another attempt,
and one that does not costs no more than that question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from cachecore.contract.errors import BackendTimeout
from cachecore.contract.protocols import CacheBackend

_PAUSE: Final = 0.005
"""Seconds between two attempts at a store that another process has locked."""
_TRIES: Final = 3
LOCKED: Final = "locked"
"""The reason of a timeout by which a store says that it was locked: the write was not carried out."""


class Insisting:
    """Swaps that are made again while the store is alive: `patience` seconds where it is locked, else a few times.

    Where that was in vain nothing is insisted on until a swap has succeeded: a store that stays locked costs this once.
    """

    def __init__(self, backend: CacheBackend, monotonic: Callable[[], float], patience: float) -> None:
        self.backend = backend
        self._monotonic = monotonic
        self._patience = patience
        self._in_vain = False
        self.latest = 0.0
        """Seconds that the store took for the latest swap: how far away it is, or how busy."""

    async def swap(self, key: str, old: bytes | None, new: bytes, *, ttl: float | None) -> bool:
        """Make the value `new`, which is unlike any other, if it is `old` now; return whether it is there.

        Raises BackendError: the store failed, and the outcome is not known.
        """
        began = self._monotonic()
        ends = began + self._patience
        tries = 0
        while True:
            tries += 1
            try:
                swapped = await self.backend.swap(key, old, new, ttl=ttl)
            except BackendTimeout as error:
                if self._in_vain:
                    raise
                (there,) = await self.backend.get_many([key])
                if there == new or there != old:  # carried out though its reply was late; or overtaken
                    return there == new
                if self._monotonic() >= ends if error.reason == LOCKED else tries >= _TRIES:
                    self._in_vain = True
                    raise
                if error.reason == LOCKED:
                    await asyncio.sleep(_PAUSE)
            else:
                self._in_vain = False
                self.latest = self._monotonic() - began
                return swapped
