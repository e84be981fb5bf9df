"""Cached routes of FastAPI, asked through its own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest

pytest.importorskip("fastapi", reason="FastAPI is not installed: make frameworks")
pytest.importorskip("httpx", reason="httpx is not installed: make frameworks")

import httpx
from fastapi import APIRouter, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel

from cachecore import Cache, OptionsError
from cachecore_frameworks.fastapi import CachedRoute, cached, vary_by


class Item(BaseModel):
    name: str


class Secret(Item):
    password: str = "p"


def user(authorization: Annotated[str | None, Header()] = None) -> str:
    if authorization not in ("ann", "bob"):
        raise HTTPException(401)
    return authorization


class Site:
    """An application with each kind of route, and how often each endpoint ran."""

    def __init__(self, cache: Cache[Any]) -> None:
        self.runs: list[str] = []
        self.began, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.app = FastAPI()
        router = APIRouter(route_class=CachedRoute, prefix="/v1")

        @router.get("/items/{item_id}", response_model=Item)
        @cached(cache, ttl=60, tags=["item:{item_id}"])
        async def item(item_id: int, word: str = "", limit: int = 1) -> Any:
            self.runs.append("item")
            self.began.set()
            await self.gate.wait()
            if item_id == 0:
                raise HTTPException(404)
            return Secret(name=f"{item_id}{word}")

        @router.get("/me", dependencies=[vary_by(user)])
        @cached(cache, ttl=60)
        def me(request: Request, authorization: Annotated[str, Header()]) -> dict[str, str]:
            self.runs.append("me")
            return {"name": authorization, "path": request.url.path}

        @router.get("/open")
        @cached(cache, ttl=60, headers=["accept-language"])
        async def page(response: Response, accept_language: Annotated[str, Header()] = "") -> HTMLResponse:
            self.runs.append("open")
            return HTMLResponse(f"<p>{accept_language}</p>", headers={"x-own": "1"})

        @router.get("/stream")
        @cached(cache, ttl=60)
        async def stream() -> StreamingResponse:
            self.runs.append("stream")
            return StreamingResponse(iter(["a", "b"]))

        @router.get("/cookie")
        @cached(cache, ttl=60)
        async def cookie(response: Response) -> str:
            self.runs.append("cookie")
            response.set_cookie("id", "1")
            return "c"

        @router.get("/private")
        @cached(cache, ttl=60)
        async def private(response: Response) -> str:
            self.runs.append("private")
            response.headers["cache-control"] = "no-store"
            return "p"

        self.app.include_router(router)

        @self.app.get("/bare")
        @cached(cache, ttl=60)
        async def bare() -> str:
            return "b"

    def count(self, name: str) -> int:
        return self.runs.count(name)


@asynccontextmanager
async def served(store: str) -> AsyncIterator[tuple[Site, Any, Cache[Any]]]:
    async with Cache(store, ttl=60) as cache:
        site = Site(cache)
        transport = httpx.ASGITransport(app=site.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test/v1") as client:
            yield site, client, cache


async def test_a_route_is_cached_with_its_headers(store: str) -> None:
    async with served(store) as (site, client, _):
        first, second = await client.get("/items/1"), await client.get("/items/1")
        assert first.json() == second.json() == {"name": "1"}  # the model of the route hides the password
        assert site.count("item") == 1
        assert first.headers["cache-control"] == second.headers["cache-control"] == "public, max-age=60"
        assert first.headers["etag"] == second.headers["etag"]
        assert (first.headers["cache-status"], second.headers["cache-status"]) == (
            "cachecore; fwd=miss; stored",
            "cachecore; hit",
        )
        assert 0 <= int(second.headers["age"]) < 60
        assert second.headers["content-type"] == first.headers["content-type"] == "application/json"


@pytest.mark.parametrize("sent", ["{tag}", '"other", {tag}', "{strong}", "*"])
async def test_what_the_client_has_is_answered_by_304(sent: str) -> None:
    async with served("memory://") as (site, client, _):
        tag = (await client.get("/items/1")).headers["etag"]
        wanted = sent.format(tag=tag, strong=tag.removeprefix("W/"))
        response = await client.get("/items/1", headers={"if-none-match": wanted})
        assert (response.status_code, response.content) == (304, b"")
        assert response.headers["etag"] == tag
        assert response.headers["cache-control"] == "public, max-age=60"
        assert "content-length" not in response.headers
        assert (await client.get("/items/1", headers={"if-none-match": '"other"'})).status_code == 200
        assert site.count("item") == 1


async def test_a_response_that_was_just_made_is_compared_too() -> None:
    async with served("memory://") as (site, client, cache):
        tag = (await client.get("/items/1")).headers["etag"]
        await cache.invalidate_all()
        assert (await client.get("/items/1", headers={"if-none-match": tag})).status_code == 304
        assert site.count("item") == 2


async def test_url_parts_are_the_key() -> None:
    async with served("memory://") as (site, client, _):
        for url in ("/items/1", "/items/2", "/items/1?word=a", "/items/1?word=a&limit=2"):
            await client.get(url)
        await client.get("/items/1", headers={"host": "other.test"})
        assert site.count("item") == 5


async def test_requests_at_once_run_one_endpoint(store: str) -> None:
    async with served(store) as (site, client, _):
        site.gate.clear()
        asked = [asyncio.create_task(client.get("/items/1")) for _ in range(5)]
        await site.began.wait()
        site.gate.set()
        assert {response.json()["name"] for response in await asyncio.gather(*asked)} == {"1"}
        assert site.count("item") == 1


async def test_an_error_is_not_kept_and_frees_the_claim_at_once() -> None:
    async with served("memory://") as (site, client, _):
        for _ in range(2):
            async with asyncio.timeout(15):  # a claim that is not freed lasts for 30 seconds
                assert (await client.get("/items/0")).status_code == 404
        assert site.count("item") == 2


async def test_a_tag_of_the_path_invalidates() -> None:
    async with served("memory://") as (site, client, cache):
        await client.get("/items/1")
        await client.get("/items/2")
        await cache.invalidate_tags("item:1")
        await client.get("/items/1")
        await client.get("/items/2")
        assert site.count("item") == 3


async def test_users_have_answers_of_their_own_and_authentication_comes_first() -> None:
    async with served("memory://") as (site, client, _):
        for name in ("ann", "bob", "ann"):
            response = await client.get("/me", headers={"authorization": name})
            assert response.json()["name"] == name
            assert response.headers["cache-control"] == "private, max-age=60"
        assert site.count("me") == 2
        assert (await client.get("/me", headers={"authorization": "eve"})).status_code == 401


@pytest.mark.parametrize("header", ["authorization", "cookie"])
async def test_a_personal_request_of_a_common_route_is_not_cached(header: str) -> None:
    async with served("memory://") as (site, client, _):
        for _ in range(2):
            response = await client.get("/open", headers={header: "a"})
            assert "etag" not in response.headers
        assert site.count("open") == 2


async def test_headers_that_shape_the_answer_are_named_in_vary() -> None:
    async with served("memory://") as (site, client, _):
        for language in ("de", "en", "de"):
            response = await client.get("/open", headers={"accept-language": language})
            assert response.text == f"<p>{language}</p>"
            assert response.headers["vary"] == "accept-language"
            assert response.headers["x-own"] == "1"
        assert site.count("open") == 2


@pytest.mark.parametrize("name", ["stream", "cookie", "private"])
async def test_others_pass_through(name: str) -> None:
    async with served("memory://") as (site, client, _):
        bodies = [(await client.get(f"/{name}")).text for _ in range(2)]
        assert bodies[0] == bodies[1] != ""
        assert site.count(name) == 2


async def test_a_router_without_the_class_says_so() -> None:
    async with served("memory://") as (_, client, _):
        with pytest.raises(OptionsError, match="route_class=CachedRoute"):
            await client.get("http://test/bare")


async def test_the_schema_shows_nothing_of_the_cache() -> None:
    async with served("memory://") as (site, _, _):
        assert "cachecore" not in str(site.app.openapi())
