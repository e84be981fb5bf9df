"""The queue that the reading threads share."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from queue import Empty
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedQueue(Generic[T]):
    """First in, first out; of several waiting threads, the last one to wait is woken.

    `queue.SimpleQueue` wakes the thread that has waited longest. Threads would then take turns, each time on another
    core and with a connection whose cache holds none of the pages: half of a read's time. The second thread serves jobs
    while the first one works.
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._idle: list[threading.Lock] = []  # one lock for each waiting thread, held until the thread is woken

    def put(self, item: T) -> None:
        """Add an item, from any thread, without waiting."""
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
            # The item was added before this thread was listed, so its `put` woke no thread: take it without waiting.
            try:
                self._idle.remove(woken)
            except ValueError:
                self._wake()  # a later `put` woke this thread for its own item: pass the wake-up on

    def get_nowait(self) -> T:
        """Take the first item. Raises `queue.Empty` if there is none."""
        try:
            return self._items.popleft()
        except IndexError:
            raise Empty from None

    def _wake(self) -> None:
        # No lock is in the list while all threads work; they look for items before they wait.
        with contextlib.suppress(IndexError):
            self._idle.pop().release()
