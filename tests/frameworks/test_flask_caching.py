"""Flask-Caching on cachecore: its backend's semantics on three stores, views, memoized functions and errors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flask_caching", reason="Flask-Caching is not installed: make frameworks")

from flask import Flask, Response, abort, jsonify, make_response, stream_with_context
from flask_caching import Cache
from markupsafe import Markup
from werkzeug.exceptions import MethodNotAllowed, NotFound

from cachecore import EncodingError
from cachecore_frameworks.flask_caching import CacheCore

SOURCE = os.environ.get("FLASK_CACHING_TESTS") or "absent"
"""The folder `tests` of Flask-Caching's source distribution, for the suite of its own backends."""


@pytest.fixture
def backend(store: str) -> Iterator[CacheCore]:
    backend = CacheCore(store, 60, prefix=f"t{time.monotonic_ns()}")
    yield backend
    backend._sync.close()


@pytest.fixture
def app(store: str) -> Iterator[Flask]:
    app = Flask(__name__)
    app.testing = True
    app.config["CACHE_TYPE"] = "cachecore_frameworks.flask_caching.CacheCore"
    app.config["CACHE_OPTIONS"] = {"backend": store, "prefix": f"t{time.monotonic_ns()}"}
    yield app
    for made in app.extensions["cache"].values():
        made._sync.close()


def test_every_call(backend: CacheCore) -> None:
    assert backend.get("a") is None
    assert backend.set("a", (1, {"b": {2}}))
    assert backend.get("a") == (1, {"b": {2}})
    assert backend.add("b", 1)
    assert not backend.add("b", 2)
    assert backend.set_many({"x": 1, "y": None}) == ["x", "y"]
    assert backend.get_many("x", "missing", "y", "x") == [1, None, None, 1]
    assert backend.get_dict("x", "y") == {"x": 1, "y": None}
    assert backend.has("y")
    assert not backend.has("missing")
    assert [backend.inc("n"), backend.inc("n", 4), backend.dec("n", 2), backend.dec("m")] == [1, 5, 3, -1]
    assert backend.delete("x")
    assert not backend.delete("x")
    assert backend.delete_many("y", "missing") == ["y", "missing"]
    assert backend.clear()
    assert backend.get("a") is None


def test_timeouts(backend: CacheCore) -> None:
    backend.set("short", 1, 1)
    backend.set("forever", 1, 0)
    backend.set("counted", 1, 2)
    assert backend.inc("counted") == 2
    ends = time.monotonic() + 60
    while backend.has("short") or backend.has("counted"):
        assert time.monotonic() < ends
        threading.Event().wait(0.02)
    assert backend.get("forever") == 1


