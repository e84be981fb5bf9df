"""`/metrics`: the counts of the gateway as Prometheus reads them (text format 0.0.4). Labels are bounded in number."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from cachecore_llm import ResponseCache
from cachecore_proxy.activity import FROM_CACHE, Activity
from cachecore_proxy.requests import Incoming

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_MOST_MODELS: Final = 50
CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests, and tells of them and of the counts of others."""

    def __init__(self, activity: Activity, cache: ResponseCache) -> None:
        self._activity, self._cache = activity, cache
        self._requests: Counter[tuple[str, str]] = Counter()
        self._times: dict[str, list[int]] = {"cache": [0] * (len(BUCKETS) + 1), "upstream": [0] * (len(BUCKETS) + 1)}
        self._sums: dict[str, float] = {"cache": 0.0, "upstream": 0.0}

    def count(self, incoming: Incoming) -> None:
        """Count a request that has ended. O(1)."""
        self._requests[incoming.protocol or "other", incoming.outcome] += 1
        if incoming.seconds is None or incoming.protocol is None:
            return
        source = "cache" if incoming.outcome in FROM_CACHE else "upstream"
        self._times[source][bisect_left(BUCKETS, incoming.seconds)] += 1
        self._sums[source] += incoming.seconds

    def text(self, health: Mapping[str, object]) -> bytes:
        """Return all metrics. `health`: the state of cache and store."""
        return (
            "\n".join([*self._of_requests(), *self._of_upstreams(), *self._of_costs(), *_store(health)]) + "\n"
        ).encode()

    def _of_requests(self) -> Iterator[str]:
        yield from _head(
            "cachecore_proxy_requests_total", "counter", "Requests that have ended, by protocol and outcome."
        )
        for (protocol, outcome), number in sorted(self._requests.items()):
            yield f'cachecore_proxy_requests_total{{protocol="{protocol}",outcome="{outcome}"}} {number}'
        name = "cachecore_proxy_first_byte_seconds"
        yield from _head(name, "histogram", "Seconds to a whole answer, or to the first byte of a stream.")
        for source, counts in self._times.items():
            passed = 0
            for bound, number in zip(BUCKETS, counts, strict=False):
                passed += number
                yield f'{name}_bucket{{source="{source}",le="{bound:g}"}} {passed}'
            yield f'{name}_bucket{{source="{source}",le="+Inf"}} {sum(counts)}'
            yield f'{name}_sum{{source="{source}"}} {self._sums[source]:.6f}'
            yield f'{name}_count{{source="{source}"}} {sum(counts)}'
        yield from _head("cachecore_proxy_requests_under_way", "gauge", "Requests under way, streams included.")
        yield f"cachecore_proxy_requests_under_way {self._activity.under_way}"
        yield from _head("cachecore_proxy_streams_open", "gauge", "Streams under way.")
        yield f"cachecore_proxy_streams_open {self._activity.streams_open}"

    def _of_upstreams(self) -> Iterator[str]:
        counts = sorted(self._activity.upstream_counts.items())
        yield from _head("cachecore_proxy_upstream_calls_total", "counter", "Calls to a provider.")
        for name, one in counts:
            yield f'cachecore_proxy_upstream_calls_total{{upstream="{name}"}} {one.calls}'
        yield from _head("cachecore_proxy_upstream_failures_total", "counter", "Of these, calls that failed.")
        for name, one in counts:
            yield f'cachecore_proxy_upstream_failures_total{{upstream="{name}"}} {one.failures}'
        yield from _head("cachecore_proxy_upstream_open", "gauge", "1 while a provider is taken for dead.")
        for state in self._activity.upstreams():
            labels = f'upstream="{state.name}",protocols="{state.protocol}"'
            yield f"cachecore_proxy_upstream_open{{{labels}}} {int(state.is_open)}"

    def _of_costs(self) -> Iterator[str]:
        rows = sorted(self._cache.ledger.by("model").items(), key=lambda one: -one[1].spent.calls - one[1].saved.calls)
        kinds = (
            ("cachecore_proxy_calls_total", "Calls that were paid for, or saved.", "calls"),
            ("cachecore_proxy_input_tokens_total", "Input tokens.", "input_tokens"),
            ("cachecore_proxy_output_tokens_total", "Output tokens.", "output_tokens"),
            ("cachecore_proxy_dollars_total", "Dollars, of calls with a known price.", "dollars"),
        )
        for name, told, field in kinds:
            yield from _head(name, "counter", told)
            for side in ("spent", "saved"):
                for model, row in rows[:_MOST_MODELS]:
                    number = getattr(getattr(row, side), field)
                    yield f'{name}{{side="{side}",model="{_label(model or "")}"}} {number}'
                rest = sum(getattr(getattr(row, side), field) for _, row in rows[_MOST_MODELS:])
                if rest:
                    yield f'{name}{{side="{side}",model="(others)"}} {rest}'


def _store(health: Mapping[str, object]) -> Iterator[str]:
    yield from _head("cachecore_proxy_store_up", "gauge", "1 while the store answers.")
    yield f"cachecore_proxy_store_up {int(health.get('store') == 'ok')}"
    yield from _head(
        "cachecore_proxy_pending_invalidations", "gauge", "Invalidations that the store has not acknowledged."
    )
    yield f"cachecore_proxy_pending_invalidations {health.get('pending_invalidations', 0)}"


def _head(name: str, kind: str, told: str) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"


def _label(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:100])
    return shown.replace("\\", "\\\\").replace('"', '\\"')
