"""Which requests arrived, how many at once, and how their answers ended; and waiting for that without sleeping.

The server's loop writes, any thread reads. Bounded: the last `keep` requests, and of them at most `keep_bytes` of
bodies.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["pending", "complete", "error", "cut", "abandoned", "stopped"]
"""`error`: an HTTP error, or an error event. `cut`: ended early, as told. `abandoned`: the client left first.
`stopped`: the server was stopped first."""


@dataclass(slots=True, eq=False)
class Call:
    """One request as it arrived, and how it went. Header names are lower case."""

    number: int
    protocol: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    raw: bytes = field(repr=False)
    body: Any = field(repr=False, default=None)
    """The decoded JSON; None if it is none."""
    prompt: str = field(repr=False, default="")
    """The text of the last user message as it was sent, directives included."""
    stream: bool = False
    status: int | None = None
    """The status sent; None while no byte was."""
    events: int = 0
    """Events of a stream sent so far."""
    outcome: Outcome = "pending"


class CallLog:
    """The requests of one provider."""

    def __init__(self, *, keep: int, keep_bytes: int) -> None:
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._lock = threading.Lock()
        self._waiters: list[tuple[Callable[[], bool], Future[None]]] = []
        self._requests: deque[Call] = deque()
        self._bytes = self._dropped = 0
        self.total = self.active = self.most = self.held = 0

    def reset(self) -> None:
        """Forget the requests. Answers that are on their way stay `active`."""
        with self._lock:
            self._requests.clear()
            self._bytes = self._dropped = self.total = 0
            self.most = self.active

    def begin(self, call: Call) -> None:
        """Count an arrived request."""
        with self._lock:
            self.total += 1
            call.number = self.total
            self._requests.append(call)
            self._bytes += len(call.raw)
            while len(self._requests) > self._keep or (self._bytes > self._keep_bytes and len(self._requests) > 1):
                self._bytes -= len(self._requests.popleft().raw)
                self._dropped += 1
            self.active += 1
            self.most = max(self.most, self.active)
        self.changed()

    def end(self, call: Call, outcome: Outcome) -> None:
        """Count the end of an answer."""
        with self._lock:
            call.outcome = outcome
            self.active -= 1
        self.changed()

    def requests(self) -> tuple[Call, ...]:
        """Return the requests that are kept, oldest first."""
        with self._lock:
            return tuple(self._requests)

    def matching(self, matches: Callable[[Call], bool]) -> list[Call]:
        """Return the requests for which `matches`. Raises RuntimeError if some are not kept any more."""
        with self._lock:
            if self._dropped:
                raise RuntimeError(
                    f"{self.total} requests arrived and only the last {len(self._requests)} are kept, too few; "
                    "build the provider with a larger keep= or keep_bytes=, or call reset()"
                )
            kept = tuple(self._requests)
        return [call for call in kept if matches(call)]

    # Waiting. Called on the server's loop alone.

    def watch(self, condition: Callable[[], bool]) -> Future[None]:
        """Return a future that is done once `condition` holds. It is evaluated at each change."""
        waiter: Future[None] = Future()
        self._waiters.append((condition, waiter))
        self.changed()
        return waiter

    def changed(self) -> None:
        """Evaluate the conditions that are waited for."""
        waiting, self._waiters = self._waiters, []
        for condition, waiter in waiting:
            if waiter.cancelled():
                continue
            try:
                holds = condition()
            except Exception as error:  # noqa: BLE001 - a bug of the caller's condition, told to that caller
                waiter.set_exception(error)
                continue
            if not holds:
                self._waiters.append((condition, waiter))
            elif waiter.set_running_or_notify_cancel():
                waiter.set_result(None)
