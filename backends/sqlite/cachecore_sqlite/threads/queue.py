"""The queue that the reading threads share."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from queue import Empty
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedQueue(Generic[T]):
    """First in, first out; of the threads that wait, the one that came last gets the next item.

    `queue.SimpleQueue` wakes the one that has waited longest. So threads would take turns, on another core each time,
    with connections that have none of the pages at hand: half of a read's time. The second one is for when the first is
    at work.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._idle: list[threading.Lock] = []  # what each waiting thread waits for, held until it is woken

    def put(self, item: T) -> None:
        """Add an item, from any thread; never waits."""
        self._items.append(item)
        self._wake()

    def get(self) -> T:
        """Take the first item; wait until there is one."""
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                pass
            woken = threading.Lock()
            woken.acquire()
            self._idle.append(woken)
            if not self._items:
                woken.acquire()
                continue
            # What was put just before that has woken nobody; it is ours, so we do not wait.
            try:
                self._idle.remove(woken)
            except ValueError:
                self._wake()  # what was put since is for another one

    def get_nowait(self) -> T:
        """Take the first item. Raises `queue.Empty` if there is none."""
        try:
            return self._items.popleft()
        except IndexError:
            raise Empty from None

    def _wake(self) -> None:
        # Those at work look here before they wait.
        with contextlib.suppress(IndexError):
            self._idle.pop().release()
