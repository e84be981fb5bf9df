"""Django's cache on cachecore: its semantics on three stores, its middleware, and threads, processes and loops."""

from __future__ import annotations

import asyncio
import datetime
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django", reason="Django is not installed: make frameworks")

from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory, override_settings
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import cache_page

from cachecore import Cache, EncodingError, OptionsError
from cachecore_frameworks.django import SERIALIZER, CacheCore

if not settings.configured:
    settings.configure(USE_TZ=True, SECRET_KEY="s", ALLOWED_HOSTS=["*"])
SOURCE = os.environ.get("DJANGO_TESTS") or "absent"
"""The folder `tests` of Django's source distribution, for the suite of its own backends."""


@pytest.fixture
def backend(store: str) -> CacheCore:
    return CacheCore(store, {"OPTIONS": {"prefix": f"t{time.monotonic_ns()}"}, "TIMEOUT": 60})


def until(condition: Any, seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        threading.Event().wait(0.01)


def test_every_call(backend: CacheCore) -> None:
    assert backend.get("a", "none") == "none"
    backend.set("a", None)
    assert backend.get("a", "none") is None
    assert backend.has_key("a")
    assert "a" in backend
    assert backend.add("b", (1, 2))
    assert not backend.add("b", 3)
    assert backend.get("b") == (1, 2)
    backend.set("n", 41)
    assert (backend.incr("n"), backend.decr("n", 10), backend.get("n")) == (42, 32, 32)
    with pytest.raises(ValueError, match="missing"):
        backend.incr("missing")
    with pytest.raises(TypeError):
        backend.incr("a")
    assert backend.set_many({"x": 1, "y": [2]}) == []
    assert backend.get_many(iter(["x", "y", "z"])) == {"x": 1, "y": [2]}
    backend.delete_many(["x", "z"])
    assert backend.get("x") is None
    assert not backend.delete("x")
    assert backend.delete("y")
    assert backend.get_or_set("g", lambda: "made") == backend.get_or_set("g", "other") == "made"
    assert backend.incr_version("g") == 2
    assert backend.get("g") is None
    assert backend.get("g", version=2) == "made"
    backend.clear()
    assert backend.get_many(["a", "b", "n"]) == {}


def test_timeouts(backend: CacheCore) -> None:
    for timeout in (0, -1):
        backend.set("a", 1)
        backend.set("a", 1, timeout)
        assert backend.add("b", 1, timeout)
        assert backend.get_or_set("c", 1, timeout) == 1
        assert backend.get_many(["a", "b", "c"]) == {}
        backend.set("a", 1)
        assert backend.touch("a", timeout)
        assert not backend.has_key("a")
    backend.set("short", 1, 2)
    backend.set("long", 1, 2)
    backend.set("counted", 1, 2)
    assert backend.touch("long", None)
    assert backend.touch("long")
    assert not backend.touch("missing")
    assert backend.incr("counted") == 2
    until(lambda: not backend.has_key("short") and not backend.has_key("counted"))  # incr keeps the time
    assert backend.get("long") == 1


def test_what_is_stored_is_never_the_caller_s_object(backend: CacheCore) -> None:
    value = {"day": datetime.date(2024, 1, 1), "ids": {1, 2}, 3: [4]}
    backend.set("v", value)
    first = backend.get("v")
    assert first == value
    assert first is not value
    first[3].append(5)
    assert backend.get("v") == value


def test_what_needs_pickle_is_refused_with_a_way_out(backend: CacheCore) -> None:
    for value in (len, object(), type("Model", (), {})()):
        with pytest.raises(EncodingError, match="plain data"):
            backend.set("a", value)
    assert backend.get("a") is None


def test_prefixes_versions_and_key_functions_stay_apart(store: str) -> None:
    def upper(key: str, prefix: str, version: int) -> str:
        return f"{version}{prefix}{key.upper()}"

    one, two, three, four = (
        CacheCore(store, {"OPTIONS": {"namespace": "apart"}, **params})
        for params in ({}, {"KEY_PREFIX": "p"}, {"VERSION": 2}, {"KEY_FUNCTION": upper})
    )
    one.clear()
    one.set("k", 1)
    assert [cache.get("k") for cache in (two, three, four)] == [None, None, None]
    assert three.get("k", version=1) == 1
    four.set("k", 4)
    assert four.get("K") == 4
    assert one.get("k") == 1


def test_counters_are_exact_among_threads(backend: CacheCore) -> None:
    backend.set("n", 0)
    threads = [threading.Thread(target=lambda: [backend.incr("n") for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.get("n") == 40


def test_one_of_many_adds_wins(backend: CacheCore) -> None:
    won: list[bool] = []
    threads = [threading.Thread(target=lambda: won.append(backend.add("lock", 1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won.count(True) == 1


def test_add_stores_where_a_write_came_between_and_is_gone(backend: CacheCore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process sets and deletes the key, or its dead bytes are swept, while `add` looks: there is no value."""
    look: Any = backend._sync.lookup
    between: list[Any] = [lambda: backend.set("k", "other"), lambda: backend.delete("k")]

    def lookup(*arguments: Any) -> Any:
        known = look(*arguments)
        while between:
            between.pop(0)()
        return known

    monkeypatch.setattr(backend._sync, "lookup", lookup)
    assert backend.add("k", 1)
    assert backend.get("k") == 1


def test_get_or_set_computes_once_among_threads(backend: CacheCore) -> None:
    ran: list[int] = []
    gate = threading.Event()

    def compute() -> str:
        ran.append(1)
        gate.wait(60)
        return "made"

    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(backend.get_or_set("k", compute))) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: ran)
    gate.set()
    for thread in threads:
        thread.join()
    assert got == ["made"] * 4
    assert ran == [1]


async def test_async_calls(backend: CacheCore) -> None:
    await backend.aset("n", 1)
    assert await backend.aget("n") == 1
    assert await backend.ahas_key("n")
    assert sorted(await asyncio.gather(*(backend.aincr("n") for _ in range(5)))) == [2, 3, 4, 5, 6]
    assert await backend.aadd("n", 1) is False
    assert await backend.atouch("n") is True
    assert await backend.aset_many({"x": 1}) == []
    assert await backend.aget_many(["n", "x"]) == {"n": 6, "x": 1}
    assert await backend.aget_or_set("g", lambda: "made") == backend.get("g") == "made"  # a sync call inside the loop
    assert await backend.adelete("n")
    assert await backend.adecr("x") == 0
    await backend.adelete_many(["x"])
    await backend.aclear()
    assert await backend.aget("g") is None


@pytest.fixture
def configured(store: str) -> Iterator[None]:
    made = {
        "BACKEND": "cachecore_frameworks.django.CacheCore",
        "LOCATION": store,
        "KEY_PREFIX": str(time.monotonic_ns()),
    }
    with override_settings(CACHES={"default": made}):
        yield


@pytest.mark.usefixtures("configured")
def test_a_page_is_cached_whole() -> None:
    calls: list[int] = []

    @cache_page(60)
    def view(request: HttpRequest) -> HttpResponse:
        calls.append(1)
        response = JsonResponse({"a": [1]}, headers={"X-Own": "ä"})
        response.set_cookie("id", "a b", max_age=5, httponly=True, samesite="Lax")
        response["Vary"] = "Accept"
        return response

    first, second = (view(RequestFactory().get("/p?q=1")) for _ in range(2))
    assert calls == [1]
    assert (second.content, second.status_code, second.reason_phrase) == (first.content, 200, "OK")
    assert dict(second.headers) == {**dict(first.headers), "Age": second.headers["Age"]}  # Django's middleware adds it
    assert second.cookies.output() == first.cookies.output()
    view(RequestFactory().get("/p?q=2"))
    view(RequestFactory().get("/p?q=1", headers={"accept": "text/html"}))
    assert len(calls) == 3


@pytest.mark.usefixtures("configured")
def test_aliases_and_threads_share_one_store() -> None:
    caches["default"].set("k", mark_safe("<b>"))
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(caches["default"].get("k")))
    thread.start()
    thread.join()
    assert got == ["<b>"]
    assert type(got[0]) is SafeString


async def test_a_cache_of_the_program_is_a_location() -> None:
    async with Cache("memory://", ttl=60, serializer=SERIALIZER) as cache:
        backend = CacheCore(cache, {})
        backend.set("k", 1)
        assert await cache.get(backend.make_key("k")) == 1


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(OptionsError, match="MAX_ENTRIES"):
        CacheCore("memory://", {"OPTIONS": {"MAX_ENTRIES": 3}})


def test_processes_share_a_store(redis_address: str) -> None:
    backend = CacheCore(redis_address, {"OPTIONS": {"prefix": "shared"}})
    backend.set("n", 1)
    program = textwrap.dedent(f"""
        from django.conf import settings
        settings.configure()
        from cachecore_frameworks.django import CacheCore
        print(CacheCore({redis_address!r}, {{"OPTIONS": {{"prefix": "shared"}}}}).incr("n"))
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2"
    until(lambda: backend.get("n") == 2)


def test_the_calls_are_those_of_django_s_own_backend() -> None:
    """Each method of Django's backend in memory exists here with the same parameters."""
    import inspect

    for name in ("get", "set", "add", "touch", "incr", "has_key", "delete", "get_many", "get_or_set", "clear"):
        assert list(inspect.signature(getattr(CacheCore, name)).parameters) == list(
            inspect.signature(getattr(LocMemCache, name)).parameters
        )


BY_PICKLE = {
    "test_add_fail_on_pickleerror",
    "test_cache_read_for_model_instance",
    "test_cache_read_for_model_instance_with_deferred",
    "test_cache_write_for_model_instance_with_deferred",
    "test_data_types",
    "test_set_fail_on_pickleerror",
}
"""Django's own tests that store models, querysets, functions and classes, or expect the error of pickle."""


@pytest.mark.skipif(not Path(SOURCE).is_dir(), reason="DJANGO_TESTS does not name the folder tests of Django's sources")
def test_django_s_own_tests(store: str) -> None:
    """All tests of its backends and of its cache middleware pass, but those by pickle."""
    suite = Path(__file__).with_name("django_suite.py")
    environment = {**os.environ, "LOCATION": store}
    done = subprocess.run([sys.executable, suite], env=environment, capture_output=True, text=True, check=False)
    failed = {line.split()[1] for line in done.stderr.splitlines() if line.startswith(("ERROR:", "FAIL:"))}
    assert "Ran " in done.stderr, done.stderr
    assert failed == BY_PICKLE
