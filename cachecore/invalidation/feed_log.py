"""The log of a feed that says nothing although its store answers: one line when that is known, one when it is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Final

logger: Final = logging.getLogger("cachecore.store")

PATIENCE: Final = 5.0
"""Seconds without a sign of the feed after which a store that answers is said to have none."""


class FeedLog:
    """Tells of the feed of one cache.

    Args:
        backend: the store whose feed is read; named by its `repr`.
        states: returns the states of the breakers; a store that is away has a log of its own.
    """

    def __init__(self, backend: object, states: Callable[[], Mapping[str, str]]) -> None:
        kind = type(backend)
        self._name = kind.__name__ if kind.__repr__ is object.__repr__ else repr(backend)
        self._states = states
        self._waits = 0  # numbers the waits; a timer of an earlier wait does nothing
        self._told = False

    def waiting(self) -> None:
        """Take note that there is no feed now: it begins to be read, or was lost. Needs a running loop."""
        self._waits += 1
        self._look_later(self._waits)

    def alive(self) -> None:
        """Take note that there is a feed."""
        self._waits += 1
        if self._told:
            self._told = False
            logger.info("the feed of %s is back", self._name)

    def stopped(self) -> None:
        """Take note that no feed is wanted any more."""
        self._waits += 1

    def _look_later(self, wait: int) -> None:
        asyncio.get_running_loop().call_later(PATIENCE, self._look, wait, context=Context())

    def _look(self, wait: int) -> None:
        if wait != self._waits or self._told:
            return
        if any(state != "closed" for state in self._states().values()):
            self._look_later(wait)
            return
        self._told = True
        logger.warning(
            "%s has no feed: copies in memory are served for `l1_max_age` only, and other processes' changes are seen "
            "that much later; the server, and what is between, must push changes, and the user have the right to "
            "them (on Redis: RESP3 and CLIENT TRACKING)",
            self._name,
        )
