"""An asyncio loop whose time is virtual: it jumps to the next timer instead of waiting for it.

    clock = VirtualClock()
    clock.run(main())          # an hour of sleeps, timeouts and leases takes milliseconds

Everything that waits through the loop (`asyncio.sleep`, timeouts, `call_later`) takes no real time and happens in the
same order in every run. A loop that has nothing left to wait for can never go on: that is an error, not a hang. Threads
and sockets are not for this loop; the clock is for the code under test.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

_START: Final = 1000.0
_EPOCH: Final = 1_700_000_000.0
_PAST: Final = 1e-9


class Stuck(AssertionError):  # noqa: N818 - names the state of the loop
    """Every task waits for something that nothing will bring."""


class _InstantSelector(selectors.BaseSelector):
    """Finds no event, ever; asked to wait, it moves time on instead."""

    def __init__(self) -> None:
        self.now = _START
        self.turns = 0
        self.at_turn: dict[int, Callable[[], object]] = {}
        self._map: dict[int, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data)
        self._map[key.fd] = key  # the loop's own wake-up pipe
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._map.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        if self.turns in self.at_turn:
            self.at_turn.pop(self.turns)()
            return []
        if timeout is None:
            raise Stuck("nothing is ready and no timer is set: whoever waits now waits for ever")
        if timeout > 0:
            self.now += timeout + _PAST  # rounding must not leave it just before the timer, for ever
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._map


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time."""

    def __init__(self) -> None:
        self._instant = _InstantSelector()
        super().__init__(self._instant)

    def time(self) -> float:
        """Return the virtual seconds so far."""
        return self._instant.now

    @property
    def turns(self) -> int:
        """How often the loop has gone round so far."""
        return self._instant.turns

    def call_at_turn(self, turn: int, callback: Callable[[], object]) -> None:
        """Call `callback` when the loop has gone round `turn` times: at that step of the running tasks."""
        self._instant.at_turn[turn] = callback

    def stall(self, seconds: float) -> None:
        """Let `seconds` pass at once, as when something blocks the loop for that long."""
        self._instant.now += seconds


class VirtualClock:
    """`Clock` of one virtual loop, and the way to run something on it.

    `skew` is by how many seconds the wall clock is wrong; it may be changed at any time.
    """

    counts_sleep = True

    def __init__(self, *, skew: float = 0.0) -> None:
        self.loop = VirtualLoop()
        self.skew = skew

    def monotonic(self) -> float:
        """Return the loop's seconds."""
        return self.loop.time()

    def time(self) -> float:
        """Return the Unix time that the host would show."""
        return _EPOCH + self.loop.time() - _START + self.skew

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run `main` to its end in virtual time, then cancel remaining tasks and close the loop. Once only."""
        problems: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: problems.append(context))
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            result = runner.run(main)
        if problems:
            raise AssertionError(f"the loop was told of {problems[0].get('message')}") from problems[0].get("exception")
        return result
