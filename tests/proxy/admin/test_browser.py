"""The page in a real browser: under traffic, by keyboard alone, for screen readers, in light and dark."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from cachecore_proxy.activity import UpstreamState
from tests.proxy.admin.scene import TOKEN, Scene, served

api = pytest.importorskip("playwright.async_api", reason="playwright drives the browser: pip install playwright")

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")

Scheme = Literal["light", "dark"]
PATIENCE: Final = 60_000
"""Milliseconds that no step takes; playwright itself gives an expectation 5 seconds."""
api.expect.set_options(timeout=PATIENCE)

_SCRIPTS: Final = Path(__file__).parent
_CONTRAST: Final = (_SCRIPTS / "contrast.js").read_text()
"""Returns the number of texts on the page, and those with a contrast below 4.5."""
_NAMES: Final = (_SCRIPTS / "names.js").read_text()
"""Returns what a screen reader has no name for."""
_FOCUS: Final = """() => {
  const node = document.activeElement;
  const style = getComputedStyle(node);
  const name = node.getAttribute("aria-label") || node.labels?.[0]?.textContent || node.textContent;
  return [name.trim(), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
}"""
"""Returns the name of what has the focus, and whether that is to be seen."""
_HURRY: Final = "const wait = setTimeout; window.setTimeout = (then, ms) => wait(then, ms / 10);"
"""Lets the page refresh itself ten times as often."""


class Tab:
    """A tab of the browser, and what it did beside what was asked."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        page.on("request", self._requested)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)
        page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.url, "about:")):
            self.elsewhere.append(request.url)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    async def login(self) -> None:
        """Log in as a person does: the field has the focus."""
        await self.page.goto(self.url)
        await self.page.locator("#secret:focus").wait_for()
        await self.page.keyboard.type(TOKEN)
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_selector("#figures")

    async def tab_to(self, name: str) -> None:
        """Press Tab until what is called `name` has the focus, which must be visible on the way."""
        passed = []
        for _ in range(80):
            await self.page.keyboard.press("Tab")
            reached, visible = await self.page.evaluate(_FOCUS)
            assert visible or reached == "" or await self.page.evaluate("document.activeElement === document.body"), (
                reached
            )
            passed.append(reached)
            if reached == name:
                return
        raise AssertionError(f"{name!r} is not reached by Tab: {passed}")


@asynccontextmanager
async def opened(scene: Scene, *, scheme: Scheme = "light") -> AsyncIterator[Tab]:
    """Yield a tab on the page, and see that it asked for nothing elsewhere and had nothing to complain of."""
    async with served(scene.app) as url, api.async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=PATIENCE)
        try:
            context = await browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900})
            context.set_default_timeout(PATIENCE)
            await context.add_init_script(_HURRY)
            tab = Tab(await context.new_page(), url)
            yield tab
            assert tab.elsewhere == []
            assert tab.complaints == []
        finally:
            await browser.close()


@asynccontextmanager
async def traffic(scene: Scene) -> AsyncIterator[None]:
    """Let clients ask all the while."""

    async def ask() -> None:
        for number in itertools.count():
            await scene.ask(f"Question {number % 40}", tenant=("acme", "globex")[number % 2], prompt="faq")
            await asyncio.sleep(0.005)

    task = asyncio.ensure_future(ask())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_prompt_is_purged_by_keyboard_alone_while_there_is_traffic() -> None:
    scene = Scene()
    await scene.ask("Mine", tenant="acme", prompt="faq/card")
    await scene.ask("Other", tenant="acme", prompt="other")
    async with opened(scene) as tab, traffic(scene):
        page = tab.page
        await tab.login()
        before = await page.inner_text("#figures")
        await api.expect(page.locator("#figures")).not_to_have_text(before, use_inner_text=True)
        await tab.tab_to("Entries")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/entries")
        await tab.tab_to("Prompt")
        await page.keyboard.type("faq/card")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=1 entry.")
        await tab.tab_to("Purge prompt faq/card…")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#confirm-h")
        assert await page.inner_text(".count strong") == "1 entry"
        await tab.tab_to("Purge")  # the page of that name
        await tab.tab_to("Purge")  # the button
        assert await page.evaluate("document.activeElement.id") == "confirm"
        await page.keyboard.press("Enter")
        news = page.get_by_role("status")
        await news.filter(has_text="1 deleted").wait_for()
        await page.goto(f"{tab.url}/entries?prompt=faq/card")
        await page.wait_for_selector("text=0 entries.")
    assert await scene.ask("Mine", tenant="acme", prompt="faq/card") == "miss"
    assert await scene.ask("Other", tenant="acme", prompt="other") == "hit"


async def test_one_entry_is_looked_at_and_purged() -> None:
    scene = Scene()
    await scene.ask("Where?", answer="In the secret drawer.")
    async with opened(scene) as tab:
        page = tab.page
        await tab.login()
        await page.get_by_role("link", name="Entries").click()
        await page.get_by_role("link", name="Entry ").click()
        await page.wait_for_selector("text=Show the content")
        assert "secret drawer" not in await page.content()
        await page.get_by_role("button", name="Show the content").click()
        assert await page.inner_text("#answer") == "In the secret drawer."
        await page.get_by_role("link", name="Purge this entry…").click()
        await page.get_by_role("button", name="Purge", exact=True).click()
        await page.get_by_role("status").filter(has_text="Purged one entry: 1 deleted.").wait_for()
    assert await scene.ask("Where?") == "miss"


