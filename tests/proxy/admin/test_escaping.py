"""Whatever a client, a provider or a store puts into a name or an answer is text on every page, never markup."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import quote

import pytest

from cachecore_proxy.activity import UpstreamState
from tests.proxy.admin.scene import Scene

ATTACKS: Final = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus='alert(1)",
    "</textarea></title></pre><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7919 * 7907 }}{% raw %}",
    "\u202eevil\u2066",
    "a\x00b\r\nset-cookie: x=y",
]
_PAGES = ("/", "/live", "/requests", "/misses", "/entries", "/purge")
_TAGS = {
    *("html", "head", "meta", "title", "link", "script", "body", "a", "header", "span", "svg", "rect", "path", "line"),
    *(
        "nav",
        "ul",
        "li",
        "form",
        "input",
        "button",
        "main",
        "div",
        "section",
        "h1",
        "h2",
        "h3",
        "dl",
        "dt",
        "dd",
        "small",
    ),
    *(
        "figure",
        "figcaption",
        "i",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "p",
        "label",
        "select",
        "option",
        "pre",
        "strong",
    ),
}


class Markup(HTMLParser):
    """Notes every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def check(text: str) -> None:
    """Fail if the page has a tag, an attribute, or a link that is none of its own."""
    markup = Markup()
    markup.feed(text)
    assert markup.seen
    for tag, attributes in markup.seen:
        assert tag in _TAGS, tag
        assert not [name for name in attributes if name.startswith("on") or name == "style"], attributes
        for name in ("href", "src", "action"):
            link = attributes.get(name)
            assert link is None or re.match(r"[/#]", link), link
            assert link is None or not link.startswith("//"), link
        if tag == "script":
            assert attributes["src"] == "/static/page.js"
    assert "62615533" not in text


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", ["model", "tenant", "prompt", "text", "system", "answer"])
async def test_a_request_is_shown_as_text(place: str, attack: str) -> None:
    scene = Scene()
    given: dict[str, Any] = {place: attack.replace("/", "|") if place == "prompt" else attack}
    await scene.ask(**given)
    await scene.ask(**given)
    async with scene.inside() as browser:
        for path in _PAGES:
            check(await browser.get(path))
        (entry,) = [entry async for entry in scene.cache.flow.root.entries()]
        check(await browser.get("/entry", key=entry.key))
        shown = (await browser.send("/entry", key=entry.key)).text
        check(shown)
        if place == "answer" and "\0" not in attack:
            assert attack in html.unescape(shown)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("field", ["tenant", "prompt", "model", "tag", "older", "younger", "order", "page", "of"])
async def test_a_filter_is_shown_as_text(field: str, attack: str) -> None:
    scene = Scene()
    async with scene.inside() as browser:
        response = await browser.client.get("/entries", params={field: attack})
        assert response.status_code in (200, 400)
        check(response.text)
        response = await browser.client.get("/", params={"window": attack})
        check(response.text)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ["tenant", "prompt", "model", "tag", "entry"])
async def test_the_name_of_a_purge_is_shown_as_text(kind: str, attack: str) -> None:
    scene = Scene()
    async with scene.inside() as browser:
        response = await browser.client.get("/purge", params={"kind": kind, "name": attack})
        assert response.status_code in (200, 400)
        check(response.text)
        check((await browser.client.get("/purge", params={"kind": attack, "name": "x"})).text)
        response = await browser.send("/purge", kind=kind, name=attack)
        assert response.status_code in (303, 400)
        assert "x=y" not in response.headers.get("set-cookie", "")
        check(await browser.get("/purge"))


@pytest.mark.parametrize("attack", ATTACKS)
async def test_the_record_of_the_gateway_is_shown_as_text(attack: str) -> None:
    scene = Scene()
    scene.activity.missed(attack, key=attack, request={"body": {"model": "m"}})
    scene.activity.missed(attack, key=attack, request={"body": {"model": "m", attack: 1}})
    scene.activity.stream_opened("miss", model=attack, tenant=attack, prompt=attack)
    scene.activity.upstreams_from(lambda: [UpstreamState(attack, attack, attack, True, 1.0, attack)])
    scene.activity.called(attack, 1.0)
    async with scene.inside() as browser:
        for path in _PAGES:
            check(await browser.get(path))


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_path_or_a_login_is_shown_as_text(attack: str) -> None:
    scene = Scene()
    async with scene.client() as client:
        for response in (await client.get("/" + quote(attack)), await client.post("/login", data={"secret": attack})):
            assert response.status_code in (403, 404)
            check(response.text)
            assert "alert(1)" not in response.text
