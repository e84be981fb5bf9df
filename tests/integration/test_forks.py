"""What a forked child keeps of its parent, part by part: its guard, its memory, its journal, its thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from cachecore import SyncCache
from cachecore.invalidation.outbox.backlog import Groups, Root, entries
from cachecore.invalidation.outbox.journal import Journal
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.tier import MemoryTier

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    # Python 3.12 and later warn of a fork while threads run, which is the case here.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


def test_a_guard_in_a_child_starts_anew() -> None:
    """Neither the parent's calls nor its opinion of the store are the child's."""
    code = """
        import asyncio, os, random
        from tests.unit.store.guarded import Guarded
        from cachecore.contract.errors import BackendError

        made = Guarded(max_in_flight=4, backend_timeout=0.05)

        async def parent():
            made.store.hang("get_many", swallow=None)
            for i in range(4):
                try:
                    await made.guard.get_many(["k"])
                except BackendError:
                    pass
            assert made.guard.states() == {"": "open"}, made.guard.states()
            assert made.guard.under_way >= 3
            child = os.fork()
            if child == 0:
                asyncio._set_running_loop(None)
                made.store._faults.clear()
                assert made.guard.states() == {"": "closed"}
                assert made.guard.under_way == 0
                code = 0 if asyncio.new_event_loop().run_until_complete(made.guard.get_many(["k"])) == [None] else 1
                os._exit(code)
            assert os.waitpid(child, 0)[1] == 0
            assert made.guard.states() == {"": "open"}
            made.store.heal()

        asyncio.run(parent())
        print("ok")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "ok\n"
    (line,) = done.stderr.splitlines()  # the parent's, and nothing of the child
    assert line.startswith("FaultyBackend is away (timeout)")


def test_a_stream_is_left_to_the_parent() -> None:
    """A child forked while a stream runs has one of its own; dropping the parent's there ends nothing."""
    code = """
        import asyncio, gc, os
        from cachecore import Cache, CacheError
        from tests.unit.engine.stream_sources import WORDS, Source, ask, read

        cache, source = Cache("memory://", ttl=60), Source()

        async def child(stream):
            try:
                await anext(stream)
            except CacheError as error:
                assert "another event loop" in str(error)
            else:
                raise AssertionError("the parent's stream was read")
            del stream
            gc.collect()
            own = Source()
            assert await read(ask(cache, own)) == list(WORDS)
            assert own.begun == 1

        async def parent():
            stream = ask(cache, source)
            assert await anext(stream) == WORDS[0]
            pid = os.fork()
            if pid == 0:
                asyncio._set_running_loop(None)
                asyncio.new_event_loop().run_until_complete(child(stream))
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            assert await read(stream) == list(WORDS[1:])
            assert await cache.get("q") == "".join(WORDS)
            assert (source.begun, source.ended) == (1, 1)

        asyncio.run(parent())
        print("ok")
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_a_child_forked_in_the_midst_of_a_put_can_use_its_tier() -> None:
    """The thread that held the lock is not in the child; the child starts empty rather than waiting for ever."""
    inside, leave = threading.Event(), threading.Event()

    class Stuck(LruPolicy):
        def evict(self) -> str:
            inside.set()
            assert leave.wait(30)
            return super().evict()

    tier: MemoryTier[object] = MemoryTier(max_bytes=1 << 30, max_entries=1, policy=Stuck)
    tier.put("a", "a", 1)
    writer = threading.Thread(target=tier.put, args=("b", "b", 1))
    writer.start()
    assert inside.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a child that waits for ever dies of it
        tier.put("c", "c", 1)
        os._exit(0 if (tier.get("c"), len(tier)) == ("c", 1) else 1)
    leave.set()
    writer.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert set(tier) == {"b"}


def test_a_journal_is_left_to_the_parent(tmp_path: Path) -> None:
    """A child neither writes to it nor keeps it locked; what pends in both is in a file of each."""
    root = ("p:s:n",)
    groups: Groups = (("p:s:n/faq",), root)

    def journal() -> Journal:
        return Journal(str(tmp_path), Root("p", root))

    items = entries(["p:e:1"], groups)
    owner = journal()
    owner.append(items)
    assert owner.flush(lambda: items)
    child = os.fork()
    if child == 0:
        try:
            owner.after_fork()
            owner.append(entries(["p:e:2"], groups))
            owner.flush(lambda: [*items, *entries(["p:e:2"], groups)])
            os.kill(os.getpid(), 9)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 9
    assert len(list(tmp_path.iterdir())) == 2
    heir = journal()
    assert {item.name for item in heir.adopt()} == {"p:e:1", "p:e:2"}  # the child's; the parent lives
    heir.clear()
    owner.close()
    assert {item.name for item in heir.adopt()} == {"p:e:1"}


def test_a_child_counts_from_zero() -> None:
    """What the parent has counted is the parent's to report."""
    cache: SyncCache[object] = SyncCache("memory://", ttl=60)
    cache.get_or_set("q", lambda: 1)
    cache.get("q")
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        code = 1
        try:
            zero = cache.stats
            cache.get("q")
            seen = cache.stats
            right = (zero.computed, zero.hits_l1, zero.stored, zero.factory_calls) == (0, 0, 0, 0)
            code = 0 if right and seen.hits_l1 + seen.hits_l2 == 1 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert cache.stats.computed == 1
    cache.close()


def test_a_sync_cache_in_a_child_has_a_thread_of_its_own() -> None:
    cache: SyncCache[object] = SyncCache("memory://", ttl=60)
    cache.set("q", 1)
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        code = 1
        try:
            code = 0 if cache.get_or_set("new", lambda: 2) == 2 else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert cache.get("q") == 1
    cache.close()
