"""Builds `dashboard.json` for Grafana from the table of metrics: python examples/telemetry/dashboard.py

Each metric has a panel, titled as the table describes it. A test holds the file against what this builds, and the names
against what the exporter serves.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cachecore.engine.metric_names import METRICS

FILE = Path(__file__).with_name("dashboard.json")
GAUGES = frozenset(
    {"cachecore.breaker.state", "cachecore.invalidations.pending", "cachecore.l1.bytes", "cachecore.l1.entries"}
)
UNITS = {"s": "_seconds", "By": "_bytes"}
SPLIT = {
    "cachecore.lookups": "outcome",
    "cachecore.factory.duration": "failed",
    "cachecore.backend.duration": "operation",
    "cachecore.backend.errors": "reason",
    "cachecore.breaker.state": "partition",
    "cachecore.entries.not_stored": "reason",
    "cachecore.entries.rejected": "reason",
    "cachecore.invalidations": "kind",
}
WITHOUT_CACHE = frozenset({"cachecore.backend.duration", "cachecore.backend.errors"})
"""Metrics of the store, which several caches may share: they have no attribute `cache`."""
HISTOGRAMS = frozenset(name for name, (unit, _) in METRICS.items() if unit == "s")
PANEL_WIDTH, PANEL_HEIGHT, ROW = 8, 8, 3


def series(name: str) -> str:
    """Return the name of a metric as the Prometheus exporter serves it, without `_bucket` and the like."""
    text = name.replace(".", "_")
    unit = UNITS.get(METRICS[name][0], "")
    text += "" if text.endswith(unit) else unit
    return text if name in GAUGES or name in HISTOGRAMS else f"{text}_total"


def expressions(name: str) -> list[tuple[str, str]]:
    """Return query and legend of each line in the panel of a metric."""
    where = "" if name in WITHOUT_CACHE else '{cache=~"$cache"}'
    label = SPLIT.get(name)
    by = f" by ({label})" if label else ""
    legend = f"{{{{{label}}}}}" if label else name.rpartition(".")[2]
    if name in HISTOGRAMS:
        within = f" by (le, {label})" if label else " by (le)"
        rate = f"sum{within} (rate({series(name)}_bucket{where}[$__rate_interval]))"
        return [(f"histogram_quantile({part}, {rate})", f"p{int(part * 100)} {legend}") for part in (0.5, 0.99)]
    if name in GAUGES:
        whole = "max" if name == "cachecore.breaker.state" else "sum"
        return [(f"{whole}{by} ({series(name)}{where})", legend)]
    return [(f"sum{by} (rate({series(name)}{where}[$__rate_interval]))", legend)]


def panel(number: int, title: str, lines: list[tuple[str, str]], unit: str, description: str) -> dict[str, Any]:
    """Return one panel, at its place in the grid."""
    place = {
        "x": number % ROW * PANEL_WIDTH,
        "y": number // ROW * PANEL_HEIGHT,
        "w": PANEL_WIDTH,
        "h": PANEL_HEIGHT,
    }
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": description,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + at), "datasource": source, "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(lines)
        ],
    }


def dashboard() -> dict[str, Any]:
    """Return the dashboard: the hit rate first, then a panel for each metric."""
    lookups = series("cachecore.lookups")
    hits = f'sum by (cache) (rate({lookups}{{cache=~"$cache",outcome="hit"}}[$__rate_interval]))'
    asked = f'sum by (cache) (rate({lookups}{{cache=~"$cache",outcome!="bypass"}}[$__rate_interval]))'
    rate = f"({hits} or 0 * {asked}) / {asked}"  # hits that were never counted are not exported
    panels = [panel(0, "Hit rate", [(rate, "{{cache}}")], "percentunit", "Hits among answers asked for")]
    for number, (name, (unit, description)) in enumerate(METRICS.items(), 1):
        kind = {"s": "s", "By": "bytes"}.get(unit, "short" if name in GAUGES else "ops")
        panels.append(panel(number, name, expressions(name), kind, description))
    variables = [
        {"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"},
        {
            "name": "cache",
            "type": "query",
            "label": "Cache",
            "datasource": {"type": "prometheus", "uid": "${source}"},
            "query": f"label_values({lookups}, cache)",
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "refresh": 2,
        },
    ]
    return {
        "uid": "cachecore",
        "title": "cachecore",
        "tags": ["cachecore"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables},
        "panels": panels,
    }


def text() -> str:
    """Return the dashboard as it stands in the file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
