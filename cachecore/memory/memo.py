"""Facts found again by equal keys, in two generations: those that nobody asks for again leave first.

Decided here: finding takes no lock, and what leaves. How many bytes there may be is the tier's decision, whose lock is
held in every call that adds or drops.
"""

from __future__ import annotations

from typing import Any

Fact = tuple[Any, ...]
"""Its bytes, key included, and then what the caller remembers."""


class Memo:
    """Facts under hashable keys, oldest first to leave; one that is found again is spared for a round.

    New facts are young. When the old generation is used up, the young one becomes the old one. A fact found in the old
    generation moves to the young one.
    """

    __slots__ = ("_leaving", "_old", "bytes", "young")

    def __init__(self) -> None:
        self.young: dict[Any, Fact] = {}
        """The young generation, for a caller that cannot afford a call: `young.get(key) or find_old(key)`."""
        self._old: dict[Any, Fact] = {}
        self._leaving: list[Any] = []  # the keys of the old generation, newest first; some have moved on
        self.bytes = 0

    def find_old(self, key: Any) -> Fact | None:
        """Return the fact of `key` if it is in the old generation, and make it young. No lock, O(1)."""
        fact = self._old.pop(key, None)
        if fact is not None:
            self.young[key] = fact
        return fact

    def put(self, key: Any, fact: Fact) -> None:
        """Keep `fact` under `key` in place of an earlier one. O(1)."""
        before = self.young.get(key) or self._old.pop(key, None)
        if before is not None:
            self.bytes -= before[0]
        self.young[key] = fact
        self.bytes += fact[0]

    def shrink(self, most: int, dropped: list[Any]) -> None:
        """Let the oldest facts go until at most `most` bytes are left; they are added to `dropped`. O(1) amortised."""
        while self.bytes > most:
            if not self._leaving:
                if not self._old and not self.young:
                    self.bytes = 0
                    return
                self._turn(dropped)
                continue
            fact = self._old.pop(self._leaving.pop(), None)
            if fact is not None:
                self.bytes -= fact[0]
                dropped.append(fact)

    def clear(self) -> None:
        """Drop everything."""
        self.young, self._old, self._leaving, self.bytes = {}, {}, [], 0

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def _turn(self, dropped: list[Any]) -> None:
        """Make the young generation the old one."""
        dropped += self._old.values()  # moved back by a reader that had been held up since the turn before
        self._old, self.young = self.young, {}
        self._leaving = list(self._old)
        self._leaving.reverse()
        # Counted anew: a fact that two threads moved and put at once was counted twice.
        self.bytes = sum([fact[0] for fact in list(self._old.values())])
