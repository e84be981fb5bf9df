"""Sums over many names are right, are made beside the gateway, and are not made again at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cachecore_llm import ResponseCache
from cachecore_llm.cost.ledger import Charge
from cachecore_llm.cost.prices import Priced
from cachecore_llm.wire.facts import UsageFacts
from cachecore_proxy.activity import Activity
from cachecore_proxy.admin import sums
from cachecore_proxy.admin.sums import Sums
from tests.proxy.admin.scene import Scene


def many(scene: Scene, number: int) -> tuple[ResponseCache, Activity]:
    """Record requests of as many tenants."""
    usage = UsageFacts(input_tokens=10, output_tokens=5)
    for count in range(number):
        scene.cache.ledger.saved(Charge(Priced("m-2026", "p", None), usage, f"tenant-{count}", "faq"))
        scene.cache.ledger.spent(Charge(Priced("unknown", "p", None), None, f"tenant-{count}", "faq"))
        scene.activity.began()
        scene.activity.ended("hit", 0.5, model="m", tenant=f"tenant-{count}", prompt="faq")
    return scene.cache, scene.activity


async def test_the_sums_are_those_of_the_ledger() -> None:
    scene = Scene()
    cache, activity = many(scene, 50)
    found = await Sums(cache, activity).now()
    assert found.total == cache.ledger.total()
    assert dict(found.paid) == cache.ledger.by("model")
    assert [name for name, _ in found.paid] == ["m-2026", "unknown"]  # the most saved first
    by_tenant = cache.ledger.by("tenant")
    assert {group.name: group.saved for group in found.groups["tenant"]} == {
        name: row.saved for name, row in by_tenant.items()
    }
    (group,) = found.groups["prompt"]
    assert (group.name, group.requests, group.cached, group.asked, group.seconds) == ("faq", 50, 50, 50, 0.5)
    assert found.groups["model"][0].saved is None


async def test_they_are_made_in_a_thread_once_for_all_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    made = sums._summed

    def noted(*arguments: object) -> object:
        threads.append(threading.current_thread())
        return made(*arguments)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(sums, "_summed", noted)
    monkeypatch.setattr(sums, "_REST", 1e6)
    looked = Sums(*many(Scene(), 10))
    results = await asyncio.gather(*(looked.now() for _ in range(20)))
    assert len({id(result) for result in results}) == 1
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_they_are_made_again_when_their_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "_REST", 0)
    scene = Scene()
    looked = Sums(*many(scene, 3))
    assert (await looked.now()).total.saved.calls == 3
    many(scene, 4)
    assert (await looked.now()).total.saved.calls == 7
