"""What a caller is told and what is counted: who waited for a factory was not served from the cache."""

from __future__ import annotations

import asyncio
import logging
import pickle
from typing import Any

import pytest

from cachecore import Computed, EncodingError
from cachecore.contract.errors import TooLargeError
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from tests.unit.virtual_caches import Answer, Scene, virtual


@virtual
async def test_a_caller_that_comes_while_the_answer_is_stored_has_joined(scene: Scene) -> None:
    """It waits for the store, and is given what it then finds there."""
    cache = scene.cache(backend_timeout=5)
    factory = Answer(1)
    first = asyncio.ensure_future(cache.lookup("q", factory))
    await asyncio.sleep(0.5)
    scene.store.delay("swap", 2, prefix="cc:e:")
    await asyncio.sleep(1)
    late = await cache.lookup("q", factory)
    assert (late.value, late.outcome, late.joined, late.tier) == (1, "computed", True, None)
    assert (await first).joined is False
    assert factory.calls == 1
    stats = cache.stats
    assert (stats.computed, stats.joined, stats.hits) == (2, 1, 0)


@virtual
async def test_a_caller_that_waits_for_another_process_has_joined(scene: Scene) -> None:
    one, two = scene.cache(), scene.cache()
    factory = Answer(1)
    first = asyncio.ensure_future(one.lookup("q", factory))
    await asyncio.sleep(0.1)
    found = await asyncio.gather(*(two.lookup("q", factory) for _ in range(3)))
    assert [(seen.value, seen.outcome, seen.joined) for seen in found] == [(1, "computed", True)] * 3
    assert (await first).joined is False
    assert (two.stats.computed, two.stats.joined, two.stats.hits, two.stats.factory_calls) == (3, 3, 0, 0)
    many = asyncio.ensure_future(one.get_or_set_many(["r"], _many))
    await asyncio.sleep(0.1)
    assert await two.get_or_set_many(["r"], _many) == await many == {"r": 1}
    assert (two.stats.computed, two.stats.joined, two.stats.hits) == (4, 4, 0)


async def _many(names: list[str]) -> dict[str, int]:
    await asyncio.sleep(1)
    return dict.fromkeys(names, 1)


@virtual
async def test_calls_count_as_they_begin(scene: Scene) -> None:
    cache = scene.cache()
    asked = asyncio.ensure_future(cache.get_or_set("q", Answer(1)))
    many = asyncio.ensure_future(cache.get_or_set_many(["r"], _many))
    await asyncio.sleep(0.5)
    assert (cache.stats.factory_calls, cache.stats.computed) == (2, 0)
    await asyncio.gather(asked, many)
    assert (cache.stats.factory_calls, cache.stats.factory_errors) == (2, 0)


LARGE: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "size": ("x" * 5000, "max_value_bytes allows 4096", {"max_value_bytes": 4096}, "compressed"),
    "payload": ("x" * 5000, "at most 4096", {"serializer": MsgpackSerializer(max_bytes=4096)}, "max_bytes"),
    "elements": ([1] * 5000, "more than 4096", {"serializer": MsgpackSerializer(max_elements=4096)}, "max_elements"),
    "json": ([1] * 5000, "more than 4096", {"serializer": JsonSerializer(max_elements=4096)}, "max_elements"),
    "too_many_tags": (Computed(1, tags=[str(n) for n in range(300)]), "256 tags", {}, "broader"),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_over_a_bound_has_a_reason_of_its_own(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """In the counters and the log, with the bound and the way out; `set` raises the same."""
    value, bound, options, remedy = LARGE[name]
    reason = {"payload": "size", "json": "elements"}.get(name, name)

    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache(**options)

        async def ask() -> Any:
            return value

        plain = value.value if isinstance(value, Computed) else value
        assert await asyncio.gather(*(cache.get_or_set("q", ask) for _ in range(2))) == [plain] * 2
        assert set(cache.stats.not_stored) == {reason}
        with pytest.raises(EncodingError, match=bound) as caught:
            await cache.set("q", value)
        assert isinstance(caught.value, TooLargeError)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (again.reason, str(again)) == (reason, str(caught.value))

    with caplog.at_level(logging.WARNING, "cachecore"):
        check()
    (line,) = (record.getMessage() for record in caplog.records)
    assert bound in line
    assert remedy in line
    assert f"under '{reason}'" in line
