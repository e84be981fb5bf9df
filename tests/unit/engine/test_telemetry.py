"""What is counted and traced, as an application with the OpenTelemetry SDK sees it."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cachecore import Cache, bypass
from cachecore.engine.metric_names import BOUNDARIES, METRICS
from cachecore.engine.telemetry import Telemetry
from tests.unit.virtual_caches import Answer, Scene, soon, virtual

ROOT = Path(__file__).resolve().parents[3]
SECRET = "what the patient asked"


class Meters:
    """An SDK that exports to memory."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])
        self.meter = self.provider.get_meter("test")

    def read(self) -> dict[str, dict[tuple[tuple[str, Any], ...], float]]:
        """Return metric -> attributes -> value; of histograms the count."""
        data = self.reader.get_metrics_data()
        found: dict[str, dict[tuple[tuple[str, Any], ...], float]] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        value = point.value if isinstance(point, NumberDataPoint) else point.count
                        attributes = tuple(sorted((point.attributes or {}).items()))
                        found.setdefault(metric.name, {})[attributes] = value
        return found


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


async def use(scene: Scene, cache: Cache[Any]) -> None:
    """Make each kind of thing happen that is counted."""
    await asyncio.gather(*await soon(lambda: cache.get_or_set(SECRET, Answer(1), tags=[SECRET]), 3))
    await cache.get(SECRET)
    scene.store.calls.clear()
    await cache.get("missing " + SECRET)
    await scene.cache(namespace=cache._scope.keys.namespace).get(SECRET)
    with bypass():
        await cache.get(SECRET)
    await cache.expire(SECRET)
    await cache.get_or_set(SECRET, Answer(error=LookupError()))
    await asyncio.sleep(10)
    await cache.invalidate_tags(SECRET)
    await cache.invalidate_all()
    await cache.delete(SECRET)
    await cache.get_or_set("unencodable", _unencodable)
    await scene.memory.set_many({cache.key("damaged"): b"damaged"}, ttl=5)
    await cache.get("damaged")
    scene.store.fail("get_many")
    await cache.get("failing")
    scene.store.heal()


async def _unencodable() -> object:
    return object()


@virtual
async def test_metrics_have_the_names_and_attributes_of_the_documentation(scene: Scene) -> None:
    meters = Meters()
    cache = scene.cache(name="faq", meter=meters.meter, stale_while_revalidate=60)
    await use(scene, cache)
    found, stats, mine = meters.read(), cache.stats, ("cache", "faq")
    assert set(found) == METRICS.keys() - {"cachecore.breaker.state"}  # no call has failed often enough for that
    lookups = {(dict(key)["outcome"], dict(key)["tier"]): number for key, number in found["cachecore.lookups"].items()}
    assert lookups == {
        ("hit", "l1"): stats.hits_l1,
        ("hit", "l2"): stats.hits_l2,
        ("failed", "none"): stats.failed,
        ("stale", "l2"): 1,
        ("miss", "none"): 3,
        ("computed", "none"): 4,
        ("rescued", "l2"): 0,
        ("bypass", "none"): 1,
    }
    assert found["cachecore.flight.joined"] == {(mine,): 2}
    assert found["cachecore.factory.duration"] == {(mine, ("failed", False)): 2, (mine, ("failed", True)): 1}
    assert found["cachecore.entries.rejected"] == {(mine, ("reason", "magic")): 1}
    assert found["cachecore.entries.not_stored"] == {(mine, ("reason", "encoding")): 1}
    kinds = {dict(key)["kind"]: number for key, number in found["cachecore.invalidations"].items()}
    assert kinds == {"tags": 1, "all": 1, "delete": 1, "expire": 1}
    assert [dict(key)["operation"] for key in found["cachecore.backend.errors"]] == ["get_many"]
    assert {dict(key)["operation"] for key in found["cachecore.backend.duration"]} >= {"get_many", "swap"}
    assert found["cachecore.stale.age"] == {(mine,): 1}
    assert SECRET not in repr(found)


def test_the_documentation_has_every_metric_and_span_and_no_other() -> None:
    guide = (ROOT / "docs" / "telemetry.md").read_text()
    rows = {
        row[0]: row[1:]
        for row in re.findall(r"^\| `(cachecore[\w.]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", guide, re.MULTILINE)
    }
    assert {name: row[1:] for name, row in rows.items()} == METRICS
    spans = set(re.findall(r"^\| `(cachecore\.\w+)` \| [^|]+ \|$", guide, re.MULTILINE))
    sources = "".join(path.read_text() for path in (ROOT / "cachecore").rglob("*.py"))
    assert spans == set(re.findall(r"span\(\"(cachecore\.\w+)\"\)", sources))


def test_histograms_divide_where_their_seconds_lie() -> None:
    meters = Meters()
    telemetry = Telemetry("faq", meters.meter)
    telemetry.factory(2.5, failed=False)
    telemetry.recorder("get_many")(0.0005)
    telemetry.stale_served(7200)
    data = meters.reader.get_metrics_data()
    assert data is not None
    bounds = {
        metric.name: list(point.explicit_bounds)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
        if isinstance(point, HistogramDataPoint)
    }
    assert bounds == BOUNDARIES


