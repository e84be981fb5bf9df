"""Access to the page: by token or password, with a limit on guesses, for a bounded time."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_proxy.admin import PageOptions, password_hash
from cachecore_proxy.admin.sessions import IDLE, LIFE, MOST_FAILURES, MOST_FAILURES_OF_ALL, MOST_SESSIONS, WINDOW
from tests.proxy.admin.scene import TOKEN, Scene

INSIDE = ["/", "/live", "/requests", "/misses", "/entries", "/entry?key=k", "/purge", "/purge?kind=tag&name=t"]


@pytest.mark.parametrize("path", INSIDE)
async def test_nothing_is_shown_without_a_session(path: str) -> None:
    scene = Scene()
    await scene.ask(tenant="a-customer", answer="an answer of theirs")
    async with scene.client() as client:
        response = await client.get(path)
    assert (response.status_code, response.headers.get("location")) in ((303, "/login"), (401, None))
    assert response.content == b""


@pytest.mark.parametrize("path", ["/purge", "/entry", "/logout"])
async def test_nothing_is_done_without_a_session(path: str) -> None:
    scene = Scene()
    await scene.ask(tenant="acme")
    async with scene.client() as client:
        response = await client.post(path, data={"kind": "tenant", "name": "acme", "csrf": ""})
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert await scene.ask(tenant="acme") == "hit"


async def test_the_token_lets_in_and_its_cookie_is_for_this_site_alone() -> None:
    scene = Scene()
    async with scene.client() as client:
        response = await client.post("/login", data={"secret": TOKEN})
        cookie = response.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(re.split(r"; ", cookie))
        assert "Secure" not in cookie
        assert TOKEN not in cookie
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/login")).headers["location"] == "/"


async def test_behind_tls_the_cookie_never_leaves_without() -> None:
    scene = Scene(options=PageOptions(token=TOKEN, https=True))
    async with scene.client() as client:
        assert "Secure" in (await client.post("/login", data={"secret": TOKEN})).headers["set-cookie"]


@pytest.mark.parametrize("given", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\U0001f600", "%00", TOKEN + "\0"])
async def test_anything_else_does_not(given: str, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    with caplog.at_level(logging.WARNING, "cachecore.proxy.page"):
        async with scene.client() as client:
            response = await client.post("/login", data={"secret": given})
    assert response.status_code == 403
    assert "set-cookie" not in response.headers
    assert "a wrong token or password" in caplog.text
    assert TOKEN[:-1] not in caplog.text


async def test_a_password_lets_in() -> None:
    password = "correct horse battery"
    scene = Scene(options=PageOptions(password_hash=password_hash(password)))
    async with scene.client() as client:
        assert "Password" in (await client.get("/login")).text
        assert (await client.post("/login", data={"secret": "correct horse"})).status_code == 403
        assert (await client.post("/login", data={"secret": password})).status_code == 303
        assert (await client.get("/")).status_code == 200


async def test_guesses_are_limited_and_the_right_one_then_waits_too() -> None:
    scene = Scene()
    async with scene.client() as client:
        for _ in range(MOST_FAILURES):
            assert (await client.post("/login", data={"secret": "wrong"})).status_code == 403
        response = await client.post("/login", data={"secret": TOKEN})
        assert (response.status_code, response.headers["retry-after"]) == (429, "60")
        scene.clock.advance(WINDOW + 1)
        assert (await client.post("/login", data={"secret": TOKEN})).status_code == 303


async def test_many_guesses_at_once_are_no_way_around() -> None:
    scene = Scene(options=PageOptions(password_hash=password_hash("correct horse battery")))
    async with scene.client() as client:
        guesses = (client.post("/login", data={"secret": f"guess {number}"}) for number in range(20))
        statuses = [response.status_code for response in await asyncio.gather(*guesses)]
    assert statuses.count(403) == MOST_FAILURES
    assert statuses.count(429) == 20 - MOST_FAILURES


async def test_many_addresses_share_one_limit_and_a_session_goes_on() -> None:
    scene = Scene()
    statuses = []
    async with scene.inside() as browser:
        for number in range(MOST_FAILURES_OF_ALL + 5):
            async with scene.client(address=f"10.0.0.{number}") as client:
                statuses.append((await client.post("/login", data={"secret": "wrong"})).status_code)
        assert statuses.count(403) == MOST_FAILURES_OF_ALL
        assert statuses[-1] == 429
        await browser.get("/")


async def test_the_right_token_forgets_earlier_mistakes() -> None:
    scene = Scene()
    async with scene.client() as client:
        for _ in range(3):
            for _ in range(MOST_FAILURES - 1):
                await client.post("/login", data={"secret": "wrong"})
            assert (await client.post("/login", data={"secret": TOKEN})).status_code == 303


async def test_a_session_ends_when_it_is_not_used() -> None:
    scene = Scene()
    async with scene.inside() as browser:
        scene.clock.advance(IDLE - 1)
        await browser.get("/")
        scene.clock.advance(IDLE - 1)
        await browser.get("/")
        scene.clock.advance(IDLE + 1)
        await browser.get("/live", status=401)


async def test_a_session_ends_however_much_it_is_used() -> None:
    scene = Scene()
    async with scene.inside() as browser:
        for _ in range(int(LIFE / 1800)):
            await browser.get("/misses")
            scene.clock.advance(1800)
        scene.clock.advance(1)
        await browser.get("/live", status=401)


async def test_logging_out_ends_the_session_not_only_the_cookie() -> None:
    scene = Scene()
    async with scene.inside() as browser:
        cookies = dict(browser.client.cookies)
        assert (await browser.send("/logout")).headers["location"] == "/login"
        browser.client.cookies.update(cookies)
        await browser.get("/live", status=401)


async def test_sessions_are_bounded() -> None:
    scene = Scene()
    async with scene.inside() as first:
        for _ in range(MOST_SESSIONS):
            async with scene.inside():
                pass
        await first.get("/live", status=401)


async def test_an_invented_cookie_is_no_session() -> None:
    scene = Scene()
    async with scene.client(cookies={"cachecore_page": "invented"}) as client:
        assert (await client.get("/live")).status_code == 401


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "a token or a password_hash"),
        ({"token": TOKEN, "password_hash": password_hash("correct horse battery")}, "not both"),
        ({"token": "short"}, "at least 20 characters, not 5"),
        ({"password_hash": "correct horse battery"}, "password_hash is none"),
        ({"password_hash": "scrypt:16384:8:1:AAAA:AAAA"}, "password_hash is none"),
        ({"password_hash": "scrypt:1073741824:8:1:AAAA:" + "A" * 43 + "="}, "password_hash is none"),
        ({"token": TOKEN, "hosts": ()}, "hosts must be names"),
        ({"token": TOKEN, "hosts": "localhost"}, "hosts must be names"),
        ({"token": TOKEN, "hosts": ("localhost:9000",)}, "hosts must be names without ports"),
        ({"token": TOKEN, "hosts": ("http://x",)}, "hosts must be names"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionsError, match=named) as caught:
        PageOptions(**options)
    assert "correct horse" not in str(caught.value)


def test_a_short_password_is_refused() -> None:
    with pytest.raises(OptionsError, match="at least 12 characters"):
        password_hash("secret")


def test_secrets_are_not_shown() -> None:
    assert TOKEN not in repr(PageOptions(token=TOKEN))
    digest = password_hash("correct horse battery")
    assert digest not in repr(PageOptions(password_hash=digest))
    assert password_hash("correct horse battery") != digest
