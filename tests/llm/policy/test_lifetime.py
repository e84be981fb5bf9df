"""How long answers are fresh and lie in the store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import Cache, OptionsError
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore_llm.policy.controls import Controls
from cachecore_llm.policy.lifetime import Lifetimes, is_live
from cachecore_llm.wire import OPENAI_CHAT, OPENAI_RESPONSES
from cachecore_llm.wire.call import RequestFacts, ToolOffer
from tests.llm.policy.judged import request

DAY = 86_400.0
WEB = request(tools=(ToolOffer(kind="web_search_20250305", name="web_search", by_caller=False),))
durations = st.floats(1, 1e7)


def test_retention_is_said() -> None:
    """An answer of a day lies in the store for four, unless that is bounded."""
    assert Lifetimes().retention == 96 * 3600
    assert Lifetimes(max_retention="30h").retention == 30 * 3600
    assert Lifetimes(max_retention="30h").stale_if_error == 6 * 3600
    assert Lifetimes(max_retention="1h").ttl == 3600
    assert Lifetimes(max_retention="1h").retention == 3600
    assert Lifetimes(ttl=None).retention is None
    assert Lifetimes(ttl=None, max_retention=timedelta(days=30)).retention == 30 * DAY


@given(st.none() | durations, durations, durations, durations, st.none() | durations, st.booleans(), st.booleans())
def test_no_answer_lies_longer_than_max_retention(
    ttl: float | None, stale: float, while_: float, bound: float, asked: float | None, fallback: bool, web: bool
) -> None:
    """Whatever a call asks for."""
    kept = Lifetimes(ttl=ttl, stale_if_error=stale, stale_while_revalidate=while_, max_retention=bound)
    fresh = kept.ttl_of(WEB if web else request(), fallback=fallback, controls=Controls(ttl=asked))
    assert fresh is not None
    assert fresh > 0
    assert fresh + kept.window <= bound * (1 + 1e-9)


async def test_store_forgets_at_max_retention() -> None:
    """In a real cache: past the bound there is nothing left to serve, also to an outage."""
    clock, kept = FakeClock(), Lifetimes(max_retention="30h")
    windows: dict[str, Any] = {
        "stale_if_error": kept.stale_if_error,
        "stale_while_revalidate": kept.stale_while_revalidate,
    }

    async def failing() -> str:
        raise ConnectionError("the provider is away")

    async with Cache(MemoryBackend(clock=clock), ttl=kept.ttl, clock=clock, jitter=0, **windows) as cache:
        await cache.set("q", "answer")
        clock.advance(29 * 3600)
        found = await cache.lookup("q", failing)
        assert (found.outcome, found.value) == ("rescued", "answer")
        clock.advance(3600 + 1)
        with pytest.raises(ConnectionError):
            await cache.lookup("q", failing)


def test_which_ttl_counts() -> None:
    kept = Lifetimes(ttl="1h")
    assert kept.ttl_of(request()) == 3600
    assert kept.ttl_of(request(), fallback=True) == 300
    assert kept.ttl_of(WEB) == 300
    assert kept.ttl_of(WEB, controls=Controls(ttl="2h")) == 7200, "the caller knows what it searches for"
    assert kept.ttl_of(request(), controls=Controls(ttl=None)) is None
    assert kept.ttl_of(request(), fallback=True, controls=Controls(ttl=None)) == 300
    assert kept.ttl_of(request(), fallback=True, controls=Controls(ttl=5)) == 5
    assert Lifetimes(ttl=60).ttl_of(WEB) == 60
    assert Lifetimes(ttl=None, live_ttl="1m").ttl_of(WEB) == 60


def test_live_tools_of_real_requests() -> None:
    ask = {"model": "m", "messages": [{"role": "user", "content": "Who won?"}]}
    tool = {"type": "function", "function": {"name": "web_search"}}
    assert is_live(OPENAI_CHAT.parse({**ask, "web_search_options": {}}))
    assert not is_live(OPENAI_CHAT.parse({**ask, "tools": [tool]})), "a tool that the caller runs"
    for kind in ("web_search", "web_search_preview", "file_search"):
        assert is_live(OPENAI_RESPONSES.parse({"model": "m", "input": "Who won?", "tools": [{"type": kind}]}))
    assert not is_live(RequestFacts(model="m"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ttl": 0}, "ttl must be more than 0 seconds"),
        ({"fallback_ttl": None}, "fallback_ttl must be seconds"),
        ({"live_ttl": -1}, "live_ttl must be more than 0"),
        ({"max_retention": 0}, "max_retention must be more than 0"),
        ({"stale_if_error": float("nan")}, "stale_if_error must be 0 seconds or more and finite"),
        ({"stale_while_revalidate": -1}, "stale_while_revalidate must be 0 seconds or more"),
    ],
)
def test_wrong_lifetimes(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionsError, match=told):
        Lifetimes(**settings)
