"""What holds for every request: the host, the origin, the secret of forms, bounds, and the headers of every answer."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore_proxy.admin import PageOptions
from cachecore_proxy.admin.guard import HEADERS
from tests.proxy.admin.scene import TOKEN, Scene

PATHS = ["/login", "/", "/live", "/entries", "/nowhere", "/static/page.css", "/static/nothing", "/static/../pages.py"]


@pytest.mark.parametrize("path", PATHS)
async def test_every_answer_has_the_headers(path: str) -> None:
    scene = Scene()
    async with scene.inside() as browser:
        response = await browser.client.get(path)
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS
    assert response.headers["cache-control"] == "no-store"


async def test_the_policy_allows_nothing_inline_and_nothing_from_elsewhere() -> None:
    policy = dict(part.split(" ", 1) for part in HEADERS["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    scene = Scene()
    async with scene.inside() as browser:
        for path in ("/", "/requests", "/entries", "/misses", "/purge"):
            text = await browser.get(path)
            assert text.count("<script") == text.count('<script src="/static/page.js"') == 1
            assert not [
                word for word in (" style=", "<style", " onclick=", "http://", "https://", "//cdn") if word in text
            ]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:9000", "localhost.evil.example", "", "localhost@evil"])
async def test_a_foreign_host_is_refused(host: str) -> None:
    """A site cannot let its own name point here and reach the page through the browser of an operator."""
    scene = Scene()
    async with scene.inside() as browser:
        response = await browser.client.get("/", headers={"host": host})
    assert response.status_code == 421
    assert "cachecore" not in response.text.replace("cachecore_page", "")
    assert host == "" or host not in response.text


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:1", "[::1]:9000", "LOCALHOST"])
async def test_the_names_of_the_settings_are_served(host: str) -> None:
    scene = Scene()
    async with scene.client() as client:
        assert (await client.get("/login", headers={"host": host})).status_code == 200


async def test_other_names_are_served_if_the_settings_list_them() -> None:
    scene = Scene(options=PageOptions(token=TOKEN, hosts=("admin.example",)))
    async with scene.client() as client:
        assert (await client.get("/login", headers={"host": "admin.example:443"})).status_code == 200
        assert (await client.get("/login", headers={"host": "localhost"})).status_code == 421


@pytest.mark.parametrize("csrf", ["", "wrong", "\U0001f600"])
@pytest.mark.parametrize("path", ["/purge", "/entry", "/logout"])
async def test_a_form_without_the_secret_of_its_session_does_nothing(path: str, csrf: str) -> None:
    scene = Scene()
    await scene.ask(tenant="acme")
    async with scene.inside() as browser:
        form = {"kind": "tenant", "name": "acme", "key": "k", "csrf": csrf}
        assert (await browser.client.post(path, data=form)).status_code == 403
        await browser.get("/")
    assert await scene.ask(tenant="acme") == "hit"


async def test_the_secret_of_another_session_is_none_of_this_one() -> None:
    scene = Scene()
    await scene.ask(tenant="acme")
    async with scene.inside() as browser, scene.inside() as other:
        form = {"kind": "tenant", "name": "acme", "csrf": await other.csrf()}
        assert (await browser.client.post("/purge", data=form)).status_code == 403
    assert await scene.ask(tenant="acme") == "hit"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9001"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
async def test_a_form_of_another_site_is_refused(headers: dict[str, str]) -> None:
    scene = Scene()
    async with scene.inside() as browser:
        form = {"kind": "tenant", "name": "acme", "csrf": await browser.csrf()}
        assert (await browser.client.post("/purge", data=form, headers=headers)).status_code == 403
        assert (await browser.client.post("/login", data={"secret": TOKEN}, headers=headers)).status_code == 403


async def test_a_purge_by_a_link_does_nothing() -> None:
    scene = Scene()
    await scene.ask(tenant="acme")
    async with scene.inside() as browser:
        csrf = await browser.csrf()
        await browser.get("/purge", kind="tenant", name="acme", csrf=csrf)
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
            response = await browser.client.request(method, "/purge", params={"kind": "tenant", "name": "acme"})
            assert response.status_code == 405
    assert await scene.ask(tenant="acme") == "hit"


@pytest.mark.parametrize("path", ["/login", "/purge"])
async def test_a_large_form_is_not_read(path: str) -> None:
    scene = Scene()
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while sent < 10_000_000:
            sent += 4096
            yield b"x" * 4096

    async with scene.inside() as browser:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        response = await browser.client.post(path, content=endless(), headers=headers)
    assert response.status_code == 413
    assert "at most 16384 bytes" in response.text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data; boundary=x", 415),
        (b"\xff\xfe=1", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 100, "application/x-www-form-urlencoded", 400),
    ],
)
async def test_other_bodies_are_refused(content: bytes, kind: str, status: int) -> None:
    scene = Scene()
    async with scene.inside() as browser:
        response = await browser.client.post("/purge", content=content, headers={"content-type": kind})
    assert response.status_code == status


async def test_no_socket_is_opened() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await Scene().app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
