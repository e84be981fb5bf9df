"""Cached functions where plain ones are taken: web frameworks, type adapters, process pools, other decorators."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import functools
import importlib
import inspect
import multiprocessing
import pickle
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, overload

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI
from fastapi.testclient import TestClient
from joblib import Parallel, delayed
from pydantic import BaseModel, TypeAdapter, validate_call
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from cachecore import Cache, SyncCache

cache = Cache("memory://", ttl=60)
plain = SyncCache("memory://", ttl=60)


class Item(BaseModel):
    name: str
    price: float


@pytest.fixture(autouse=True)
def _fresh() -> None:
    asyncio.run(cache.invalidate_all())
    plain.invalidate_all()


def timed(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def inner(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return inner


@cache.cached
async def search(query: str, limit: int = 5) -> list[str]:
    """Search the web."""
    return [query] * limit


@cache.cached(tags=["item:{item_id}"])
async def item(item_id: int) -> Item:
    return Item(name=str(item_id), price=1.5)


@plain.cached
def double(number: int) -> int:
    return number * 2


async def user(name: str = "ann") -> str:
    return name


class Client:
    @cache.cached
    async def ask(self, question: str) -> str:
        return question

    @cache.cached
    @classmethod
    async def build(cls, question: str) -> str:
        return question


@overload
async def either(value: int) -> int: ...
@overload
async def either(value: str) -> str: ...
@cache.cached
async def either(value: int | str) -> int | str:
    return value


def test_coroutine_functions_are_known_as_such() -> None:
    asynchronous: list[Any] = [search, Client.ask, Client().ask, Client.build, search.refresh]
    for function in (*asynchronous, functools.partial(search, "a")):
        assert inspect.iscoroutinefunction(function)
        if sys.version_info < (3, 14):  # where it is deprecated
            assert asyncio.iscoroutinefunction(function)
    for other in (double, search.key, search.stats):
        assert inspect.isfunction(other)
        assert not inspect.iscoroutinefunction(other)
    assert inspect.signature(search).parameters["limit"].default == 5
    assert asyncio.run(either("a")) == "a"


def test_routes_of_fastapi() -> None:
    """Its parameters, its response model, its dependencies and its background tasks."""
    app, asked = FastAPI(), []

    @app.get("/items/{item_id}")
    @cache.cached(name="read", exclude=["who"])
    async def read(item_id: int, who: Annotated[str, Depends(user)]) -> Item:
        asked.append(item_id)
        return Item(name=who, price=item_id)

    app.get("/direct/{item_id}")(item)

    @app.post("/items/{item_id}")
    async def change(item_id: int, behind: BackgroundTasks, found: Annotated[Item, Depends(item)]) -> str:
        behind.add_task(item.invalidate, item_id)
        return found.name

    with TestClient(app) as client:
        for _ in range(3):
            assert client.get("/items/5").json() == {"name": "ann", "price": 5.0}
            assert client.get("/direct/7").json() == {"name": "7", "price": 1.5}
        assert client.get("/items/five").status_code == 422
        assert asked == [5]
        before = item.stats().computed
        assert client.post("/items/7").json() == "7"
        assert client.get("/direct/7").json() == {"name": "7", "price": 1.5}
        assert item.stats().computed == before + 1
        properties = client.get("/openapi.json").json()["paths"]["/direct/{item_id}"]["get"]
        assert properties["parameters"][0]["name"] == "item_id"


def test_routes_of_starlette() -> None:
    @cache.cached(name="found")
    async def found(query: str) -> list[str]:
        return [query]

    @cache.cached(name="homepage", exclude=["request"])
    async def homepage(request: Request) -> Any:
        return JSONResponse(await found(request.query_params["q"]))

    with TestClient(Starlette(routes=[Route("/", homepage)])) as client:
        for _ in range(2):
            assert client.get("/?q=a").json() == ["a"]


def test_pydantic_takes_them() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(search)  # type: ignore[arg-type]  # pydantic's types leave functions out
    assert adapter.json_schema()["properties"]["limit"] == {
        "default": 5,
        "title": "Limit",
        "type": "integer",
    }
    called: Any = validate_call(search)
    assert asyncio.run(called("x", limit="2")) == ["x", "x"]
    wrapped: Any = search
    below = cache.cached(validate_call(wrapped.__wrapped__))
    assert asyncio.run(below("y", limit="2")) == ["y", "y"]

    class Greeter(BaseModel):
        name: str

        @plain.cached
        def greet(self, word: str) -> str:
            return f"{word} {self.name}"

    assert [Greeter(name=one).greet("Hi") for one in ("Ann", "Bob", "Ann")] == ["Hi Ann", "Hi Bob", "Hi Ann"]
    assert list(Greeter.model_fields) == ["name"]


def test_other_processes_get_them_by_name() -> None:
    assert pickle.loads(pickle.dumps(double)) is double
    assert pickle.loads(pickle.dumps(search)) is search
    assert pickle.loads(pickle.dumps(Client.build))  # a bound method: the class and the name
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(double, [1, 2, 3])) == [2, 4, 6]
    assert Parallel(n_jobs=2)(delayed(double)(number) for number in range(3)) == [0, 2, 4]


def test_copies_and_partials_are_the_function() -> None:
    assert copy.deepcopy(search) is copy.copy(search) is search
    before = search.stats().computed
    assert asyncio.run(functools.partial(search, "a")(limit=1)) == asyncio.run(search("a", 1)) == ["a"]
    assert search.stats().computed == before + 1


def test_decorators_above_and_below() -> None:
    above: Any = timed(search)
    assert asyncio.run(above("z")) == asyncio.run(above("z")) == ["z"] * 5
    assert above.key("z") == search.key("z")  # functools.wraps brings the helpers along

    @timed
    @cache.cached(name="both")
    @timed
    async def asked(question: str) -> str:
        return question

    both: Any = asked
    assert asyncio.run(both("a")) == "a"
    assert both.__wrapped__.stats().computed == 1


MODULE = """
import functools
from tests.integration.test_function_frameworks import cache, timed

