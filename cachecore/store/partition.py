"""One partition of the store: its breaker, and how long a read waits for it."""

from __future__ import annotations

import math
from typing import Final

from cachecore.contract.options import StoreOptions
from cachecore.store.breaker import Breaker
from cachecore.store.refusals import Refusals
from cachecore.store.round_trip import RoundTrip

ROUND_TRIPS: Final = 5
"""Round trips that a read may take."""

WHOLE_STORE: Final = ""
"""The name of the one partition of a store that is not divided."""


class Partition:
    """One partition, as all loops of this process see it."""

    __slots__ = ("_cap", "_floor", "address", "breaker", "name", "patience", "refusals", "trip")

    def __init__(self, name: str, breaker: Breaker, options: StoreOptions, refusals: Refusals) -> None:
        self.name = name
        self.breaker = breaker
        self.refusals = refusals
        self._floor = options.backend_timeout
        self._cap = max(options.backend_timeout, options.backend_timeout_max)
        self.address = ""
        """Where the round trips were measured."""
        self.trip = RoundTrip()
        self.patience = self._floor
        """Seconds that a small read may take, once it is on its way."""

    @property
    def cap(self) -> float:
        """The longest `patience` there can be: that of a store with an unknown round trip."""
        return self._cap

    @property
    def known(self) -> bool:
        """Whether the round trip was measured."""
        return self.trip.seconds < math.inf

    def measured(self, seconds: float, now: float) -> None:
        """Set `patience` anew: a call of few bytes was answered after `seconds`, at the monotonic second `now`."""
        self.trip.measured(seconds, now)
        self.patience = max(self._floor, min(ROUND_TRIPS * self.trip.seconds, self._cap))

    def moved(self, address: str) -> None:
        """Begin to measure anew if the partition is at another `address` now."""
        if address and address != self.address:
            if self.address:
                self.trip = RoundTrip()
                self.patience = self._floor
            self.address = address
