"""Read, write, batch and invalidate on every backend, beside the obvious plain client of each store.

    python -m benchmarks backends

Each call is made again and again, one after the other: by a cache without copies in memory, and by the store's own
client, which reads and writes a value of the same length under one key. The client does no more than that: no tags, no
check of what it reads, no protection from a write that comes late. Cache and client take turns; a figure is the median
of its rounds. Servers run on this machine, so that a call costs processor time and almost no distance.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from cachecore import Cache
from cachecore.testing import servers
from cachecore_keyvalue import PyKeyValueBackend
from cachecore_objects import from_url
from tests.objects.conftest import bucket_of, s3_url
from tests.postgres.server import Server, missing

ROUNDS: Final = 7 if scale() >= 1 else 3
SECONDS: Final = 0.15 if scale() >= 1 else 0.05
KEYS: Final = 200
BATCH: Final = 50
ANSWER: Final = {"text": "an answer of a model, " * 130}
VALUE: Final = json.dumps(ANSWER).encode()
CALLS: Final = ("read", "write", "batch", "invalidate")

Call = Callable[[int], Awaitable[object]]
Pair = tuple[Any, dict[str, Call]]


def by_cache(cache: Cache[Any]) -> dict[str, Call]:
    """Return the calls of a cache: `batch` reads 50 answers, `invalidate` a tag that one answer has."""
    return {
        "read": lambda i: cache.get(i % KEYS),
        "write": lambda i: cache.set(i % KEYS, ANSWER),
        "batch": lambda i: cache.get_many([(i + step) % KEYS for step in range(BATCH)]),
        "invalidate": lambda i: cache.invalidate_tags(f"doc {i % KEYS}"),
    }


@contextlib.asynccontextmanager
async def on_sqlite() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(sqlite3.connect(f"{folder}/plain.db")) as plain:
        plain.execute("PRAGMA journal_mode = WAL")
        plain.execute("PRAGMA synchronous = NORMAL")
        plain.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")

        async def run(statement: str, *values: Any) -> object:
            with plain:
                return plain.execute(statement, values).fetchall()

        marks = ",".join("?" * BATCH)
        yield (
            f"sqlite:///{folder}/cache.db",
            {
                "read": lambda i: run("SELECT value FROM answers WHERE key = ?", f"k{i % KEYS}"),
                "write": lambda i: run("INSERT OR REPLACE INTO answers VALUES (?, ?)", f"k{i % KEYS}", VALUE),
                "batch": lambda i: run(
                    f"SELECT value FROM answers WHERE key IN ({marks})",
                    *(f"k{(i + step) % KEYS}" for step in range(BATCH)),
                ),
                "invalidate": lambda i: run("DELETE FROM answers WHERE key = ?", f"k{i % KEYS}"),
            },
        )


@contextlib.asynccontextmanager
async def redis_server() -> AsyncIterator[servers.Server]:
    with servers.Server(servers.installed()[max(servers.installed())]) as server:
        yield server


@contextlib.asynccontextmanager
async def on_redis() -> AsyncIterator[Pair]:
    from redis.asyncio import Redis

    async with redis_server() as server, Redis.from_url(server.url, db=1) as plain:
        yield (
            server.url,
            {
                "read": lambda i: plain.get(f"k{i % KEYS}"),
                "write": lambda i: plain.set(f"k{i % KEYS}", VALUE, ex=3600),
                "batch": lambda i: plain.mget([f"k{(i + step) % KEYS}" for step in range(BATCH)]),
                "invalidate": lambda i: plain.delete(f"k{i % KEYS}"),
            },
        )


@contextlib.asynccontextmanager
async def on_postgres() -> AsyncIterator[Pair]:
    import psycopg

    with Server() as server:
        async with await psycopg.AsyncConnection.connect(server.url(), autocommit=True) as plain:
            await plain.execute(
                "CREATE UNLOGGED TABLE answers (key text PRIMARY KEY, value bytea, expires timestamptz)"
            )

            async def run(statement: str, *values: Any) -> object:
                cursor = plain.cursor(binary=True)
                await cursor.execute(statement.encode(), values)
                return await cursor.fetchall() if cursor.description else None

            put = (
                "INSERT INTO answers VALUES (%s, %b, now() + interval '1 hour') ON CONFLICT (key) "
                "DO UPDATE SET value = EXCLUDED.value, expires = EXCLUDED.expires"
            )
            keys = [f"k{i}" for i in range(KEYS)] * 2
            yield (
                server.url(),
                {
                    "read": lambda i: run("SELECT value FROM answers WHERE key = %s", f"k{i % KEYS}"),
                    "write": lambda i: run(put, f"k{i % KEYS}", VALUE),
                    "batch": lambda i: run(
                        "SELECT key, value FROM answers WHERE key = ANY(%s::text[])", keys[i % KEYS : i % KEYS + BATCH]
                    ),
                    "invalidate": lambda i: run("DELETE FROM answers WHERE key = %s", f"k{i % KEYS}"),
                },
            )


def by_obstore(store: Any) -> dict[str, Call]:
    """Return the calls of obstore."""
    import obstore

    async def read(i: int) -> bytes | None:
        try:
            return bytes(await (await obstore.get_async(store, f"plain/k{i % KEYS}")).bytes_async())
        except FileNotFoundError:
            return None

    async def delete(i: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(store, f"plain/k{i % KEYS}")

    return {
        "read": read,
        "write": lambda i: obstore.put_async(store, f"plain/k{i % KEYS}", VALUE, use_multipart=False),
        "batch": lambda i: asyncio.gather(*(read(i + step) for step in range(BATCH))),
        "invalidate": delete,
    }


@contextlib.asynccontextmanager
async def on_files() -> AsyncIterator[Pair]:
    with tempfile.TemporaryDirectory() as folder:
        backend = from_url(f"file://{folder}")
        yield backend, by_obstore(backend._store)


@contextlib.asynccontextmanager
async def on_s3() -> AsyncIterator[Pair]:
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    backend = from_url(s3_url(port, bucket_of(port)))
    yield backend, by_obstore(backend._store)
    server.stop()


@contextlib.asynccontextmanager
async def on_keyvalue() -> AsyncIterator[Pair]:
    from key_value.aio.stores.redis import RedisStore

    async with redis_server() as server:
        store = RedisStore(url=server.url)
        keys = [f"k{i}" for i in range(KEYS)] * 2
        yield (
            PyKeyValueBackend(store),
            {
                "read": lambda i: store.get(f"k{i % KEYS}"),
                "write": lambda i: store.put(f"k{i % KEYS}", ANSWER, ttl=3600),
                "batch": lambda i: store.get_many(keys[i % KEYS : i % KEYS + BATCH]),
                "invalidate": lambda i: store.delete(f"k{i % KEYS}"),
            },
        )
        await store.close()


STORES: Final = {
    "sqlite": on_sqlite,
    "redis": on_redis,
    "postgres": on_postgres,
    "objects, files": on_files,
    "objects, S3 (moto)": on_s3,
    "keyvalue, Redis": on_keyvalue,
}


async def timed(call: Call) -> float:
    """Return the seconds of one call, from as many as fit into a round."""
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < SECONDS:
        await call(done)
        done += 1
    return spent / done


async def measured(store: Any, plain: dict[str, Call]) -> dict[str, dict[str, float]]:
    """Return, for each call, the microseconds of cache and client, and their ratio."""
    # Deadlines that a slow server does not miss: a missed one would be a quick miss.
    async with Cache(store, ttl=3600, l1_max_entries=0, backend_timeout=10, write_timeout=10) as cache:
        calls = {"cache": by_cache(cache), "client": plain}
        for i in range(KEYS):
            await cache.set(i, ANSWER, tags=[f"doc {i}"], required=True)
            await plain["write"](i)
        assert await cache.get(1) == ANSWER
        found: dict[str, dict[str, float]] = {}
        for name in CALLS:
            rounds: dict[str, list[float]] = {"cache": [], "client": []}
            for turn in range(ROUNDS):
                for who in ("cache", "client") if turn % 2 else ("client", "cache"):
                    rounds[who].append(await timed(calls[who][name]))
            ratios = [one / other for one, other in zip(rounds["cache"], rounds["client"], strict=True)]
            found[name] = {f"{who}_us": statistics.median(times) * 1e6 for who, times in rounds.items()}
            found[name]["ratio"] = statistics.median(ratios)
            assert name == "invalidate" or not cache.stats.misses, "a read that was no hit says nothing"
    return found


async def measure() -> list[Table]:
    tables: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in CALLS}
    for store, opened in STORES.items():
        if store == "postgres" and missing():
            for rows in tables.values():
                rows[store] = {"ratio": f"not measured: {missing()}"}
            continue
        async with opened() as (place, plain):
            for call, row in (await measured(place, plain)).items():
                tables[call][store] = {
                    "cachecore µs": round(row["cache_us"], 1),
                    "the store's client, µs": round(row["client_us"], 1),
                    "ratio": round(row["ratio"], 2),
                }
    titles = {"batch": f"read of a batch of {BATCH}", "invalidate": "invalidation of a tag, beside a deletion"}
    return [Table(titles.get(call, f"{call} of one answer"), "ratio", rows) for call, rows in tables.items()]


QUESTION = Question(
    "backends",
    "The cost of calls on every backend, beside the store's own client",
    measure,
    ["redis", "psycopg", "obstore", "py-key-value-aio"],
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
