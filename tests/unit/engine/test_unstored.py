"""A paid answer is never lost: what is said of storing it may be wrong, and all its callers have it."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest

from cachecore import Computed
from cachecore.engine.unstored import UnstoredLog
from tests.unit.virtual_caches import Scene, virtual

VALUE = {"token": "abc"}


class _Odd:
    def __bool__(self) -> bool:
        raise ValueError("secret text")


def _odd_tags(value: Any) -> Computed[Any]:
    return Computed(value, tags=[None])  # type: ignore[list-item]  # a tag made of a field that is missing


def _raises(value: Any) -> bool:
    return bool(value["choices"][0])


CASES: dict[str, tuple[Computed[Any], Any, str]] = {
    "ttl of 0": (Computed(VALUE, ttl=0), None, "ttl"),
    "ttl below 0": (Computed(VALUE, ttl=-30), None, "ttl"),
    "ttl of nan": (Computed(VALUE, ttl=math.nan), None, "ttl"),
    "ttl of infinity": (Computed(VALUE, ttl=math.inf), None, "ttl"),
    "a rule that raises": (Computed(VALUE), _raises, "admit_error"),
    "a rule without a verdict": (Computed(VALUE), lambda _: _Odd(), "admit_error"),
    "a rule with a ttl below 0": (Computed(VALUE), lambda value: Computed(value, ttl=-1), "ttl"),
    "a rule with odd tags": (Computed(VALUE), _odd_tags, "tags"),
    "more tags than an entry has room for": (Computed(VALUE, tags=[str(n) for n in range(300)]), None, "too_many_tags"),
    "metadata that is no plain data": (Computed(VALUE, metadata={"at": object()}), None, "encoding"),
}


@pytest.mark.parametrize(("computed", "admit", "reason"), CASES.values(), ids=CASES)
def test_all_callers_have_the_answer(
    computed: Computed[Any], admit: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A copy each, from one call; nothing is stored, which is counted each time and logged once."""

    @virtual
    async def run(scene: Scene) -> None:
        cache, calls = scene.cache(admit=admit), 0

        async def token() -> Computed[Any]:
            nonlocal calls
            calls += 1
            await asyncio.sleep(1)
            return computed

        for round_ in (1, 2):
            answers = await asyncio.gather(*(cache.get_or_set("q", token) for _ in range(3)))
            assert answers == [VALUE] * 3
            assert len({id(answer) for answer in answers}) == 3
            assert calls == round_
            assert cache.stats.not_stored == {reason: round_}
            assert await cache.get("q") is None
        assert (await cache.get_or_set_many(["q"], _batch(computed))) == {"q": VALUE}

    with caplog.at_level(logging.WARNING, "cachecore"):
        run()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2  # for each of the two functions
    assert "token" in lines[0]
    assert reason in lines[0]
    assert "abc" not in "".join(lines)
    assert "secret" not in "".join(lines)


def _batch(computed: Computed[Any]) -> Any:
    async def batch(names: list[str]) -> dict[str, Computed[Any]]:
        return dict.fromkeys(names, computed)

    return batch


@virtual
async def test_lookup_says_that_it_is_over(scene: Scene) -> None:
    cache = scene.cache()

    async def token() -> Computed[Any]:
        return Computed(VALUE, ttl=-30, served_by="idp")

    seen = await cache.lookup("q", token)
    assert (seen.outcome, seen.fresh_for, seen.served_by) == ("computed", -30, "idp")


@virtual
async def test_an_old_answer_stays_when_the_new_one_is_not_kept(scene: Scene) -> None:
    cache = scene.cache(ttl=1, stale_if_error=60)
    await cache.set("q", "old")
    await asyncio.sleep(2)

    async def over() -> Computed[str]:
        return Computed("new", ttl=0)

    async def down() -> str:
        raise OSError("down")

    assert await cache.get_or_set("q", over) == "new"
    assert await cache.get_or_set("q", down) == "old"


def test_one_who_does_not_want_to_store_may_return_anything(caplog: pytest.LogCaptureFixture) -> None:
    @virtual
    async def run(scene: Scene) -> None:
        cache, odd = scene.cache(), object()

        async def factory() -> Computed[object]:
            return Computed(odd, store=False)

        assert await cache.get_or_set("q", factory) is odd

    run()
    assert not caplog.records


def test_the_log_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    log = UnstoredLog()
    for number in range(10_001):
        log.warn(f"n{number}", _raises, "ttl", "its ttl is 0 seconds", None)
    assert len(log._said) == 1
