"""State of event loops, kept by the loops themselves: a loop that is dropped without being closed frees its state.

State refers to its loop, through tasks, timers and transports. A table that held it would keep a dropped loop and its
connections for as long as the process lives, and weak keys do not help, since each value refers to its key. So a loop
carries its state as an attribute, and the table knows the loops by weak references alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import weakref
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

_ATTRIBUTE: Final = "_cachecore_states"
_numbers: Final = itertools.count()


class LoopLocal(Generic[T]):
    """At most one T for each event loop; lives as long as both the loop and this table. Safe to use from threads.

    There are no locks: the end of an object may come in any thread, in the middle of anything.
    """

    __slots__ = ("__weakref__", "_finalizer", "_loops", "_number")

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._number = next(_numbers)
        self._loops: dict[int, weakref.ref[asyncio.AbstractEventLoop]] = {}  # by id; a new loop may get an old one's
        self._finalizer = weakref.finalize(self, _drop_all, self._number, self._loops)
        self._finalizer.atexit = False  # the loops go with the process

    def get(self, loop: asyncio.AbstractEventLoop) -> T | None:
        """Return the state of `loop`, or None."""
        try:
            states = loop._cachecore_states  # type: ignore[attr-defined] # noqa: SLF001 - set below
        except AttributeError:
            return None
        state: T | None = states.get(self._number)
        return state

    def set(self, loop: asyncio.AbstractEventLoop, value: T) -> None:
        """Let `loop` have `value`."""
        for known, reference in list(self._loops.items()):
            other = reference()
            if other is None or other.is_closed():
                self._loops.pop(known, None)
                if other is not None:
                    _states_of(other).pop(self._number, None)
        _states_of(loop)[self._number] = value
        self._loops[id(loop)] = weakref.ref(loop)

    def pop(self, loop: asyncio.AbstractEventLoop) -> T | None:
        """Remove and return the state of `loop`."""
        state: T | None = _states_of(loop).pop(self._number, None)
        return state

    def items(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """Return the loops that are alive and have a T, closed ones included."""
        pairs = []
        for reference in list(self._loops.values()):
            loop = reference()
            value = None if loop is None else self.get(loop)
            if loop is not None and value is not None:
                pairs.append((loop, value))
        return pairs

    def open(self) -> list[T]:
        """Return the states of the loops that are alive and not closed."""
        states = []
        for reference in list(self._loops.values()):
            loop = reference()
            if loop is not None and not loop.is_closed():
                state = self.get(loop)
                if state is not None:
                    states.append(state)
        return states

    def loops(self) -> list[asyncio.AbstractEventLoop]:
        """Return the loops that are alive and have a T, closed ones included."""
        return [loop for loop, _ in self.items()]

    def __len__(self) -> int:
        return len(self.items())

    def forget(self) -> None:
        """Start anew, as in a forked child: the loops keep their states, unused, so that nothing ends them."""
        self._finalizer.detach()
        self._begin()


def in_background(task: asyncio.Task[T]) -> asyncio.Task[T]:
    """Return `task`, which has no caller: asyncio does not complain of it when it goes with a loop that is dropped."""
    task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - as `asyncio.gather` does
    return task


def _states_of(loop: asyncio.AbstractEventLoop) -> dict[int, Any]:
    states: dict[int, Any] = vars(loop).setdefault(_ATTRIBUTE, {})
    return states


def _drop_all(number: int, loops: dict[int, weakref.ref[asyncio.AbstractEventLoop]]) -> None:
    """Let each loop drop the state of a table that is gone, in its own thread: tasks and transports end there."""
    for reference in list(loops.values()):
        loop = reference()
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # closed; its state goes with it
                loop.call_soon_threadsafe(_states_of(loop).pop, number, None)
