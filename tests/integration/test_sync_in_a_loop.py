"""`SyncCache` where an event loop is running in the caller's thread: notebooks, callbacks of async frameworks, trio."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, CacheError, SyncCache

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture(params=["memory://", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyncCache[Any]]:
    url = request.param if "://" in request.param else f"sqlite:///{tmp_path}/a.db"
    with SyncCache(url, ttl=60) as made:
        yield made


async def test_every_call_works_under_a_running_loop(cache: SyncCache[Any]) -> None:
    assert cache.get_or_set("q", lambda: 1) == 1
    assert cache.get_or_set("q", lambda: 2) == 1
    assert cache.lookup("q").outcome == "hit"
    assert cache.refresh("q", lambda: 3) == 3
    assert cache.get("q") == 3
    assert cache.set("r", 4)
    assert cache.get_or_set_many(["q", "r", "s"], lambda names: dict.fromkeys(names, 5)) == {"q": 3, "r": 4, "s": 5}
    assert cache.get_many(["s"]) == {"s": 5}
    assert cache.delete("q")
    assert cache.stats.stored == 4

    @cache.cached(tags=["t"])
    def ask(question: str) -> str:
        return question[::-1]

    assert (ask("olleh"), ask("olleh"), ask.lookup("olleh").outcome) == ("hello", "hello", "hit")
    cache.invalidate_tags("t")
    assert ask.lookup("olleh").outcome == "computed"


async def test_the_factory_runs_in_the_thread_of_the_loop(cache: SyncCache[Any]) -> None:
    assert cache.get_or_set("q", threading.get_ident) == threading.get_ident()


CALLS: dict[str, Callable[[SyncCache[Any], Callable[[], Any]], Any]] = {
    "get_or_set": lambda cache, factory: cache.get_or_set("q", factory),
    "lookup": lambda cache, factory: cache.lookup("q", factory).value,
    "refresh": lambda cache, factory: cache.refresh("q", factory),
    "get_or_set_many": lambda cache, factory: cache.get_or_set_many(["q"], lambda _: {"q": factory()})["q"],
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_factory_that_needs_the_loop_and_code_on_the_loop_that_asks_the_same_both_end(
    cache: SyncCache[Any], call: str
) -> None:
    """The call on the loop would wait for the thread's flight, whose factory waits for the loop."""
    loop = asyncio.get_running_loop()
    running = threading.Event()

    async def on_the_loop() -> str:
        return "from the loop"

    def factory() -> str:
        running.set()
        return asyncio.run_coroutine_threadsafe(on_the_loop(), loop).result(30)

    asked = loop.run_in_executor(None, cache.get_or_set, "q", factory)
    assert running.wait(30)  # the loop stands still from here on
    began = time.monotonic()
    assert CALLS[call](cache, lambda: "computed here") == "computed here"
    assert time.monotonic() - began < 20  # the factory waits for 30 s
    assert await asked == "from the loop"


async def test_the_claim_of_another_process_is_not_waited_for(tmp_path: Path) -> None:
    """Another cache on the store stands for the process; its holder needs the loop that is blocked here."""
    url = f"sqlite:///{tmp_path}/a.db"
    here: SyncCache[Any] = SyncCache(url, ttl=60)
    with here:
        async with Cache(url, ttl=60) as there:
            release = asyncio.Event()
            running = asyncio.Event()

            async def factory() -> str:
                running.set()
                await release.wait()
                return "there"

            asked = asyncio.ensure_future(there.get_or_set("q", factory))
            await running.wait()
            assert here.get_or_set("q", lambda: "here") == "here"
            assert here.get_or_set_many(["q"], lambda names: dict.fromkeys(names, "here")) == {"q": "here"}
            release.set()
            assert await asked == "there"
            assert here.get("q") == "there"  # its claim was not taken away


async def test_a_factory_asks_with_others_again(cache: SyncCache[Any]) -> None:
    """What a factory starts in other threads joins computations as ever."""
    from cachecore.engine.apart import computes_apart

    assert cache.get_or_set("q", computes_apart) is False
    assert computes_apart() is False


def test_cache_says_what_it_needs() -> None:
    cache: Cache[Any] = Cache("memory://", ttl=60)
    call = cache.set("q", 1)
    with pytest.raises(CacheError, match=r"needs an event loop of asyncio, and none .* SyncCache"):
        call.send(None)


def test_trio_is_told_what_is_needed_and_has_the_sync_face() -> None:
    import trio

    async def main() -> None:
        with pytest.raises(CacheError, match=r"under trio: run it with asyncio\.run, or use trio\.to_thread"):
            await Cache("memory://", ttl=60).set("q", 1)
        with SyncCache("memory://", ttl=60) as cache:
            assert cache.get_or_set("q", lambda: 1) == 1
            assert await trio.to_thread.run_sync(cache.get_or_set, "q", lambda: 2) == 1

    trio.run(main)


@pytest.mark.parametrize(
    ("patch", "refused"),
    [("monkey.patch_all()", True), ("monkey.patch_all(thread=False, queue=False)", True), ("pass", False)],
)
def test_gevent_is_refused_while_building_with_the_reason(patch: str, refused: bool) -> None:
    pytest.importorskip("gevent", reason="gevent has no wheel for this Python")
    code = f"from gevent import monkey; {patch}\nfrom cachecore import SyncCache\n"
    code += "with SyncCache('memory://', ttl=60) as cache: print(cache.get_or_set('q', lambda: 'fine'))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    if refused:
        assert "OptionsError: SyncCache runs an event loop in a thread of its own, and gevent" in ran.stderr
        assert "worker class gthread" in ran.stderr
    else:
        assert ran.stdout == "fine\n", ran.stderr


def test_the_example_of_the_readme_runs_in_a_notebook(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is in the dev group")
    nbformat = pytest.importorskip("nbformat")
    (example,) = re.findall(r"```python\n(from cachecore import SyncCache\n.*?)```", README.read_text(), re.DOTALL)
    cells = [*example.split("\n\n\n"), "print(ask.lookup('olleh').outcome)"]
    assert len(cells) == 4
    kernel = tmp_path / "kernels" / "here"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "here", "language": "python"}))
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(tmp_path))
        patch.chdir(tmp_path)
        nbclient.NotebookClient(book, timeout=60, kernel_name="here").execute()
    shown = "".join(output.get("text", "") for cell in book.cells for output in cell.outputs)
    assert "small says: hello small says: hello" in shown
    assert shown.endswith("computed\n")  # it was invalidated last
