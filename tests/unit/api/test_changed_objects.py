"""Methods that change their own object while they compute, and so never find an answer: the log says which and once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import pytest

from cachecore import SyncCache
from tests.unit.virtual_caches import Scene, virtual


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "cachecore"]


def test_a_method_that_counts_its_calls_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with SyncCache[Any]("memory://", ttl=60) as cache:

        class Client:
            def __init__(self) -> None:
                self.calls, self.seen, self.model = 0, list[str](), "small"

            @cache.cached(name="ask")
            def ask(self, q: str) -> str:
                self.calls += 1
                self.seen.append(q)
                return q.upper()

            @cache.cached(name="leaves out", exclude=["self.calls"])
            def left_out(self, q: str) -> str:
                self.calls += 1
                return q.upper()

        client = Client()
        assert [client.ask("a secret") for _ in range(5)] == ["A SECRET"] * 5
        assert Client.ask.stats().computed == 5
        assert [client.left_out("b") for _ in range(5)] == ["B"] * 5
        assert Client.left_out.stats().computed == 1
    (line,) = said(caplog)
    assert "Client.ask changes its object while it computes (self.calls, self.seen)" in line
    assert "cached(exclude=['self.calls', 'self.seen'])" in line
    assert "secret" not in line


def test_async_methods_and_dataclasses_are_told_too(caplog: pytest.LogCaptureFixture) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache()

        @dataclass
        class Agent:
            turns: int = 0

            @cache.cached(name="ask")
            async def ask(self, q: str) -> str:
                self.turns += 1
                return q

        agent = Agent()
        assert [await agent.ask("a") for _ in range(3)] == ["a"] * 3

    check()
    (line,) = said(caplog)
    assert "Agent.ask changes its object while it computes (its fields)" in line
    assert "exclude=['self.…']" in line


def test_what_is_made_when_it_is_first_needed_is_no_change_to_speak_of(caplog: pytest.LogCaptureFixture) -> None:
    with SyncCache[Any]("memory://", ttl=60) as cache:

        class Model:
            words: list[str] | None = None

            @functools.cached_property
            def weights(self) -> list[int]:
                return [1, 2]

            @cache.cached(name="ask")
            def ask(self, q: int) -> int:
                self.words = self.words or ["a", "b"]
                return q + sum(self.weights)

            @cache.cached(name="fail")
            def fail(self) -> None:
                self.words = None
                raise ValueError("as without a cache")

        model = Model()
        assert [model.ask(n % 4) for n in range(12)] == [n % 4 + 3 for n in range(12)]
        assert Model.ask.stats().computed == 5  # the first one twice
        for _ in range(3):
            with pytest.raises(ValueError, match="as without a cache"):
                model.fail()
    assert said(caplog) == []


def test_objects_that_make_an_attribute_once_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Each of them changes at its first computation alone, and finds its answers from then on."""
    with SyncCache[Any]("memory://", ttl=60) as cache:

        class Page:
            def __init__(self, url: str) -> None:
                self.url = url

            @cache.cached(name="title")
            def title(self) -> str:
                self.size = len(self.url)
                return self.url.upper()

        for number in range(6):
            page = Page(f"page {number}")
            assert [page.title() for _ in range(3)] == [f"PAGE {number}"] * 3
        assert Page.title.stats().hits == 6
    assert said(caplog) == []


def test_a_method_that_raises_is_not_watched_for_ever() -> None:
    with SyncCache[Any]("memory://", ttl=60) as cache:
        keyed = 0

        class Broken:
            def __cachecore_key__(self) -> str:
                nonlocal keyed
                keyed += 1
                return "broken"

            @cache.cached(name="raises")
            def raises(self) -> str:
                raise ValueError("broken")

        each = []
        for _ in range(20):
            keyed = 0
            with pytest.raises(ValueError, match="broken"):
                Broken().raises()
            each.append(keyed)
    assert each == [each[-1] + 1] * 8 + [each[-1]] * 12
