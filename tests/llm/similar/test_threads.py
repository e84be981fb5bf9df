"""Threads for functions that may hang: a few, none of the loop's, and none that a process waits for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from contextvars import ContextVar
from typing import Any

import pytest

from cachecore_llm.similar import threads
from cachecore_llm.similar.threads import Threads

HUNG_EMBEDDER = """
import asyncio, threading
from cachecore_llm.similar.embedder import Embedder

async def main():
    began = threading.Event()

    def hung(texts):
        began.set()
        threading.Event().wait()

    asking = asyncio.create_task(Embedder(hung).vectors(["a"]))
    assert await asyncio.to_thread(began.wait, 60)
    print("over")

asyncio.run(main())
"""
HUNG_JUDGE = """
import asyncio, threading
from cachecore_llm.similar.shadow import ShadowCheck

async def main():
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hung(*_):
        loop.call_soon_threadsafe(began.set)
        threading.Event().wait()

    judging = asyncio.create_task(ShadowCheck(hung).judge("a", "b", "c", "d"))
    await asyncio.wait_for(began.wait(), 60)
    print("over")

asyncio.run(main())
"""
FORKED = """
import asyncio, os
from cachecore_llm.similar.threads import Threads

made = Threads("made", 1)
assert asyncio.run(made.run(os.getpid)) == os.getpid()
child = os.fork()
if child == 0:
    asked = asyncio.wait_for(made.run(os.getpid), 60)
    os._exit(0 if asyncio.run(asked) == os.getpid() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert asyncio.run(made.run(os.getpid)) == os.getpid()
print("over")
"""


@pytest.mark.parametrize(
    "program",
    [
        HUNG_EMBEDDER,
        HUNG_JUDGE,
        pytest.param(FORKED, marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")),
    ],
    ids=["hung embedder", "hung judge", "forked"],
)
def test_a_process_ends(program: str) -> None:
    """Though an embedder or a judge hangs in it; and a forked child has threads of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.returncode) == ("over\n", 0), done.stderr


async def test_as_many_threads_as_it_may_have_and_no_more() -> None:
    some = Threads("some", 3)
    met = threading.Barrier(4)  # of three threads and this test
    running = [asyncio.create_task(some.run(_met, met)) for _ in range(6)]
    for _ in range(2):
        await asyncio.to_thread(met.wait, 60)
    seen = set(await asyncio.gather(*running))
    seen.update([await some.run(threading.get_ident) for _ in range(60)])
    assert len(seen) == 3
    assert threading.get_ident() not in seen


async def test_a_call_that_is_cancelled_before_it_begins_is_forgotten() -> None:
    """Calls behind a function that hangs would fill the memory."""
    one = Threads("one", 1)
    released, began = threading.Event(), threading.Event()

    def hang() -> bool:
        began.set()
        return released.wait(60)

    hung = asyncio.create_task(one.run(hang))
    assert await asyncio.to_thread(began.wait, 60)
    late: list[int] = []
    waiting = [asyncio.create_task(one.run(late.append, number)) for number in range(50)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not one._crew._waiting
    released.set()
    assert await hung
    assert await one.run(lambda: list(late)) == []


async def test_the_context_of_the_caller_is_there() -> None:
    asked: ContextVar[str] = ContextVar("asked")
    asked.set("here")
    assert await Threads("one", 1).run(asked.get) == "here"


@pytest.mark.parametrize("error", [ValueError, SystemExit, StopIteration])
async def test_an_error_reaches_its_caller_and_the_thread_goes_on(error: type[BaseException]) -> None:
    """A StopIteration, which no future takes, is the cause of another error."""
    one = Threads("one", 1)

    def broken() -> Any:
        raise error("no")

    async with asyncio.timeout(60):
        try:
            await one.run(broken)
        except BaseException as raised:
            found = raised
            assert error in (type(found), type(found.__cause__))
        else:
            pytest.fail("no error")
        assert await one.run(lambda: 7) == 7


async def test_a_thread_without_work_ends_and_another_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE", 0.01)
    one = Threads("one", 1)
    first = await one.run(threading.current_thread)
    await asyncio.to_thread(first.join, 60)
    assert not first.is_alive()
    assert await one.run(threading.current_thread) is not first


async def test_a_thread_that_cannot_begin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Threads("one", 1)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start"):
            await one.run(lambda: 7)
    assert await one.run(lambda: 7) == 7


def _met(met: threading.Barrier) -> int:
    met.wait(60)
    return threading.get_ident()
