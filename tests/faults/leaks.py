"""A program that plants secrets, has all kinds of trouble, and prints everything that came out of the library.

    python -m tests.faults.leaks PORT SOCKET PASSWORD PROMPT VALUE

Logs at DEBUG with their tracebacks, errors, `repr`s, metrics, spans, health, statistics, names of keys, SLOWLOG: one
line of JSON for each place. It runs in an interpreter of its own because OpenTelemetry's providers are set for good.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import traceback
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis import Redis

from cachecore import Cache, explain
from cachecore.keys.hashers import blake2b
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.testing.proxy import Proxy
from tests.faults.callers import until

_places: dict[str, list[str]] = {}


def _say(place: str, text: object) -> None:
    _places.setdefault(place, []).append(str(text))


async def _try(call: Any) -> None:
    try:
        await call
    except BaseException as error:  # whatever it is: what it says is looked at
        _say("errors", repr(error))
        _say("errors", "".join(traceback.format_exception(error)))


class Unkeyable:
    """Something that cannot be part of a request."""


async def _use(cache: Cache[Any], prompt: str, value: str) -> None:
    async def factory() -> str:
        return value

    async def failing() -> str:
        raise ConnectionError("the provider is away")

    asked = {"messages": [{"role": "system", "content": prompt}]}
    await _try(cache.get_or_set(asked, factory, tags=["doc:42"]))
    await _try(cache.get_or_set({"other": prompt}, failing))
    await _try(cache.get(asked))
    await _try(cache.set(asked, value))
    await _try(cache.set(asked, {"value": value, "what": Unkeyable()}))
    await _try(cache.get({"prompt": prompt, "image": Unkeyable()}))
    await _try(cache.get({prompt: Unkeyable()}))
    await _try(cache.set_many({prompt: value}))
    await _try(cache.invalidate_tags("doc:42"))
    await _try(cache.invalidate_tags(prompt * 500))
    await _try(cache.set(asked, value * 20_000))
    await _try(cache.delete(asked))
    _say("lookup", repr(await cache.lookup({"nothing": prompt})))
    _say("health", await cache.health())
    _say("stats", cache.stats)
    _say("repr", repr(cache) + repr(cache._engine.backend) + repr(cache._scope.serializer) + repr(cache._engine.raw))


async def _main(port: int, socket_path: str, password: str, prompt: str, value: str) -> None:
    sealed = EncryptedSerializer(keys={"k": password.encode().ljust(32, b"x")[:32]})
    _say("repr", repr(sealed))
    with Proxy(port) as link, Redis(unix_socket_path=socket_path, password=password) as admin:
        admin.config_set("slowlog-log-slower-than", 0)
        url = link.url.replace("://", f"://app:{password}@")
        for options in ({"serializer": sealed}, {"serializer": sealed, "hasher": blake2b(secret=prompt.encode())}):
            async with Cache[Any](
                url, ttl=60, stale_if_error=60, max_value_bytes=100_000, write_timeout=0.2, **options
            ) as cache:
                await cache.get("connected")
                await until(lambda: cache._engine.feed_state.live)
                await _use(cache, prompt, value)
                for trouble in (link.refuse, link.blackhole, lambda: link.cut(30), lambda: link.slow(0.2), link.reset):
                    trouble()
                    for _ in range(4):
                        await _use(cache, prompt, value)
                    link.heal()
                    await until(lambda: cache._engine.feed_state.live)
                admin.execute_command("ACL", "SETUSER", "app", "-set", "-unlink")
                await _use(cache, prompt, value)
                admin.execute_command("ACL", "SETUSER", "app", "+@all")
                for key in admin.scan_iter("cc:e:*"):
                    admin.set(key, value[:3])
                await _use(cache, prompt, value)
        for wrong in (
            url.replace("app:", "nobody:"),
            url.replace("redis:", "rediss:"),
            url.replace("127.", "no.such."),
        ):
            async with Cache[Any](wrong, ttl=60, write_timeout=0.2, serializer=sealed) as cache:
                await _use(cache, prompt, value)
        for bad in (url + "?timeout=soon", url + "&x=1", url.replace("redis", "rediz"), url.replace("/0", "/zero")):
            try:
                Cache(bad, ttl=60)
            except Exception as error:
                _say("errors", "".join(traceback.format_exception(error)))
        for secret in (b"short", password):
            try:
                EncryptedSerializer(keys={"k": secret})
            except Exception as error:
                _say("errors", "".join(traceback.format_exception(error)))
        _say("explain", explain({"q": 1}, {"q": 2}))
        _say("keys", [key.decode() for key in admin.scan_iter("*")])
        _say("slowlog", [entry["command"] for entry in admin.slowlog_get(10_000)])


def main() -> None:
    port, socket_path, password, prompt, value = sys.argv[1:]
    logs = io.StringIO()
    logging.basicConfig(level=logging.DEBUG, stream=logs)
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    metrics.set_meter_provider(MeterProvider([reader]))
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    asyncio.run(_main(int(port), socket_path, password, prompt, value), debug=True)
    _say("logs", logs.getvalue())
    collected = reader.get_metrics_data()
    _say("metrics", collected.to_json() if collected is not None else "")
    _say("spans", [span.to_json() for span in spans.get_finished_spans()])
    for place, texts in _places.items():
        print(json.dumps({place: texts}))


if __name__ == "__main__":
    main()