@cache.cached
async def ask(q):
    return q + {version!r}

@cache.cached
@timed
async def wrapped(q):
    return q + {version!r}

@cache.cached(name="named")
@timed
async def named(q):
    return q + {version!r}

class Model:
    @cache.cached
    async def ask(self, q):
        return q + {version!r}

def nested():
    @cache.cached
    async def inner(q):
        return q
    return inner

nested()
"""


def test_a_module_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As development servers do. What is defined anew is the same function: its answers stay until they end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "answers_of_today.py").write_text(MODULE.format(version="1"))
    module = importlib.import_module("answers_of_today")
    assert asyncio.run(module.wrapped("a")) == "a1"
    (tmp_path / "answers_of_today.py").write_text(MODULE.format(version="22"))
    importlib.invalidate_caches()
    importlib.reload(module)
    assert asyncio.run(module.wrapped("a")) == "a1"
    assert asyncio.run(module.wrapped.refresh("a")) == "a22"
    assert asyncio.run(module.Model().ask("a")) == "a22"
    monkeypatch.delitem(sys.modules, "answers_of_today")


CELL = """
import asyncio, functools
from cachecore import Cache
cache = Cache("memory://", ttl=600)
def retried(function):
    @functools.wraps(function)
    async def inner(*a, **k):
        return await function(*a, **k)
    return inner
"""
DEFINED = """
@cache.cached
@retried
async def ask(question):
    return question + " {version}"
print(asyncio.run(ask("hi")))
"""


def test_a_cell_is_run_again_and_edited(capsys: pytest.CaptureFixture[str]) -> None:
    """The code below other decorators counts, where there is no module to name the function."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def cell(text: str) -> None:
        exec(compile(text, "<cell>", "exec"), names)

    cell(CELL)
    for version in ("v1", "v1", "v2", "v1"):
        cell(DEFINED.format(version=version))
    assert capsys.readouterr().out.split() == ["hi", "v1", "hi", "v1", "hi", "v2", "hi", "v1"]
    assert names["cache"].stats.factory_calls == 2
    asyncio.run(names["cache"].aclose())


def test_names_that_keywords_repeat() -> None:
    """`self`, `args` and the names of helpers' own parameters are the function's."""

    @cache.cached
    async def show(self: int, args: int, /, **kwargs: int) -> Any:
        return [self, args, kwargs]

    call: Any = show
    for _ in range(2):
        assert asyncio.run(call(1, 2, self=3, args=4, kwargs=5)) == [1, 2, {"self": 3, "args": 4, "kwargs": 5}]
    assert call.key(1, 2, self=3) != call.key(1, 2, args=3)
    assert asyncio.run(call.invalidate(1, 2, self=3, args=4, kwargs=5)) is True
