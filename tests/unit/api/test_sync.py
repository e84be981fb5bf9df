"""`SyncCache`: the same promises for threads."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cachecore import Cache, CacheError, FlightCycleError, SyncCache, bypass


@pytest.fixture
def cache() -> Iterator[SyncCache[object]]:
    with SyncCache[object]("memory://", ttl=60) as made:
        yield made


def test_answers_are_computed_once_and_kept(cache: SyncCache[object]) -> None:
    assert cache.get_or_set("q", lambda: 1) == 1
    assert cache.get_or_set("q", lambda: 2) == 1
    assert cache.get("q") == 1
    assert cache.get("other", "none") == "none"


def test_a_hit_in_memory_never_enters_the_loop(cache: SyncCache[object]) -> None:
    """No thread is started as long as memory answers."""
    shared: Cache[object] = Cache("memory://", ttl=60)
    asyncio.run(shared.set("q", 1))
    before = threading.active_count()
    reader: SyncCache[object] = SyncCache(shared)
    assert reader.get("q") == 1
    assert reader.get_or_set("q", lambda: 2) == 1
    for known in (reader.lookup("q"), reader.lookup("q", lambda: 2), reader.peek_lookup("q")):
        assert known is not None
        assert (known.value, known.outcome, known.tier) == (1, "hit", "l1")
    assert threading.active_count() == before
    assert reader.stats.hits_l1 == 5


def test_the_factory_runs_in_its_callers_thread(cache: SyncCache[object]) -> None:
    assert cache.get_or_set("q", threading.get_ident) == threading.get_ident()


def test_threads_share_one_computation(cache: SyncCache[object]) -> None:
    calls: list[int] = []
    everybody = threading.Barrier(8)
    release = threading.Event()

    def factory() -> int:
        calls.append(threading.get_ident())
        release.wait(60)
        return 7

    def ask() -> object:
        everybody.wait()
        return cache.get_or_set("q", factory)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]
        while cache.stats.joined == 0 and not calls:
            pass
        release.set()
        assert [one.result() for one in asked] == [7] * 8
    assert len(calls) == 1


def test_the_factorys_exception_reaches_every_caller(cache: SyncCache[object]) -> None:
    def factory() -> int:
        raise LookupError("no provider")

    with pytest.raises(LookupError, match="no provider"):
        cache.get_or_set("q", factory)
    assert cache.get("q") is None


def test_an_interrupt_in_the_factory_ends_its_caller_and_frees_the_key(cache: SyncCache[object]) -> None:
    def factory() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get_or_set("q", factory)
    assert cache.get_or_set("q", lambda: 3) == 3


def test_a_factory_that_asks_for_its_own_key_is_told(cache: SyncCache[object]) -> None:
    def factory() -> object:
        return cache.get_or_set("q", lambda: 1)

    with pytest.raises(FlightCycleError, match="tries again by calling itself does so within `with bypass"):
        cache.get_or_set("q", factory)


def test_a_function_tries_again_by_calling_itself_past_the_cache(cache: SyncCache[object]) -> None:
    tries = iter(["bad", "bad", "good"])

    @cache.cached
    def ask(question: str) -> str:
        answer = next(tries)
        if answer == "bad":
            with bypass():
                return ask(question)
        return answer

    assert [ask("q"), ask("q")] == ["good", "good"]


def test_factories_may_use_the_cache(cache: SyncCache[object]) -> None:
    assert cache.get_or_set("outer", lambda: cache.get_or_set("inner", lambda: 5)) == 5


def test_a_slow_factory_times_out_and_frees_the_key() -> None:
    done = threading.Event()
    with SyncCache[object]("memory://", ttl=60, factory_timeout=0.5) as cache:

        def slow() -> int:
            done.wait(60)
            return 1

        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(cache.get_or_set, "q", slow)
            while cache.stats.factory_errors == 0:  # the flight has given up; its thread has not
                done.wait(0.001)
            assert cache.get_or_set("q", lambda: 2) == 2
            done.set()
            with pytest.raises(TimeoutError):
                asked.result()
        assert cache.get("q") == 2


def test_a_refresh_behind_a_stale_answer_needs_no_caller() -> None:
    refreshed = threading.Event()
    with SyncCache[object]("memory://", ttl=60, stale_while_revalidate=60) as cache:
        cache.set("q", 1)
        cache.expire("q")

        def factory() -> int:
            refreshed.set()
            return 2

        assert cache.get_or_set("q", factory) == 1
        assert refreshed.wait(60)
    assert cache.stats.factory_calls == 1


def test_everything_else_is_carried_over(cache: SyncCache[object]) -> None:
    assert cache.set("a", 1)
    cache.set_many({"b": 2, "c": 3}, tags=["t"])
    assert cache.get_many(["a", "b", "x"]) == {"a": 1, "b": 2}
    assert cache.lookup("a").outcome == "hit"
    assert cache.refresh("a", lambda: 9) == 9
    assert cache.get_or_set_many(["a", "d"], lambda names: dict.fromkeys(names, 0)) == {"a": 9, "d": 0}
    cache.invalidate_tags("t")
    assert cache.get("b") is None
    assert cache.delete("a") is True
    assert cache.delete_many(["a", "d"]) == 1
    view = cache.scoped("faq")
    view.set("q", 1)
    assert cache.invalidate_prefix("faq") == 1
    assert view.get("q") is None
    assert cache.expire("none") is False
    assert cache.invalidate_all() is not None
    assert cache.health()["store"] == "ok"


def test_a_closed_cache_says_so() -> None:
    cache: SyncCache[object] = SyncCache("memory://", ttl=60)
    cache.set("a", 1)
    cache.close()
    cache.close()
    with pytest.raises(CacheError, match="closed"):
        cache.set("a", 1)


def test_a_program_that_never_closes_it_ends() -> None:
    """No hang and no word on stderr at interpreter exit, with background work under way."""
    script = (
        "from cachecore import SyncCache\n"
        "cache = SyncCache('memory://', ttl=60, stale_while_revalidate=60)\n"
        "cache.set('q', 1); cache.expire('q')\n"
        "print(cache.get_or_set('q', lambda: 2))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1\n", "")
