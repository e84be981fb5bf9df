"""Tickets: the keys that each read and write under way covers, and which of them have changed since it began.

The report of a changed key voids the tickets that cover it, and a void ticket fills nothing: so a copy is never made
from bytes that were already old when they arrived. Tickets are indexed by key, so that the cost of a change does not
grow with the number of reads and writes under way.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

_FEW: Final = 4096
"""Keys in the index at which it is first searched for keys without live tickets."""
_SHORT: Final = 8
"""Tickets of one key, likewise."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Ticket:
    """One read or write under way, and which of its keys have changed meanwhile. In force while it is referenced."""

    keys: Collection[str]
    """Covered keys; fixed once the ticket is opened."""
    writes: bool = field(default=False, kw_only=True)
    epoch: int = field(default=-1, kw_only=True)
    """The feed's epoch when the ticket was opened; see `FeedState.epoch`."""
    asked_at: float = field(default=0.0, kw_only=True)
    """Monotonic second just before the store was asked."""
    void: set[str] | None = field(default=None, init=False)
    """Keys that changed; None while there are none, which is nearly always."""

    def covers(self, key: str) -> bool:
        """Return whether a value of `key` that was read under this ticket may still be kept."""
        return self.void is None or key not in self.void

    def cancel(self, keys: Iterable[str]) -> None:
        """Void the ticket for these of its keys."""
        self.void = {*keys, *(self.void or ())}  # replaced, not added to: readers take no lock


class Tickets:
    """The tickets of one cache in one process. Safe to use from several threads."""

    def __init__(self) -> None:
        # Reentrant: a garbage collection within may end a write that was abandoned with its loop, which closes here.
        self._lock = threading.RLock()
        self._index: dict[str, list[weakref.ref[Ticket]]] = {}  # key -> tickets, some gone; guarded by _lock
        self._look_at = _FEW  # keys
        self._long: dict[str, int] = {}  # key -> the number of its tickets at which to look for those that are gone

    @property
    def under_way(self) -> int:
        """How many reads and writes are under way. O(n)."""
        with self._lock:
            return len(set(self._all()))

    def open(self, ticket: Ticket) -> None:
        """Take notice of `ticket`. A read's must be open before the store is asked."""
        with self._lock:
            self._enter(ticket)

    def open_write(self, keys: Collection[str], *, epoch: int = -1, asked_at: float = 0.0) -> Ticket:
        """Return the ticket of a write of `keys`; tickets that cover one of them are void for it from now on.

        Two writes of one key at the same time void each other: which of them the store saw last is not known here.
        """
        ticket = Ticket(frozenset(keys), writes=True, epoch=epoch, asked_at=asked_at)
        with self._lock:
            for other, shared in self._concerned(ticket.keys).items():
                other.cancel(shared)
                if other.writes:
                    ticket.cancel(shared)
            self._enter(ticket)
        return ticket

    def close_write(self, ticket: Ticket) -> None:
        """End a write: reads that began while it was under way may have seen either value, so they keep nothing.

        The ticket stays in force until it is released: the written value may be kept only if it has not changed since.
        """
        with self._lock:
            ticket.writes = False
            for other, shared in self._concerned(ticket.keys).items():
                if other is not ticket:
                    other.cancel(shared)

    def void(self, keys: Collection[str]) -> None:
        """Void the tickets of these keys."""
        with self._lock:
            for ticket, shared in self._concerned(keys).items():
                ticket.cancel(shared)

    def void_all(self) -> None:
        """Void everything under way."""
        with self._lock:
            for ticket in set(self._all()):
                ticket.cancel(list(ticket.keys))

    def _enter(self, ticket: Ticket) -> None:
        reference = weakref.ref(ticket)
        index = self._index
        for key in ticket.keys:
            others = index.get(key)
            if others is None:
                index[key] = [reference]
                continue
            others.append(reference)
            if len(others) >= _SHORT and len(others) >= self._long.get(key, 0):
                index[key] = live = _live(others)
                self._long[key] = 2 * len(live)  # as many new ones as this look was long
        if len(index) > self._look_at:
            self._index = {key: live for key, tickets in index.items() if (live := _live(tickets))}
            self._long = {key: limit for key, limit in self._long.items() if key in self._index}
            self._look_at = max(_FEW, 2 * len(self._index))

    def _concerned(self, keys: Collection[str]) -> dict[Ticket, list[str]]:
        """Return the tickets that cover some of `keys`, and which."""
        concerned: dict[Ticket, list[str]] = {}
        for key in keys:
            for reference in self._index.get(key, ()):
                ticket = reference()
                if ticket is not None:
                    concerned.setdefault(ticket, []).append(key)
        return concerned

    def _all(self) -> Iterator[Ticket]:
        for tickets in self._index.values():
            for reference in tickets:
                ticket = reference()
                if ticket is not None:
                    yield ticket


def _live(references: list[weakref.ref[Ticket]]) -> list[weakref.ref[Ticket]]:
    return [one for one in references if one() is not None]
