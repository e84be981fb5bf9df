"""Bounds that figures are meant to keep, each with the benchmark that measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for one cell of a table, or for its ratio to the same cell of other rows."""

    work: str
    """The text of the row on the page."""
    question: str
    table: str
    row: str
    column: str
    bound: float
    at_most: bool = True
    over: tuple[str, ...] = ()
    """Rows by whose sum the cell is divided."""

    def kept(self, value: float) -> bool:
        """Return whether a value is within the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


def found(goal: Goal, results: list[dict[str, Any]]) -> float | None:
    """Return the figure of a goal; None if it was not measured."""
    for result in results:
        for table in result["tables"] if result["question"] == goal.question else ():
            if table["title"] == goal.table:
                cells = [table["rows"].get(name, {}).get(goal.column) for name in (goal.row, *goal.over)]
                if any(not isinstance(cell, int | float) for cell in cells):
                    return None
                return float(cells[0]) / (sum(cells[1:]) if goal.over else 1.0)
    return None


COLD: Final = "cachecore, no copies in memory"
WARM: Final = "cachecore, a tenth of the keys in memory"
TUNED: Final = "redis-py, timeouts off"
PROCESSOR: Final = "processor µs"
STARTED: Final = "processor ms, with the interpreter's start"
GATEWAY: Final = "cachecore's gateway"


def _faster(tasks: int, row: str, bound: float) -> Goal:
    work = f"hits on Redis by {tasks} readers, {row}: as a multiple of redis-py's, timeouts off"
    return Goal(work, "redis_calls", f"hit on Redis, {tasks} at once", TUNED, "wall µs", bound, False, (row,))


def _hit_in_file(work: str, table: str, bound: float) -> Goal:
    return Goal(f"hit in a file, {work}, processor µs", "disk_calls", table, COLD, PROCESSOR, bound)


CALLS: Final = (
    Goal(
        "cached async function, × async_lru",
        "decorated",
        "async function, hit in memory",
        "cachecore",
        "× async_lru",
        1.4,
    ),
    Goal(
        "cached plain function, × async_lru awaited",
        "decorated",
        "plain function, hit in memory",
        "cachecore",
        "× async_lru, awaited",
        1.3,
    ),
    Goal("key of a chat request, × json + sha256", "keys", "chat 3 KB", "cachecore sha256", "× json + sha256", 0.27),
    Goal(
        "key of a request with tools, × json + sha256",
        "keys",
        "chat 8 KB, 8 tools",
        "cachecore sha256",
        "× json + sha256",
        0.22,
    ),
    Goal(
        "get_or_set hit in memory, × its floor",
        "memory_hits",
        "a hit in memory, chat requests",
        "cachecore get_or_set",
        "× floor: pack, sha256, unpack",
        1.45,
    ),
    Goal(
        "hit on memory://, a copy 1.6 s old, processor µs",
        "memory_hits",
        "a hit on memory://, by the age of the copy",
        "cachecore get, a copy 1.6 s old",
        PROCESSOR,
        6.0,
    ),
    Goal("set on memory://, processor µs", "memory_calls", "write, one by one", "cachecore", PROCESSOR, 20.0),
    Goal(
        "set on Redis, one by one, × redis-py tuned",
        "redis_calls",
        "write on Redis, 1 at once",
        COLD,
        f"× {TUNED}",
        2.0,
    ),
    Goal(
        "set on Redis, 64 at once, × redis-py tuned",
        "redis_calls",
        "write on Redis, 64 at once",
        COLD,
        f"× {TUNED}",
        1.0,
    ),
    Goal(
        "set in a file, one by one, × diskcache",
        "disk_calls",
        "write in a file, 1 at once",
        COLD,
        "× diskcache, blocking the loop",
        4.5,
    ),
    Goal(
        "set in a file, 64 at once, × diskcache",
        "disk_calls",
        "write in a file, 64 at once",
        COLD,
        "× diskcache, blocking the loop",
        1.3,
    ),
    Goal(
        "copy put into memory by adaptive, processor µs",
        "eviction_puts",
        "a new copy put among 10,000, which evicts one",
        "cachecore adaptive",
        PROCESSOR,
        4.0,
    ),
    Goal(
        "copy put into memory by lru, processor µs",
        "eviction_puts",
        "a new copy put among 10,000, which evicts one",
        "cachecore lru",
        PROCESSOR,
        1.7,
    ),
    Goal(
        "set_many(1000) on Redis, ms",
        "batches",
        "set_many of 1,000 on Redis",
        "cachecore set_many",
        "wall ms of 1,000",
        28.0,
    ),
    Goal(
        "get_many of 100 in memory, processor µs for each key",
        "batches",
        "get_many of 100 in memory, for each key",
        "cachecore get_many",
        PROCESSOR,
        8.0,
    ),
    _hit_in_file("plain code", "hit in a file, plain code", 32.0),
    _hit_in_file("one by one", "hit in a file, 1 at once", 55.0),
    _hit_in_file("64 at once", "hit in a file, 64 at once", 16.0),
    *(_faster(tasks, COLD, bound) for tasks, bound in ((1, 1.8), (16, 4.2), (64, 5.5), (256, 5.2))),
    *(_faster(tasks, WARM, bound) for tasks, bound in ((64, 5.5), (256, 6.0))),
    Goal(
        "serializer json, writing, × json",
        "codecs",
        "write, a chat completion of 1.7 KB",
        "cachecore json",
        "× json",
        0.6,
    ),
    Goal(
        "serializer json, reading, × json",
        "codecs",
        "read, a chat completion of 1.7 KB",
        "cachecore json",
        "× json",
        0.6,
    ),
    Goal(
        "cold import, × asyncio",
        "imports",
        "import, beyond an empty program",
        "cachecore",
        STARTED,
        1.95,
        True,
        ("asyncio",),
    ),
    Goal(
        "cold import with Redis, × redis.asyncio",
        "imports",
        "import, beyond an empty program",
        "cachecore, with Redis",
        STARTED,
        1.3,
        True,
        ("redis.asyncio",),
    ),
    Goal(
        "memory of an entry beyond its value, bytes",
        "entry_memory",
        "20,000 answers of 1,660 bytes",
        "cachecore",
        "bytes beyond the value",
        450.0,
    ),
    Goal(
        "adaptive beside LRU, points on its worst trace",
        "hit_ratio",
        "the worst trace of each",
        "adaptive beside LRU",
        "points",
        -0.3,
        False,
    ),
    Goal(
        "s3fifo beside the reference, points on its worst trace",
        "hit_ratio",
        "the worst trace of each",
        "s3fifo beside the reference",
        "points",
        -0.3,
        False,
    ),
)
SERVICES: Final = (
    Goal(
        "LLM service, a short prompt, µs added to a look-up",
        "llm_service",
        "a hit in memory",
        "OpenAI's chat, a short prompt",
        "added µs",
        10.0,
    ),
    Goal(
        "LLM service, a prompt of 60 KB, × a look-up",
        "llm_service",
        "a hit in memory",
        "OpenAI's chat, 60 KB",
        "×",
        1.4,
    ),
    Goal(
        "cached client, hit in memory, µs added", "sdk", "a call of a cached client", "hit, memory", "added µs", 150.0
    ),
    Goal("cached client, hit on Redis, µs added", "sdk", "a call of a cached client", "hit, Redis", "added µs", 400.0),
    Goal(
        "cached client, miss on Redis, µs added", "sdk", "a call of a cached client", "miss, Redis", "added µs", 1000.0
    ),
    Goal(
        "cached client, a stream at 10 ms a token, × the SDK",
        "sdk",
        "a streamed miss, for each chunk",
        "10 ms a token",
        "×",
        1.02,
    ),
    Goal(
        "stream with 1,000 readers, first chunk, the last reader, × queues",
        "streams",
        "a stream with 1,000 readers, beside a queue for each",
        "first chunk, last reader",
        "×",
        2.0,
    ),
    Goal("a reader of a stream, bytes", "streams", "the memory of a stream", "a reader", "bytes", 4096.0),
    Goal(
        "recording at 200 tokens a second, % of the answer's time",
        "recording",
        "an answer of 1,000 tokens",
        "OpenAI's SDK, 200 tokens a second",
        "of the answer's time, %",
        2.0,
    ),
    Goal(
        "gateway, a hit by 1 connection, × a constant",
        "gateway",
        "hits by 1 connections",
        GATEWAY,
        "of the constant, clock",
        1.6,
    ),
    Goal(
        "gateway, a hit by 16 connections, × a constant",
        "gateway",
        "hits by 16 connections",
        GATEWAY,
        "of the constant, clock",
        1.4,
    ),
    Goal(
        "gateway, ms added to a miss",
        "gateway",
        "misses, of a provider that answers after 200 ms",
        GATEWAY,
        "added ms",
        2.0,
    ),
    Goal(
        "gateway, first content of 1,000 streams, × a bare fan-out",
        "gateway",
        "streams of one prompt that begin at once",
        GATEWAY,
        "first content, p50 ms",
        2.0,
        True,
        ("a bare fan-out of bytes",),
    ),
    Goal(
        "index of similar questions, ms that the event loop waits",
        "similar_index",
        "the index of similar questions",
        "10,000 of 60 characters",
        "the loop waits, ms",
        20.0,
    ),
    Goal(
        "delete with marks in 8 processes, × without",
        "marks",
        "a call in 8 processes, with marks",
        "delete",
        "×, wall",
        1.2,
    ),
)
GOALS: Final[tuple[Goal, ...]] = (*CALLS, *SERVICES)