async def test_the_figures_leave_alone_what_is_in_use_and_can_be_paused() -> None:
    scene = Scene()
    await scene.ask(tenant="acme")
    async with opened(scene) as tab:
        page = tab.page
        await tab.login()
        await page.focus("#by-tenant a")
        for _ in range(3):
            await scene.ask(tenant="acme")
        await api.expect(page.locator("#by-model")).to_contain_text("75.0 %")
        assert await page.evaluate("document.activeElement.textContent") == "acme"
        assert "75.0 %" not in await page.inner_text("#by-tenant")
        await page.focus("#pause")
        await api.expect(page.locator("#by-tenant")).to_contain_text("75.0 %")
        await page.keyboard.press("Enter")
        assert await page.get_attribute("#pause", "aria-pressed") == "true"
        async with page.expect_response("**/live**"):  # the one that was due is no longer asked for
            await scene.ask(tenant="acme")
            await page.keyboard.press("Enter")
        await api.expect(page.locator("#by-model")).to_contain_text("80.0 %")


async def test_a_breaker_that_opens_is_told_to_screen_readers_and_figures_are_not() -> None:
    scene = Scene()
    states = [UpstreamState("primary", "openai.chat", "https://p", False, 0.0)]
    scene.activity.upstreams_from(lambda: states)
    async with opened(scene) as tab, traffic(scene):
        await tab.login()
        await api.expect(tab.page.locator("#by-prompt")).to_contain_text("faq")
        status = tab.page.get_by_role("status")
        assert await status.inner_text() == ""
        assert await tab.page.locator("[aria-live]").count() == 0
        states[0] = UpstreamState("primary", "openai.chat", "https://p", True, 42.0, "503")
        await status.filter(has_text="primary is not asked: 503.").wait_for()
        states[0] = UpstreamState("primary", "openai.chat", "https://p", True, 31.0, "503")
        await tab.page.wait_for_selector("text=Asked again in 31 s")
        assert await status.inner_text() == "primary is not asked: 503."  # a countdown is no news
        states[0] = UpstreamState("primary", "openai.chat", "https://p", False, 0.0)
        await status.filter(has_text="All is well again.").wait_for()


async def test_a_gateway_that_went_away_is_told_and_a_session_that_ended_asks_again() -> None:
    scene = Scene()
    async with opened(scene) as tab:
        await tab.login()
        await tab.page.route("**/live**", lambda route: route.abort())
        await tab.page.get_by_role("status").filter(has_text="these figures are old").wait_for()
        tab.complaints.clear()  # the browser's own, of the request that was cut
        await tab.page.unroute("**/live**")
        await tab.page.get_by_role("status").filter(has_text="answers again").wait_for()
        tab.complaints.clear()
        scene.clock.advance(100_000)
        await tab.page.wait_for_url("**/login")
        tab.complaints.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_can_be_read(scheme: Scheme) -> None:
    scene = Scene()
    for number in range(60):
        await scene.ask(f"Question {number % 55}", tenant="acme", prompt="faq")
    scene.activity.stream_opened("miss", model="m")
    scene.activity.upstreams_from(lambda: [UpstreamState("primary", "openai.chat", "https://p", True, 42.0, "503")])
    async with opened(scene, scheme=scheme) as tab:
        page = tab.page
        await page.goto(tab.url)
        grounds = {await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")}
        await check_readable(page)
        await tab.login()
        key = next(iter([entry.key async for entry in scene.cache.flow.root.entries()]))
        paths = ["/", "/requests", "/entries", "/entries?older=soon", "/misses", "/purge", "/purge?kind=model&name=m"]
        for path in [*paths, f"/entry?key={key}", "/nowhere"]:
            await page.goto(tab.url + path)
            await check_readable(page)
            grounds.add(await page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
        tab.complaints.clear()  # the browser's own, of the pages that are refused
        await page.set_viewport_size({"width": 360, "height": 700})
        for path in paths:
            await page.goto(tab.url + path)
            assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
        tab.complaints.clear()
    assert grounds == {"rgb(246, 247, 248)" if scheme == "light" else "rgb(20, 24, 27)"}


async def check_readable(page: Any) -> None:
    """Fail if a text has too little contrast, or a part has no name for a screen reader."""
    looked, poor = await page.evaluate(_CONTRAST)
    assert looked > 2
    assert poor == []
    names = await page.evaluate(_NAMES)
    assert (names.pop("mains"), names.pop("firsts")) == (1, 1)
    assert not any(names.values()), (page.url, names)


async def test_markup_in_names_and_answers_runs_nothing() -> None:
    scene = Scene()
    attack = '<img src=x onerror="document.title=1"><script>alert(1)</script>'
    await scene.ask(attack, model=attack, tenant=attack, prompt="p<b>", system=attack, answer=attack)
    scene.activity.stream_opened("miss", model=attack)
    scene.activity.upstreams_from(lambda: [UpstreamState(attack, attack, attack, True, 1.0, attack)])
    async with opened(scene) as tab:
        await tab.login()
        async with tab.page.expect_response("**/live**"):
            pass
        for path in ("/requests", "/entries", "/misses"):
            await tab.page.goto(tab.url + path)
            assert await tab.page.locator("main img, main script, main b").count() == 0
        await tab.page.goto(tab.url + "/entries")
        await tab.page.get_by_role("link", name="Entry ").click()
        await tab.page.get_by_role("button", name="Show the content").click()
        assert await tab.page.inner_text("#answer") == attack
        assert "cachecore" in await tab.page.title()


async def test_the_policy_of_the_page_stops_a_script_that_got_in() -> None:
    """Escaping is the first fence; this is the second one."""
    scene = Scene()
    async with opened(scene) as tab:
        await tab.login()
        await tab.page.evaluate(
            """() => {
              const script = document.createElement("script");
              script.textContent = "window.ran = 1";
              document.body.append(script);
              document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = 1'>");
            }"""
        )
        async with tab.page.expect_response("**/live**"):
            pass
        assert await tab.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in complaint for complaint in tab.complaints)
        tab.complaints.clear()