def test_counters_are_exact_among_threads(backend: CacheCore) -> None:
    threads = [threading.Thread(target=lambda: [backend.inc("n") for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.get("n") == 40


def test_add_stores_where_a_write_came_between_and_is_gone(backend: CacheCore, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_counting_begins_at_nothing_and_at_none(backend: CacheCore) -> None:
    backend.set("none", None)
    assert [backend.inc("none", 2), backend.inc("missing", 2)] == [2, 2]


def test_what_a_view_may_return_is_kept(backend: CacheCore) -> None:
    for value in ("text", ("text", 201, {"x-a": "1"}), {"a": [1]}, Markup("<b>")):
        backend.set("v", value)
        assert backend.get("v") == value
        assert type(backend.get("v")) is type(value)
    backend.set("v", Response(b"\x00", 203, [("set-cookie", "a=1"), ("set-cookie", "b=2")], content_type="x/y"))
    response = backend.get("v")
    assert (response.data, response.status) == (b"\x00", "203 NON AUTHORITATIVE INFORMATION")
    assert response.headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert response.content_type == "x/y"
    backend.set("v", NotFound("no such thing"))
    assert type(backend.get("v")) is NotFound
    assert backend.get("v").description == "no such thing"


@pytest.mark.parametrize(
    "value",
    [len, object(), Response(iter(["a"])), MethodNotAllowed(["GET"]), NotFound(response=Response("own"))],
    ids=["function", "object", "stream", "headers", "response"],
)
def test_all_else_is_refused(value: Any) -> None:
    with pytest.raises(EncodingError):
        CacheCore("memory://").set("v", value)


def test_key_prefixes_stay_apart() -> None:
    app = Flask(__name__)
    options = {"CACHE_TYPE": "cachecore_frameworks.flask_caching.CacheCore", "CACHE_OPTIONS": {"backend": "memory://"}}
    cache = Cache(app, config={**options, "CACHE_KEY_PREFIX": "p:"})
    with app.app_context():
        cache.set("k", 1)
        assert cache.get("k") == 1
        assert app.extensions["cache"][cache]._sync.get("p:k") == 1


def test_views(app: Flask) -> None:
    cache, runs = Cache(app), []

    @app.get("/whole")
    @cache.cached(timeout=60, query_string=True)
    def whole() -> Any:
        runs.append("whole")
        return make_response(jsonify(a=[1]), 201, {"x-own": "1"})

    @app.get("/missing")
    @cache.cached(timeout=60)
    def missing() -> Any:
        runs.append("missing")
        abort(404, "not here")

    @app.get("/stream")
    @cache.cached(timeout=60)
    def stream() -> Any:
        runs.append("stream")
        return Response(stream_with_context(iter(["a", "b"])))

    client = app.test_client()
    first, second = client.get("/whole?a=1"), client.get("/whole?a=1")
    assert (first.json, first.status, dict(first.headers)) == (second.json, second.status, dict(second.headers))
    assert [client.get("/missing").status_code for _ in range(2)] == [404, 404]
    assert "not here" in client.get("/missing").text
    assert [client.get("/stream").text for _ in range(2)] == ["ab", "ab"]
    assert runs == ["whole", "missing", "stream", "stream"]


def test_memoized_functions(app: Flask) -> None:
    cache, runs = Cache(app), []

    @cache.memoize(60)
    def add(a: int, b: int) -> tuple[int, int]:
        runs.append((a, b))
        return (a, b)

    with app.test_request_context():
        assert [add(1, 2), add(1, 2), add(2, 1)] == [(1, 2), (1, 2), (2, 1)]
        cache.delete_memoized(add, 1, 2)
        add(1, 2)
        add(2, 1)
    assert runs == [(1, 2), (2, 1), (1, 2)]


OF_OTHER_BACKENDS = (
    "test_cache_delete_many_ignored",
    "test_cache_unlink",
    "test_cache_unlink_if_not",
    "test_file_hash_method_is_independent",
)
"""Tests in the chosen files that configure a backend of their own."""


@pytest.mark.skipif(
    not Path(SOURCE).is_dir(), reason="FLASK_CACHING_TESTS does not name the folder tests of Flask-Caching's sources"
)
@pytest.mark.parametrize("whole", [True, False], ids=["memory", "sqlite"])
def test_flask_caching_s_own_tests(whole: bool, tmp_path: Path) -> None:
    """All of its tests of backends pass, and those of views, memoized functions, templates and signals."""
    chosen = ["ours", "cache", "view", "memoize", "templates", "signals", "hash_method", "subclassing"]
    if not whole:  # its clock cannot be moved, so tests would wait
        chosen = ["ours"]
    store = "memory://" if whole else f"sqlite:///{tmp_path}/c.db"
    for file in Path(SOURCE).iterdir():
        if file.is_file() and file.name != "conftest.py":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    here = Path(__file__).parent
    (tmp_path / "conftest.py").write_bytes((here / "flask_caching_suite.py").read_bytes())
    (tmp_path / "test_ours.py").write_text(
        "from test_backend_cache import GenericCacheTests\nimport pytest, conftest\n"
        "class TestOurs(GenericCacheTests):\n"
        "    @pytest.fixture\n    def make_cache(self): return conftest.backend\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        f"--rootdir={tmp_path}",
    ]
    skipped = ["-k", " and ".join(f"not {name}" for name in OF_OTHER_BACKENDS)]
    files = [f"test_{name}.py" for name in chosen]
    environment = {**os.environ, "LOCATION": store}
    done = subprocess.run(
        [*command, *skipped, *files], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert int(re.findall(r"(\d+) passed", done.stdout)[0]) > (140 if whole else 10)
