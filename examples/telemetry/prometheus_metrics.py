"""Metrics of a cache for Prometheus: an SDK, its exporter, and a page at http://127.0.0.1:9464/metrics.

    pip install -e . opentelemetry-sdk opentelemetry-exporter-prometheus
    python examples/telemetry/prometheus_metrics.py [PORT]

It answers questions from a cache until it gets a line on stdin, or its end. The dashboard (`dashboard.json`) and the
alerts (`alerts.yml`) beside it read these metrics.
"""

from __future__ import annotations

import asyncio
import sys

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

from cachecore import Cache


def serve(port: int) -> int:
    """Give the metrics of this process at `port` (0: any that is free) and return it. Call it before making a cache."""
    metrics.set_meter_provider(MeterProvider(metric_readers=[PrometheusMetricReader()]))
    server, _ = start_http_server(port, addr="127.0.0.1")
    return int(server.server_port)


async def answer() -> str:
    """Stand in for a model."""
    await asyncio.sleep(0.01)
    return "an answer"


async def main() -> None:
    port = serve(int(sys.argv[1]) if len(sys.argv) > 1 else 9464)
    async with Cache("memory://", ttl=60, name="faq", stale_if_error=60) as cache:
        for number in range(40):
            await cache.get_or_set({"question": number % 10}, answer)
        await cache.invalidate_tags("nothing")
        print(f"http://127.0.0.1:{port}/metrics", flush=True)
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(main())
