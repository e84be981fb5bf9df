"""Where the time of a miss goes in the gateway: `python -m benchmarks.gateway_steps`.

The gateway runs in this process, its client, its provider (200 ms) and Redis in others. For each step of a miss: the
processor time of this process, the lower quartile of 40 misses, because other work on the machine only adds to it; and
the Python functions that are called, counted in misses of their own.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from subprocess import PIPE
from typing import Any, Final

from benchmarks.gateway import new, started
from benchmarks.gateway_load import Asking
from cachecore.engine import compute, lookup
from cachecore.testing.servers import Server, installed
from cachecore_proxy.access_log import AccessLog
from cachecore_proxy.calls import Calls
from cachecore_proxy.clients import Client
from cachecore_proxy.connections import Connection
from cachecore_proxy.gateway import Gateway
from cachecore_proxy.http11 import connection
from cachecore_proxy.server import serving
from cachecore_proxy.settings import Settings, UpstreamSettings

MISSES: Final = 40
_WARM: Final = 5
WAITS: Final = "the provider works"
STEPS: Final[tuple[tuple[str, Any, str, bool], ...]] = (
    ("", Connection, "data_received", True),
    ("the request is read: head, caller, body", Calls, "answer", True),
    ("its key is made, memory is looked at", lookup, "read_own", True),
    ("Redis is asked for the entry", lookup, "read_own", False),
    ("the claim is put, the stamps are read", compute, "take_claim", False),
    ("the request goes to the provider", connection.Exchange, "answer", True),
    (WAITS, connection.Connection, "data_received", True),
    ("its answer is parsed", connection.Exchange, "answer", False),
    ("it is read and judged", Client, "whole", True),
    ("it is sent to the caller", Client, "whole", False),
    ("behind: encoded, stored, counted, logged", Gateway, "_handled", False),
)
"""Each step, and the function at whose call (True) or return it ends."""

Mark = tuple[float, int]
"""Seconds that this process has computed, and Python functions that it has called."""


class Marks:
    """The marks of one miss."""

    def __init__(self) -> None:
        self._marks: dict[int, Mark] = {}
        self._calls = 0

    def count(self, _: Any, event: str, __: Any) -> None:
        """Count a call: a function for `sys.setprofile`."""
        self._calls += event == "call"

    def at(self, step: int) -> None:
        """Note that a step has ended, the first time in a miss."""
        if step == 0 or step not in self._marks:
            self._marks[step] = time.process_time(), self._calls
        if step == 0:
            self._marks = {0: self._marks[0]}

    def taken(self) -> list[Mark]:
        """Return what each step but the first took. Raises KeyError for a step that did not end."""
        marks = [self._marks[step] for step in range(len(STEPS))]
        return [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(marks)]


def marked(function: Callable[..., Any], marks: Marks, step: int, *, at_call: bool) -> Callable[..., Any]:
    """Return `function`, which notes the end of `step`."""

    @functools.wraps(function)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        if at_call:
            marks.at(step)
        value = await function(*arguments, **named)
        if not at_call:
            marks.at(step)
        return value

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        marks.at(step)
        return function(*arguments, **named)

    return awaited if inspect.iscoroutinefunction(function) else called


@contextmanager
def instrumented(marks: Marks) -> Iterator[None]:
    """Note the steps of misses within this block."""
    with ExitStack() as stack:
        for step, (_, holder, name, at_call) in enumerate(STEPS):
            function = getattr(holder, name)
            setattr(holder, name, marked(function, marks, step, at_call=at_call))
            stack.callback(setattr, holder, name, function)
        yield


async def measured(marks: Marks, store: str, provider: str) -> list[list[Mark]]:
    """Return what the steps of misses took: the first half by the clock, the second with calls counted."""
    upstreams = (UpstreamSettings(name="local", url=provider),)
    with open(os.devnull, "w") as out:  # noqa: ASYNC230 - opened once, before anything is served
        async with serving(Settings(store=store, upstreams=upstreams, port=0), log=AccessLog(out)) as running:
            command = (sys.executable, "-m", "benchmarks.gateway_steps", str(running.port))
            client = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
            assert client.stdin is not None
            assert client.stdout is not None
            misses: list[list[Mark]] = []
            for number in range(_WARM + 2 * MISSES):
                if number == _WARM + MISSES:
                    sys.setprofile(marks.count)
                client.stdin.write(b"\n")
                await client.stdout.readline()
                while running.gateway.activity.under_way:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.002)
                if number >= _WARM:
                    misses.append(marks.taken())
            sys.setprofile(None)
            client.stdin.close()
            await client.wait()
    return misses


async def ask(port: int) -> None:
    """Ask a new question for each line of the input, and write a line when its answer has come."""
    asking = await Asking.at(port)
    while await asyncio.to_thread(sys.stdin.readline):
        await asking.ask(new())
        print(flush=True)
    await asking.close()


def main() -> None:
    marks = Marks()
    with ExitStack() as stack:
        redis = stack.enter_context(Server(next(iter(installed().values()))))
        upstream = stack.enter_context(started("upstream", loop="asyncio"))
        stack.enter_context(instrumented(marks))
        misses = asyncio.run(measured(marks, redis.url, upstream.url))
    timed, counted = misses[:MISSES], misses[MISSES:]
    print("| step of a miss | processor | Python calls |\n|---|---|---|")
    rows = [
        (
            statistics.quantiles([miss[place][0] for miss in timed])[0] * 1e6,
            statistics.median(miss[place][1] for miss in counted),
        )
        for place in range(len(STEPS) - 1)
    ]
    for (step, *_), (microseconds, calls) in zip(STEPS[1:], rows, strict=True):
        if step != WAITS:
            print(f"| {step} | {microseconds:,.0f} µs | {calls:.0f} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(ask(int(sys.argv[1])))
    else:
        main()
