"""Fixtures with which Flask-Caching's own tests run on `CacheCore`: their conftest.py. LOCATION names a store."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask
import flask_caching
import pytest
import time_machine

from cachecore_frameworks.flask_caching import CacheCore

LOCATION = os.environ["LOCATION"]
_counter = itertools.count()


def options() -> dict[str, Any]:
    return {"backend": LOCATION, "prefix": f"p{os.getpid()}n{next(_counter)}"}


def backend(**arguments: Any) -> CacheCore:
    return CacheCore(**options(), **arguments)


@pytest.fixture
def app(request: Any) -> flask.Flask:
    app = flask.Flask(request.module.__name__, template_folder=str(Path(__file__).parent))
    app.testing = True
    app.config["CACHE_TYPE"] = "cachecore_frameworks.flask_caching.CacheCore"
    app.config["CACHE_OPTIONS"] = options()
    return app


@pytest.fixture
def cache(app: flask.Flask) -> flask_caching.Cache:
    return flask_caching.Cache(app)


class Clock:
    """The time of the store: moved where the store is in this process, waited for elsewhere."""

    def __init__(self, moved: Any) -> None:
        self._moved = moved

    @property
    def now(self) -> float:
        return time.time()

    def __call__(self) -> float:
        return time.time()

    def advance(self, seconds: float) -> None:
        if self._moved is None:
            if seconds > 3:
                pytest.skip("only a store in this process has a clock that a test can move")
            time.sleep(seconds + 0.02)
        else:
            self._moved.shift(seconds + 0.02)


@pytest.fixture
def clock() -> Iterator[Clock]:
    if not LOCATION.startswith("memory"):
        yield Clock(None)
        return
    with time_machine.travel(1_700_000_000.0, tick=True) as moved:
        yield Clock(moved)


@pytest.fixture(params=list(flask_caching.SUPPORTED_HASH_FUNCTIONS), ids=lambda method: method.__name__)
def hash_method(request: Any) -> Any:
    return request.param
