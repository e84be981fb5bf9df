"""The queue of the reading threads: no item is lost, no thread sleeps beside work, the last one to wait is woken."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from queue import Empty

import pytest

from cachecore_sqlite.threads.queue import SharedQueue


def _waiting(queue: SharedQueue[int | None], count: int) -> None:
    limit = time.monotonic() + 60
    while len(queue._idle) < count:
        assert time.monotonic() < limit
        time.sleep(0)  # releases the interpreter: no event shows that a thread waits


def _getting(queue: SharedQueue[int | None], got: list[int | None]) -> threading.Thread:
    thread = threading.Thread(target=lambda: got.append(queue.get()), daemon=True)
    thread.start()
    return thread


def test_first_in_first_out() -> None:
    """Without threads it is a queue."""
    queue: SharedQueue[int | None] = SharedQueue()
    for item in (1, 2, None):
        queue.put(item)
    assert [queue.get(), queue.get_nowait(), queue.get()] == [1, 2, None]
    with pytest.raises(Empty):
        queue.get_nowait()


def test_the_thread_that_came_last_is_woken() -> None:
    """Its connection has the file's pages cached; the others sleep on."""
    queue: SharedQueue[int | None] = SharedQueue()
    first: list[int | None] = []
    last: list[int | None] = []
    threads = [_getting(queue, first)]
    _waiting(queue, 1)
    threads.append(_getting(queue, last))
    _waiting(queue, 2)
    queue.put(1)
    threads[1].join(60)
    assert (first, last) == ([], [1])
    queue.put(2)
    threads[0].join(60)
    assert first == [2]


class _Interrupted(deque[int | None]):
    """A list of items to which other threads add at the moment in which a thread finds it empty.

    Patched in for `_items`; the promise is that `get` misses no item.
    """

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self._meanwhile: Callable[[], None] | None = meanwhile

    def __len__(self) -> int:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().__len__()


def test_who_is_woken_for_nothing_wakes_another() -> None:
    """A thread about to wait finds an item; woken for the next one as well, it passes the wake-up on."""
    queue: SharedQueue[int | None] = SharedQueue()
    waiting: list[int | None] = []
    thread = _getting(queue, waiting)
    _waiting(queue, 1)

    def meanwhile() -> None:
        items.append(None)  # by a put just before, which found no waiting thread
        queue.put(None)

    queue._items = items = _Interrupted(meanwhile)
    assert queue.get() is None
    thread.join(60)
    assert waiting == [None]


def test_every_item_is_taken_once_and_every_thread_ends() -> None:
    """Also if threads are interrupted at every moment."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            queue: SharedQueue[int | None] = SharedQueue()
            taken: list[int] = []

            def consume(queue: SharedQueue[int | None] = queue, taken: list[int] = taken) -> None:
                while (item := queue.get()) is not None:
                    taken.append(item)

            def produce(start: int, queue: SharedQueue[int | None] = queue) -> None:
                for item in range(start, start + 50):
                    queue.put(item)

            consumers = [threading.Thread(target=consume, daemon=True) for _ in range(3)]
            producers = [threading.Thread(target=produce, args=(50 * number,)) for number in range(3)]
            for thread in (*consumers, *producers):
                thread.start()
            for thread in producers:
                thread.join()
            for _ in consumers:
                queue.put(None)
            for thread in consumers:
                thread.join(60)
                assert not thread.is_alive()
            assert Counter(taken) == Counter(range(150))
    finally:
        sys.setswitchinterval(interval)
