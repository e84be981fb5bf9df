"""Forks: every connection is closed before a fork, and parent and child open new ones after it.

SQLite records the locks of a process in the memory of that process. A child would inherit the record without the locks,
even for connections that it opens itself, and two processes would write one WAL. So no connection is open during a
fork.
"""

from __future__ import annotations

import threading
from typing import Protocol
from weakref import WeakSet

from cachecore.contract.forks import around, in_child


class Forkable(Protocol):
    """An object that pauses while the process forks."""

    def before_fork(self) -> None:
        """Finish the running statements, close all connections, and start nothing until `after_fork`."""

    def after_fork(self, *, in_child: bool) -> None:
        """Continue; in the child without the threads and callers of the parent."""


_registered: WeakSet[Forkable] = WeakSet()
_lock = threading.Lock()
_paused: list[Forkable] = []  # paused by the current fork


def register(one: Forkable) -> None:
    """Pause `one` at each fork, for as long as it lives."""
    with _lock:
        _registered.add(one)


def _before() -> None:
    _lock.acquire()
    for one in list(_registered):
        one.before_fork()
        _paused.append(one)


def _after_in_parent() -> None:
    _after(in_child=False)


def _after_in_child() -> None:
    _after(in_child=True)


def _after(*, in_child: bool) -> None:
    while _paused:
        _paused.pop().after_fork(in_child=in_child)
    _lock.release()


around(_before, _after_in_parent)
in_child(_after_in_child)
