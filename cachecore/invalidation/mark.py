"""One mark as this process knows it: its number, and the last invalidations that advanced it; without I/O.

`rewind` says what marks are for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from cachecore.invalidation.outbox.backlog import Invalidation

FLOOR: Final = 1 << 40
"""The lowest number of a mark that was made from a clock: below are those of counters that began at 1."""
REMEMBERED: Final = 5.0
"""Seconds for which this process remembers the invalidations that advanced a mark."""
_LEAP: Final = 100_000
"""A rise by more was no series of invalidations: the clock has moved on by as many microseconds."""
_MOST_OWN: Final = 1000
_MOST_DIGITS: Final = 18

Verdict = Literal["current", "leapt", "absent", "behind"]


class _Own(NamedTuple):
    """One advance of this process."""

    number: int
    at: float
    items: Sequence[Invalidation]


class Mark:
    """One mark as this process knows it. `root` is the key of the root's stamp beside it."""

    __slots__ = ("_own", "behind", "invalidated_at", "key", "known", "missing", "owed", "raised", "root", "there")

    def __init__(self, key: str, root: str) -> None:
        self.key = key
        self.root = root
        self.known = 0
        """The highest number seen."""
        self.raised = 0
        """The number to which it was raised last because the store had gone back, as far as is known here."""
        self.missing = False
        """Whether there was none at the last look."""
        self.there: bytes | None = None
        """The bytes under its key then."""
        self.behind = False
        """Whether the store was found older than this process, and nothing has been done about it yet."""
        self.owed = False
        """Whether the store had no room for an advance."""
        self.invalidated_at = -math.inf
        """Monotonic second at which the root was last invalidated because the store had gone back."""
        self._own: deque[_Own] = deque(maxlen=_MOST_OWN)

    def __repr__(self) -> str:
        return f"<Mark {self.key} {self.known}>"

    def see(self, data: bytes | None, expected: int) -> Verdict:
        """Judge the bytes that a read returned for the key; `expected` is the number known when the read was sent."""
        number = number_of(data)
        self.missing = number is None
        if number is None:
            self.there = data
            return "behind" if self.behind else "absent"
        if self.behind or number < min(expected, self.known):
            if not self.behind and self.is_old_news(expected):
                return "leapt"
            self.behind = True
            return "behind"
        leapt = self.leaps_to(number)
        self.known = max(self.known, number)
        if leapt:
            self.raised = number
        return "leapt" if leapt else "current"

    def leaps_to(self, number: int) -> bool:
        """Return whether the mark was made again, or raised because the store had gone back, since it was seen here."""
        return 0 < self.known < number - _LEAP

    def is_old_news(self, expected: int) -> bool:
        """Return whether a call with an old number was sent before it was known here that the mark was raised.

        What it has found is what the mark was raised for.
        """
        return expected < self.raised

    def repaired(self, number: int) -> None:
        """Take note that the mark was raised to `number`, here or elsewhere, because the store had gone back."""
        self.known = self.raised = number
        self.behind = False

    def advanced(self, number: int, items: Sequence[Invalidation], now: float) -> None:
        """Take note that this process has raised the mark to `number` for `items`."""
        self.known = max(self.known, number)
        self.missing = False
        self._own.append(_Own(number, now, items))

    def lost(self, number: int, now: float) -> list[Invalidation] | None:
        """Return the invalidations since the mark was at `number`; None if this process does not remember all."""
        if number >= self.known:
            return None  # the store was older at an earlier look, and others have advanced it since
        own = [one for one in self._own if number < one.number <= self.known and one.at >= now - REMEMBERED]
        if len({one.number for one in own}) < self.known - number:
            return None
        return [item for one in own for item in one.items]

    def go_back(self, number: int) -> None:
        """Take `number` as the known one: all invalidations that followed it are being sent again."""
        self.known = number
        self.raised = min(self.raised, number)
        self.behind = False
        self._own.clear()

    def above(self, unix: float) -> int:
        """Return a number above all that this process knows and, by the store's clock, above all others."""
        return max(self.known + 1, int(unix * 1e6), FLOOR)


def number_of(data: bytes | None) -> int | None:
    """Return the number of a mark; None if these bytes are none, or are a counter that began anew."""
    if not data or len(data) > _MOST_DIGITS or not data.isdigit():
        return None
    number = int(data)
    return number if number >= FLOOR else None