@virtual
async def test_a_view_with_a_name_does_not_count_memory_again(scene: Scene) -> None:
    meters = Meters()
    cache = scene.cache(name="faq", meter=meters.meter)
    view = cache.scoped("view", name="view")
    await view.set("q", 1)
    found = meters.read()
    for metric in ("l1.bytes", "l1.entries", "l1.evictions", "invalidations.pending"):
        assert [dict(key) for key in found[f"cachecore.{metric}"]] == [{"cache": "faq"}]
    assert found["cachecore.entries.stored"] == {(("cache", "faq"),): 0, (("cache", "view"),): 1}
    assert view.stats.l1_entries == 1


@virtual
async def test_caches_of_one_name_are_one_series(scene: Scene) -> None:
    meters = Meters()
    one, two = (scene.cache(name="faq", meter=meters.meter, namespace=str(n)) for n in range(2))
    other = scene.cache(name="other", meter=meters.meter)
    for cache in (one, two, two, other):
        await cache.get("missing")
    misses = {
        dict(key)["cache"]: n for key, n in meters.read()["cachecore.lookups"].items() if ("outcome", "miss") in key
    }
    assert misses == {"faq": 3, "other": 1}


def test_a_breakers_state_is_the_worst_of_the_caches_of_one_name() -> None:
    """Not the sum: two closed breakers and two open ones are not another state."""
    meters = Meters()
    caches = [Telemetry("faq", meters.meter) for _ in range(3)]
    for telemetry, state in zip(caches, ("open", "closed", "open"), strict=True):
        telemetry.breaker_state("node", state)
    assert list(meters.read()["cachecore.breaker.state"].values()) == [2]


async def test_totals_of_caches_that_are_gone_stay() -> None:
    """What is exported as a total never falls, however many caches of a name come and go; gauges are of the living."""
    meters = Meters()
    for number in range(1, 4):
        cache = Cache[int]("memory://", ttl=60, name="n", meter=meters.meter)
        await cache.get_or_set("q", Answer())
        await cache.get("q")
        await cache.aclose()
        del cache
        gc.collect()
        lookups = {
            dict(attributes)["outcome"]: value for attributes, value in meters.read()["cachecore.lookups"].items()
        }
        assert lookups["computed"] == number
        assert lookups["hit"] in (0, number)
    assert sum(meters.read()["cachecore.l1.entries"].values()) == 0


@virtual
async def test_stats_tell_the_same(scene: Scene) -> None:
    cache = scene.cache()
    assert (cache.stats.hit_rate, cache.stats.lookups) == (0.0, 0)
    await cache.get_or_set("q", Answer())
    for _ in range(3):
        await cache.get("q")
    with pytest.raises(LookupError):
        await cache.get_or_set("fails", Answer(error=LookupError()))
    stats = cache.stats
    assert (stats.hits, stats.lookups, stats.hit_rate) == (3, 5, 0.6)
    assert (stats.computed, stats.failed, stats.factory_calls, stats.factory_errors) == (1, 1, 2, 1)
    assert (stats.stored, stats.l1_entries, stats.pending) == (1, 1, 0)
    assert stats.l1_bytes > 0
    await cache.get("q")
    assert (stats.hits, cache.stats.hits) == (3, 4)  # a snapshot


def test_each_call_that_leaves_memory_is_one_span(spans: InMemorySpanExporter) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache(namespace="n")

        async def seen(call: Any) -> list[str]:
            spans.clear()
            await call
            return [span.name for span in spans.get_finished_spans()]

        many = _same
        assert await seen(cache.get(SECRET)) == ["cachecore.get"]
        assert await seen(cache.get_or_set(SECRET, Answer(), tags=[SECRET])) == ["cachecore.lookup"]
        assert await seen(cache.get_many([SECRET, "b", "c"])) == ["cachecore.get_many"]
        assert await seen(cache.get_or_set_many([SECRET, "b", "c"], many)) == ["cachecore.get_or_set_many"]
        assert await seen(cache.set(SECRET, 2)) == ["cachecore.set"]
        for call in (
            cache.get(SECRET),
            cache.get_or_set(SECRET, Answer()),
            cache.lookup(SECRET),
            cache.get_many([SECRET, "b"]),
            cache.get_or_set_many([SECRET, "b"], many),
        ):
            assert await seen(call) == []
        assert await seen(cache.refresh(SECRET, Answer())) == ["cachecore.refresh"]
        assert await seen(cache.invalidate_tags(SECRET)) == ["cachecore.invalidate_tags"]
        assert await seen(cache.invalidate_all()) == ["cachecore.invalidate"]
        assert await seen(cache.delete(SECRET)) == ["cachecore.delete"]

    check()


def test_spans_tell_no_secrets(spans: InMemorySpanExporter) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        await use(scene, scene.cache(stale_while_revalidate=60))
        with pytest.raises(LookupError):
            await scene.cache().get_or_set("fails", Answer(error=LookupError(SECRET)))

    check()
    finished = spans.get_finished_spans()
    assert len(finished) > 5
    assert SECRET not in "".join(span.to_json() for span in finished)
    assert [span.status.is_ok for span in finished].count(False) == 1
    assert [dict(span.attributes or {}) for span in finished if not span.status.is_ok] == [
        {"error.type": "LookupError"}
    ]


async def _same(names: list[str]) -> dict[str, str]:
    return dict.fromkeys(names, "same")
