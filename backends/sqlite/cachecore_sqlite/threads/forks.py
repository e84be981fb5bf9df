"""Forks: every connection is closed before one, and each side opens its own after it.

SQLite keeps which locks a process holds in that process's memory. A child would inherit the belief and not the locks,
even for connections it opens itself, and two processes would write one log. So nothing open is carried across.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """What must be still while the process forks."""

    def before_fork(self) -> None:
        """Finish what is under way, close all connections, and begin nothing until `after_fork`."""

    def after_fork(self, *, in_child: bool) -> None:
        """Go on; in the child, without the threads and callers of the parent."""


_registered: WeakSet[Forkable] = WeakSet()
_lock = threading.Lock()
_paused: list[Forkable] = []  # those held still by the fork that is under way


def register(one: Forkable) -> None:
    """Hold `one` still at each fork, for as long as it lives."""
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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
