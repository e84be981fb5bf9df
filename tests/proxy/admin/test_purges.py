"""Purges: how many entries they are is shown first; afterwards those are gone in every process, and no others."""

from __future__ import annotations

import asyncio
import html
import re

import pytest

from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from tests.proxy.admin.scene import Browser, Scene
from tests.proxy.admin.test_pages import words

ASKED = [
    ("m", "acme", "faq"),
    ("m", "globex", "faq"),
    ("n", "acme", "faq/v2"),
    ("n", None, "faqs"),
    ("n", "faq", None),
    ("m", None, None),
    ("m", "Müller & Söhne", "Häufige Fragen"),
]


async def fill(scene: Scene) -> None:
    for model, tenant, prompt in ASKED:
        await scene.ask(model=model, tenant=tenant, prompt=prompt)


async def left(scene: Scene) -> set[int]:
    """Return which of `ASKED` are still answered from the cache, as a process that has no copies sees it."""
    found = set()
    for number, (model, tenant, prompt) in enumerate(ASKED):
        if await scene.ask(model=model, tenant=tenant, prompt=prompt) == "hit":
            found.add(number)
    return found


async def counted(browser: Browser, kind: str, name: str) -> str:
    """Return the number that is shown before a purge."""
    found = re.search(
        r'<p class="count"><strong>(.*?)</strong>', await browser.get("/purge", kind=kind, name=name), re.DOTALL
    )
    assert found is not None
    return words(found[1])


@pytest.mark.parametrize(
    ("kind", "name", "gone"),
    [
        ("prompt", "faq", {0, 1, 2}),
        ("prompt", "faq/v2", {2}),
        ("prompt", "Häufige Fragen", {6}),
        ("tenant", "acme", {0, 2}),
        ("tenant", "faq", {4}),
        ("tenant", "Müller & Söhne", {6}),
        ("tenant", "nobody", set()),
        ("model", "n", {2, 3, 4}),
        ("tag", "model:m", {0, 1, 5, 6}),
        ("tag", "l-faqs", {3}),
    ],
)
async def test_a_purge_takes_what_was_counted_and_no_more(kind: str, name: str, gone: set[int]) -> None:
    store = MemoryBackend()
    scene, elsewhere = Scene(store), Scene(store)
    await fill(scene)
    assert await left(elsewhere) == set(range(len(ASKED)))
    async with scene.inside() as browser:
        entries = "entry" if len(gone) == 1 else "entries"
        assert await counted(browser, kind, name) == f"{len(gone)} {entries}"
        assert await left(elsewhere) == set(range(len(ASKED)))  # counting purges nothing
        news = await browser.purge(kind, name)
        assert html.escape(name) in news
        assert "Purged" in news
        assert await counted(browser, kind, name) == "0 entries"
        assert await browser.get("/purge") == await browser.get("/purge")  # the news are told once
    assert await left(Scene(store)) == set(range(len(ASKED))) - gone


async def test_one_entry_is_purged_by_its_key() -> None:
    store = MemoryBackend()
    scene = Scene(store)
    await fill(scene)
    keys = [entry.key async for entry in scene.cache.flow.root.entries(where=lambda namespace: "l-faqs" in namespace)]
    async with scene.inside() as browser:
        assert await counted(browser, "entry", keys[0]) == "1 entry"
        assert await browser.purge("entry", keys[0]) == "Purged one entry: 1 deleted."
        assert await browser.purge("entry", keys[0]) == "Purged one entry: 0 deleted."
    assert await left(Scene(store)) == set(range(len(ASKED))) - {3}


async def test_another_process_on_redis_does_not_serve_its_copies(redis_url: str) -> None:
    scene, other = Scene(redis_url, real_time=True), Scene(redis_url, real_time=True)
    try:
        await fill(scene)
        assert await left(other) == await left(other) == set(range(len(ASKED)))
        (key,) = [entry.key async for entry in scene.cache.flow.root.entries(where=lambda place: "l-v2" in place)]
        async with scene.inside() as browser:
            assert await counted(browser, "model", "n") == "3 entries"
            await browser.purge("model", "n")
            assert await counted(browser, "entry", key) == "0 entries"
        model, tenant, prompt = ASKED[2]
        async with asyncio.timeout(60):
            while await other.ask(model=model, tenant=tenant, prompt=prompt) != "miss":  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.01)  # the feed has not told yet
        assert await left(other) == {0, 1, 2, 5, 6}
    finally:
        await scene.cache.aclose()
        await other.cache.aclose()


@pytest.mark.parametrize(
    ("kind", "name", "named"),
    [
        ("everything", "x", "one of entry, prompt, tenant, tag, model can be purged, not 'everything'"),
        ("prompt", "", "needs a name of 1 to 1000 characters"),
        ("tenant", "x" * 1001, "needs a name of 1 to 1000 characters"),
        ("prompt", "a//b", "one to 4 non-empty segments"),
        ("entry", "nonsense", "is no key of an answer here"),
        ("entry", "other:e:x:00", "is no key of an answer here"),
    ],
)
async def test_a_wrong_target_is_named(kind: str, name: str, named: str) -> None:
    scene = Scene()
    await fill(scene)
    async with scene.inside() as browser:
        response = await browser.send("/purge", kind=kind, name=name)
        assert response.status_code == 400
        assert named in words(response.text)
        if kind != "entry":
            assert named in words(await browser.get("/purge", status=400, kind=kind, name=name))
    assert await left(scene) == set(range(len(ASKED)))


async def test_a_store_that_does_not_acknowledge() -> None:
    store = FaultyBackend(MemoryBackend())
    scene = Scene(store)
    await fill(scene)
    async with scene.inside() as browser:
        for operation in ("delete_many", "swap", "set_many"):
            store.fail(operation)
        news = await browser.purge("tenant", "acme")
        assert "has not acknowledged the purge" in news
        store.heal()
        assert await left(scene) & {0, 2} == set()
    await scene.cache.aclose()


async def test_many_entries_are_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachecore_proxy.admin.purging.MOST_COUNTED", 20)
    scene = Scene()
    for number in range(30):
        await scene.ask(f"Question {number}")
    async with scene.inside() as browser:
        assert await counted(browser, "model", "m") == "At least 20 entries"
        await browser.purge("model", "m")
    assert await scene.ask("Question 29") == "miss"


async def test_a_purge_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    async with scene.inside() as browser:
        with caplog.at_level("INFO", "cachecore.proxy.page"):
            await browser.purge("tenant", "acme\nforged line")
    assert "the page purges a tenant: 'acme\\nforged line'" in caplog.text


async def test_listings_are_made_anew_after_a_purge() -> None:
    scene = Scene()
    for number in range(60):
        await scene.ask(f"Question {number}", tenant="acme")
    async with scene.inside() as browser:
        link = re.search(r'rel="next" href="([^"]*)"', await browser.get("/entries"))
        assert link is not None
        await browser.purge("tenant", "acme")
        assert "0 entries." in words(await browser.get(html.unescape(link[1])))
