"""What the pages show: figures of the gateway, entries of the store, why requests missed."""

from __future__ import annotations

import asyncio
import html
import re
from typing import Any

import pytest

from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from cachecore_llm.flow import StoredAnswer
from cachecore_llm.wire import Call
from cachecore_proxy.activity import UpstreamState
from cachecore_proxy.admin.listing import MOST, PAGE
from tests.proxy.admin.scene import Scene


def words(text: str) -> str:
    """Return the words of a page as a reader sees them."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text))).strip()


def rows(text: str, heading: str) -> list[str]:
    """Return the rows of the table below `heading`."""
    part = text.split(heading, 1)[1].split("</table>", 1)[0]
    return [words(row) for row in re.findall(r"<tr>.*?</tr>", part, re.DOTALL)][1:]


async def test_the_overview_has_the_figures() -> None:
    scene = Scene()
    for _ in range(4):
        await scene.ask(tenant="acme", prompt="faq", seconds=0.8)
    scene.activity.began()
    scene.activity.ended("failed", 1.0, model="m", tenant="acme", prompt="faq")
    async with scene.inside() as browser:
        text = await browser.get("/")
    seen = words(text)
    assert "From cache 60.0 % 3 of 5 in 5 min" in seen
    assert "5, 1 failed" in seen
    assert "spent $0.0001" in seen  # 10 tokens at $2 and 5 at $10 a million are $0.00007
    assert "Saved $0.0002" in seen
    assert "Tokens saved 45 spent 15" in seen
    assert rows(text, "Requests by model</h2>") == ["m 5 60.0 % 360 ms"]
    assert rows(text, "Requests by tenant</h2>") == ["acme 5 60.0 % 360 ms $0.0002"]
    assert rows(text, "Requests by prompt</h2>") == ["faq 5 60.0 % 360 ms $0.0002"]
    assert rows(text, "the model that answered</h2>") == ["m-2026 45 $0.0002 15 $0.0001 0"]
    assert "State answers" in seen
    (miss,) = rows(text, "Last misses")
    assert re.fullmatch("0 s ago not stored – m acme faq [0-9a-f]{12}", miss)


async def test_an_unknown_price_is_said_and_not_taken_for_nothing() -> None:
    scene = Scene()
    scene.cache.ledger.prices = type(scene.cache.ledger.prices)({})
    for _ in range(3):
        await scene.ask()
    async with scene.inside() as browser:
        seen = words(await browser.get("/"))
    assert "2 hits have no price" in seen


async def test_a_gateway_that_did_nothing_yet() -> None:
    scene = Scene()
    async with scene.inside() as browser:
        for path in ("/", "/requests", "/misses", "/entries", "/purge"):
            await browser.get(path)
        seen = words(await browser.get("/live"))
    assert "From cache –" in seen
    assert "Time of hits –" in seen


@pytest.mark.parametrize(("window", "hits"), [("60", 1), ("300", 2), ("3600", 3), ("nonsense", 2), ("-1", 2)])
async def test_the_span_of_the_figures(window: str, hits: int) -> None:
    scene = Scene()
    for pause in (1000, 200, 0):
        scene.activity.began()
        scene.activity.ended("hit", 0.001)
        scene.clock.advance(pause)
    async with scene.inside() as browser:
        text = await browser.get("/", window=window)
    assert f"{hits} of {hits} in" in words(text)
    assert text.count('<rect class="cached"') == hits


async def test_streams_under_way_are_shown() -> None:
    scene = Scene()
    stream = scene.activity.stream_opened("miss", model="m", tenant="acme", prompt="faq")
    stream.sent += 2048
    scene.clock.advance(75)
    async with scene.inside() as browser:
        assert rows(await browser.get("/live"), "Streams under way") == ["m acme faq miss 1 min 15 s 2.0 KiB"]
        scene.activity.stream_closed(stream)
        assert "Streams under way 0 None." in words(await browser.get("/live"))


async def test_an_open_breaker_is_an_alarm() -> None:
    scene = Scene()
    states = [UpstreamState("primary", "openai.chat", "https://p", True, 42.0, "503 ProviderError")]
    scene.activity.upstreams_from(lambda: states)
    scene.activity.called("primary", 1.5, failed=True)
    async with scene.inside() as browser:
        text = await browser.get("/live")
        assert "primary is not asked: 503 ProviderError. Asked again in 42 s." in words(text)
        assert rows(text, "Providers</h2>") == [
            "primary openai.chat not asked, again in 42 s 503 ProviderError 1 1 1.5 s"
        ]
        states[0] = UpstreamState("primary", "openai.chat", "https://p", False, 0.0)
        assert "data-alarm" not in await browser.get("/live")


async def test_a_store_that_is_away_is_an_alarm_and_the_page_goes_on() -> None:
    store = FaultyBackend(MemoryBackend())
    scene = Scene(store)
    await scene.ask()
    async with scene.inside() as browser:
        for operation in ("get_many", "scan"):
            store.fail(operation)
        seen = words(await browser.get("/live"))
        assert "The store does not answer" in seen
        assert "0 entries" in words(await browser.get("/entries"))
        store.heal()


async def test_the_reasons_of_misses() -> None:
    scene = Scene()
    await scene.ask("What?", system="Today is Monday.", prompt="faq")
    await scene.ask("What?", system="Today is Tuesday.", prompt="faq")
    await scene.cache.invalidate_prompt("faq")
    await scene.ask("What?", system="Today is Tuesday.", prompt="faq")
    scene.clock.advance(100_000)
    await scene.ask("What?", system="Today is Tuesday.", prompt="faq")
    async with scene.inside() as browser:
        text = await browser.get("/misses")
    # Purged entries are deleted as well, so that nothing of them is left to be found invalid.
    assert [row.rpartition(" ")[0] for row in rows(text, "The last ones</h2>")] == [
        "0 s ago not stored – m – faq",
        "1 d 3 h ago not stored – m – faq",
        "1 d 3 h ago not stored messages[0] m – faq",
        "1 d 3 h ago not stored – m – faq",
    ]
    assert rows(text, "Reasons since the start</h2>") == ["not stored 4"]
    assert "Monday" not in text


async def filled(scene: Scene) -> None:
    """Store six entries, one a minute."""
    for number, (model, tenant, prompt) in enumerate(
        [
            ("m", "acme", "faq"),
            ("m", "globex", "faq"),
            ("n", "acme", "faq/v2"),
            ("n", None, "faqs"),
            ("n", "faq", None),
            ("m", None, None),
        ]
    ):
        await scene.ask(
            f"Question {number}", model=model, tenant=tenant, prompt=prompt, answer="x" * 1000 * (number + 1)
        )
        scene.clock.advance(60)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, {0, 1, 2, 3, 4, 5}),
        ({"tenant": "acme"}, {0, 2}),
        ({"tenant": "faq"}, {4}),
        ({"tenant": "nobody"}, set()),
        ({"prompt": "faq"}, {0, 1, 2}),
        ({"prompt": "faq/v2"}, {2}),
        ({"prompt": "faq", "tenant": "acme", "model": "m"}, {0}),
        ({"model": "n"}, {2, 3, 4}),
        ({"tag": "model:m"}, {0, 1, 5}),
        ({"tag": "l-faqs"}, {3}),
        ({"older": "4m"}, {0, 1, 2}),
        ({"younger": "90"}, {5}),
        ({"older": "2m", "younger": "4M"}, {2, 3, 4}),
        ({"older": "0.05h"}, {0, 1, 2, 3}),
    ],
)
async def test_entries_are_found_by_what_they_are(wanted: dict[str, str], found: set[int]) -> None:
    scene = Scene()
    await filled(scene)
    async with scene.inside() as browser:
        text = await browser.get("/entries", wanted)
    listed = rows(text, "</form>\n") if found else []
    # The ages tell the entries apart: the first is six minutes old.
    assert {6 - int(match[1]) for row in listed if (match := re.search(r" (\d) min for ", row))} == found
    assert f"{len(found)} {'entry' if len(found) == 1 else 'entries'}." in words(text)


async def test_the_facts_of_an_entry_are_shown_and_its_content_is_not() -> None:
    scene = Scene()
    await scene.ask("Where is my card?", tenant="acme", prompt="faq", answer="In your secret drawer.")
    async with scene.inside() as browser:
        text = await browser.get("/entries")
        (row,) = rows(text, "</form>\n")
        assert re.fullmatch(r"[0-9a-f]{12} faq [0-9a-f]{8} acme m primary 0 s for 1 h \d+ B", row)
        link = re.search(r'href="(/entry\?key=[^"]*)"', text)
        assert link is not None
        facts = await browser.get(html.unescape(link[1]))
        assert "Tenant acme Model m Provider primary" in words(facts)
        for page in (text, facts):
            assert "secret drawer" not in page
            assert "my card" not in page
        key = re.search(r'name="key" value="([^"]*)"', facts)
        assert key is not None
        await browser.get("/entry", status=200, key=key[1], content="1", csrf=await browser.csrf())
        shown = (await browser.send("/entry", key=key[1])).text
    assert "In your secret drawer." in shown
    assert "Where is my card?" in shown  # the question it may stand in for


async def test_the_look_at_a_content_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    await scene.ask(answer="In your secret drawer.")
    async with scene.inside() as browser:
        (entry,) = [entry async for entry in scene.cache.flow.root.entries()]
        with caplog.at_level("INFO", "cachecore.proxy.page"):
            await browser.send("/entry", key=entry.key)
    assert f"the content of the entry {entry.key} was looked at" in caplog.text
    assert "secret drawer" not in caplog.text


@pytest.mark.parametrize("key", ["llm:response:e:x:00", "nonsense", "../../etc/passwd", "\0", "x" * 900, "%"])
async def test_an_entry_that_is_not_there(key: str) -> None:
    scene = Scene()
    async with scene.inside() as browser:
        assert "There is no such entry" in await browser.get("/entry", status=404, key=key)
        assert (await browser.send("/entry", key=key)).status_code == 404


async def test_the_pages_of_a_listing_hold_still_while_entries_come() -> None:
    scene = Scene()
    for number in range(PAGE + 20):
        await scene.ask(f"Question {number}")
        scene.clock.advance(1)
    async with scene.inside() as browser:
        first = await browser.get("/entries", order="oldest")
        assert "70 entries." in words(first)
        assert "Page 1 of 2" in words(first)
        await scene.ask("A new one")
        link = re.search(r'rel="next" href="([^"]*)"', first)
        assert link is not None
        second = await browser.get(html.unescape(link[1]))
    assert len(rows(first, "</form>\n")) == PAGE
    assert len(rows(second, "</form>\n")) == 20
    assert not set(rows(first, "</form>\n")) & set(rows(second, "</form>\n"))


async def test_the_order_of_entries() -> None:
    scene = Scene()
    await filled(scene)
    async with scene.inside() as browser:
        ages = {}
        for order in ("newest", "oldest", "largest", "nonsense"):
            listed = rows(await browser.get("/entries", order=order), "</form>\n")
            ages[order] = [int(match[1]) for row in listed if (match := re.search(r" (\d) min for ", row))]
    assert ages["newest"] == ages["largest"] == ages["nonsense"] == [1, 2, 3, 4, 5, 6]  # later ones are larger
    assert ages["oldest"] == [6, 5, 4, 3, 2, 1]


async def test_a_listing_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cachecore_proxy.admin.listing.entries_of.__kwdefaults__", {"most": 30, "keep": 30, "seconds": 5.0}
    )
    assert MOST == 5000
    scene = Scene()
    for number in range(40):
        await scene.ask(f"Question {number}")
    async with scene.inside() as browser:
        assert "30 entries among the 30 that were looked at; the store has more." in words(
            await browser.get("/entries")
        )


async def test_a_slow_store_ends_a_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "cachecore_proxy.admin.listing.entries_of.__kwdefaults__", {"most": 5000, "keep": 5000, "seconds": 0.05}
    )
    scene = Scene()
    await scene.ask()
    forever = asyncio.Event()

    async def stuck(*_: Any, **__: Any) -> Any:
        async for entry in real():
            yield entry
        await forever.wait()

    real = scene.cache.flow.root.entries
    monkeypatch.setattr(type(scene.cache.flow.root), "entries", lambda *_, **__: stuck())
    async with scene.inside() as browser:
        assert "1 entry among the 1 that were looked at; the store has more." in words(await browser.get("/entries"))


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"older": "soon"}, "15m, 2h, 3d; not 'soon'"),
        ({"younger": "-1"}, "not '-1'"),
        ({"older": "nan"}, "not 'nan'"),
        ({"older": "1e999"}, "not '1e999'"),
        ({"prompt": "a//b"}, "one to 4 non-empty segments"),
        ({"prompt": "/".join("abcde")}, "one to 4 non-empty segments"),
    ],
)
async def test_wrong_filters_are_named(wanted: dict[str, str], named: str) -> None:
    scene = Scene()
    async with scene.inside() as browser:
        text = await browser.get("/entries", wanted, status=400)
    assert named in words(text)
    assert f'value="{html.escape(next(iter(wanted.values())))}"' in text


async def test_names_that_lie_in_the_store_as_digests_are_shown_as_names() -> None:
    scene = Scene()
    tenant, prompt = "Müller & Söhne GmbH", "Häufige Fragen/Version 2"
    await scene.ask(tenant=tenant, prompt=prompt)
    async with scene.inside() as browser:
        for wanted in ({}, {"tenant": tenant}, {"prompt": prompt}, {"prompt": "Häufige Fragen"}):
            (row,) = rows(await browser.get("/entries", wanted), "</form>\n")
            assert f"{prompt} " in row
            assert f" {tenant} " in row


async def test_digests_of_names_that_this_process_has_not_seen_can_be_given_as_they_are() -> None:
    scene = Scene()
    await scene.ask(tenant="Müller & Söhne GmbH", prompt="Häufige Fragen")
    scene.activity.rows.clear()
    async with scene.inside() as browser:
        (row,) = rows(await browser.get("/entries"), "</form>\n")
        prompt, tenant = (re.search(rf"{mark}-[\w-]{{22}}", row) for mark in "mx")
        assert prompt is not None
        assert tenant is not None
        for wanted in ({"tenant": tenant[0]}, {"prompt": prompt[0]}):
            assert rows(await browser.get("/entries", wanted), "</form>\n") == [row]


async def test_an_answer_of_another_protocol_and_a_broken_body_are_shown() -> None:
    scene = Scene()
    call = Call(protocol="openai.embeddings", endpoint="e", body={"model": "m", "input": "x"})
    view = scene.cache.flow.ask(call).view
    await view.set({"q": 1}, StoredAnswer(protocol="openai.embeddings", body=b'{"data": [{"embedding": [1.5]}]}'))
    await view.set({"q": 2}, StoredAnswer(protocol="openai.chat", body=b"no JSON \xff <b>"))
    await view.set({"q": 3}, StoredAnswer(protocol="openai.chat", body=b'{"choices": "\\ud800"}'))
    async with scene.inside() as browser:
        seen = [words((await browser.send("/entry", key=view.key({"q": q}))).text) for q in (1, 2, 3)]
    assert '"embedding": [ 1.5 ]' in seen[0]
    assert "no JSON \ufffd <b>" in seen[1]
    assert '"choices": "?"' in seen[2]
