"""Dashboard, alerts and the example of the exporter: held against the table of metrics, and against a real scrape."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import generate_latest

from cachecore import Cache
from cachecore.engine.metric_names import METRICS
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.faulty import FaultyBackend

FOLDER = Path(__file__).parents[3] / "examples" / "telemetry"
NAME = re.compile(r"\bcachecore_[a-z0-9_]+")
PROMTOOL = shutil.which("promtool")


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("dashboard", FOLDER / "dashboard.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


built = _loaded()
SERIES = {built.series(name): name for name in METRICS}


def plain(series: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", series)


def test_the_dashboard_is_built_from_the_table() -> None:
    """The file is what the script makes, and every metric has its panel."""
    text = (FOLDER / "dashboard.json").read_text()
    assert text == built.text(), "run python examples/telemetry/dashboard.py"
    panels = json.loads(text)["panels"]
    assert [one["title"] for one in panels[1:]] == list(METRICS)
    assert len({one["id"] for one in panels}) == len(panels)
    assert len({(one["gridPos"]["x"], one["gridPos"]["y"]) for one in panels}) == len(panels)
    for one in panels[1:]:
        for target in one["targets"]:
            assert {plain(name) for name in NAME.findall(target["expr"])} == {built.series(one["title"])}


def test_alerts_read_metrics_that_there_are() -> None:
    text = (FOLDER / "alerts.yml").read_text()
    assert {plain(name) for name in NAME.findall(text)} <= SERIES.keys()


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
@pytest.mark.parametrize("arguments", [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]])
def test_alerts_by_promtool(arguments: list[str]) -> None:
    """The rules are rules, and say what the page says of a quiet and of a sick cache."""
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_is_scraped() -> None:
    """The program as it stands: its page has the metrics, by the names that dashboard and alerts use."""
    program = [sys.executable, str(FOLDER / "prometheus_metrics.py"), "0"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        address = running.stdout.readline().strip()
        with urllib.request.urlopen(address, timeout=60) as reply:
            page = reply.read().decode()
        running.stdin.write("\n")
        running.stdin.close()
        assert running.wait(60) == 0
    assert 'outcome="hit",tier="l1"} 30.0' in page
    assert {"cachecore_lookups_total", "cachecore_factory_duration_seconds", "cachecore_l1_bytes"} <= types_in(
        page
    ).keys()
    assert types_in(page).keys() <= SERIES.keys()


def types_in(page: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (cachecore_\w+) (\w+)$", page, re.MULTILINE))


@pytest.fixture
def provider() -> Iterator[MeterProvider]:
    made = MeterProvider(metric_readers=[PrometheusMetricReader()])
    yield made
    made.shutdown()


async def test_every_name_is_that_of_the_exporter(provider: MeterProvider) -> None:
    """A cache to which everything happens that is counted: all metrics of the table are served as they are named."""
    clock = FakeClock()
    store = FaultyBackend(MemoryBackend(clock=clock))
    options: dict[str, Any] = {"clock": clock, "meter": provider.get_meter("cachecore"), "stale_if_error": 600}

    async def answer() -> str:
        return "an answer"

    async def failing() -> str:
        raise RuntimeError("no model")

    async with Cache(store, ttl=10, jitter=0, l1_max_bytes=100_000, **options) as cache:
        assert await cache.get_or_set("a", answer) == "an answer"
        assert await cache.get_or_set("a", answer) == "an answer"
        await store.set_many({cache.key("damaged"): b"nonsense"}, ttl=60)
        assert await cache.get_or_set("damaged", answer) == "an answer"
        await cache.invalidate_tags("t")
        clock.advance(20)
        assert await cache.get_or_set("a", failing) == "an answer"
        store.fail()
        for number in range(10):
            await cache.get_or_set(number, answer)
        page = generate_latest().decode()
    served = types_in(page)
    kinds = {
        series: "histogram" if name in built.HISTOGRAMS else "gauge" if name in built.GAUGES else "counter"
        for series, name in SERIES.items()
    }
    assert served == kinds


def test_the_page_names_the_files() -> None:
    page = (FOLDER.parents[1] / "docs" / "telemetry.md").read_text()
    for path in FOLDER.iterdir():
        if path.suffix in (".py", ".json", ".yml"):
            assert path.name in page, path.name
