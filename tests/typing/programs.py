"""Programs as applications write them, which mypy and pyright accept in strict mode. Checked, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypedDict, TypeVar, assert_type

from cachecore import Cache, Computed, Lookup, Stream, SyncCache, SyncStream

T = TypeVar("T")


@dataclass
class Answer:
    text: str


class Body(TypedDict):
    q: str


cache = Cache("memory://", ttl=60)
plain = SyncCache("memory://", ttl=timedelta(hours=1), stale_if_error=60.0, l1_max_entries=1000)
typed = Cache("memory://", ttl=60, value_type=Answer)
shared = SyncCache(cache)
configured = Cache(ttl="24h", stale_if_error="7d", l1_max_bytes="64MiB")
named: Cache[str] = Cache("memory://", ttl=None, namespace="faq", finish=True)
locale: ContextVar[str] = ContextVar("locale")


@cache.cached
async def ask(question: str, *, n: int = 1) -> list[str]:
    return [question] * n


@cache.cached(ttl=5, tags=["doc:{doc_id}"], stale_if_error=60, refresh_ahead=1.0, vary=[locale, lambda: 1], finish=True)
async def summary(doc_id: int, session: object = None) -> Answer:
    return Answer(str(doc_id))


@cache.cached
async def first(items: list[T]) -> T:
    return items[0]


async def tokens() -> AsyncIterator[bytes]:
    yield b"token"


def sync_tokens() -> Iterator[bytes]:
    yield b"token"


async def opened() -> AsyncIterator[bytes]:
    return tokens()


async def lengths(names: list[str]) -> dict[str, int]:
    return {name: len(name) for name in names}


async def some(names: list[str]) -> dict[str, Computed[int]]:
    return {name: Computed(len(name), ttl=5) for name in names}


async def mixed(names: list[str]) -> Mapping[str, str | Computed[str]]:
    return {name: name for name in names}


async def by_position(positions: list[int]) -> dict[int, str]:
    return {position: str(position) for position in positions}


def sync_by_position(positions: list[int]) -> dict[int, Computed[str]]:
    return {position: Computed(str(position)) for position in positions}


async def batches() -> None:
    """A batch is called by its requests, by the names of a mapping, or by positions where requests have no hash."""
    bodies: list[dict[str, Any]] = [{"q": 1}, {"q": 2}]
    assert_type(await cache.get_or_set_many(["a"], lengths), dict[str, int])
    assert_type(await cache.get_or_set_many({"a": {"q": 1}}, lengths), dict[str, int])
    assert_type(await cache.get_or_set_many(("a", "b"), some), dict[str, int])
    assert_type(await named.get_or_set_many(["a"], mixed), dict[str, str])
    assert_type(await cache.get_or_set_many(bodies, by_position), dict[int, str])
    assert_type(await named.get_or_set_many([["a", "b"], ["c"]], by_position), dict[int, str])
    assert_type(await named.get_or_set_many([Answer("a")], by_position), dict[int, str])
    assert_type(await cache.get_or_set_many([1, 2], by_position), dict[int, str])
    assert_type(plain.get_or_set_many(bodies, sync_by_position), dict[int, str])
    sized: dict[tuple[str, int], int] = plain.get_or_set_many([("a", 1)], lambda asked: {one: one[1] for one in asked})
    assert_type(sized[("a", 1)], int)
    found: dict[int, str] = await named.get_many(bodies)
    assert_type(found.get(0), str | None)
    assert_type(await named.get_many([{"q": 1}, {"q": 2}]), dict[int, str])
    assert_type(await named.get_many([Body(q="a")]), dict[int, str])
    assert_type(await named.get_many(["a"]), dict[str, str])
    assert_type(await named.get_many({1: Answer("a")}), dict[int, str])
    assert_type(SyncCache(named).get_many([["a"], ["b"]]), dict[int, str])
    assert_type(SyncCache(named).get_many([("a", 1)]), dict[tuple[str, int], str])
    assert_type(await named.set_many({"a": "b", "c": Computed("d", ttl=5)}), list[bool])
    assert_type(await named.delete_many(bodies), int)


def text_of(chunks: list[bytes]) -> str:
    return b"".join(chunks).decode()


def chunks_of(text: str) -> list[bytes]:
    return [text.encode()]


async def streams() -> None:
    stream = named.stream("q", tokens, assemble=text_of, replay=chunks_of, tags=["t"], ttl=timedelta(hours=1))
    assert_type(stream, Stream[bytes])
    async with stream:
        async for chunk in stream:
            assert_type(chunk, bytes)
    assert_type(cache.stream("q", opened, assemble=text_of, replay=chunks_of), Stream[bytes])
    assert_type(plain.stream("q", sync_tokens, assemble=text_of, replay=chunks_of), SyncStream[bytes])


def tags_of(doc_id: int, session: object = None) -> list[str]:
    return [f"doc:{doc_id}"]


async def reload(doc_id: int) -> Answer:
    return Answer(str(doc_id))


@cache.cached(ttl=5, stale_while_revalidate="1h", exclude=["session"], refresh_factory=reload)
async def load(doc_id: int, session: object) -> Answer:
    return await summary(doc_id, session)


def reload_plain(doc_id: int) -> Answer:
    return Answer(str(doc_id))


@plain.cached(stale_while_revalidate=60, exclude=["session"], refresh_factory=reload_plain)
def load_plain(doc_id: int, session: object) -> Answer:
    return Answer(str(doc_id))


@plain.cached(exclude=["session"], value_type=Answer, namespace="docs", tags=tags_of)
def read(doc_id: int, session: object = None) -> Answer:
    return Answer(str(doc_id))


def timed(function: Callable[[str], Awaitable[T]]) -> Callable[[str], Awaitable[T]]:
    return function


def loose(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    return function


@cache.cached
@loose
async def through(question: str) -> int:
    return len(question)


@timed
@cache.cached
@loose
async def between(question: str) -> int:
    return len(question)


@cache.cached
async def extract(kind: type[T], text: str) -> T:
    return kind()


@timed
@cache.cached
@timed
async def below(question: str) -> int:
    return len(question)


async def compute() -> list[int] | None:
    return [1]


async def computed() -> Computed[Answer]:
    return Computed(Answer("a"), ttl=5)


def text() -> str | Computed[str]:
    return "a"


class Client:
    @cache.cached(ttl=5, tags=["x"], exclude=["self.session"])
    async def ask(self, question: str) -> int:
        return len(question)

    @cache.cached
    @loose
    async def tried(self, question: str) -> int:
        return len(question)

    @property
    @plain.cached
    def motto(self) -> str:
        return "x"

    @cache.cached
    @classmethod
    async def make(cls, name: str) -> str:
        return name

    @cache.cached(ttl=5)
    @staticmethod
    async def add(a: int, b: int) -> int:
        return a + b

    @plain.cached
    def size(self, a: bytes) -> int:
        return len(a)


async def main() -> None:
    assert_type(await ask("x", n=2), list[str])
    assert_type(await ask.lookup("x"), Lookup[list[str]])
    assert_type(await ask.refresh("x", n=1), list[str])
    assert_type(await ask.invalidate("x"), bool)
    assert_type(ask.key("x"), str)
    assert_type(ask.stats().hits, int)
    await ask.invalidate_all()
    assert_type(await summary(1), Answer)
    assert_type(await first([1, 2]), int)
    assert_type(await below("x"), int)
    assert_type(await through("x"), int)
    assert_type(await through(question="x"), int)
    assert_type(await through.refresh("x"), int)
    assert_type(await between("x"), int)
    assert_type(await extract(Answer, "x"), Answer)
    assert_type(await partial(ask, "x")(n=1), list[str])
    client = Client()
    assert_type(await client.ask("x"), int)
    assert_type(await Client.ask.invalidate(client, "x"), bool)
    assert_type(await client.ask.refresh(client, "x"), int)
    assert_type(await Client.tried.invalidate(client, "x"), bool)
    assert_type(client.motto, str)
    assert_type(await Client.make.refresh(Client, "x"), str)
    assert_type(await Client.make("x"), str)
    assert_type(await client.make("x"), str)
    assert_type(await Client.add(1, 2), int)
    assert_type(client.size(b""), int)
    assert_type(Client.size.refresh(client, b""), int)
    assert_type(read(1), Answer)
    assert_type(read.lookup(1), Lookup[Answer])
    assert_type(cache, Cache[Any])
    assert_type(plain, SyncCache[Any])
    assert_type(typed, Cache[Answer])
    assert_type(await typed.get("q"), Answer | None)
    assert_type(await cache.get_or_set("q", compute), list[int] | None)
    assert_type(await cache.get_or_set("q", lambda: ask("x", n=1)), list[str])
    assert_type(await typed.get_or_set("q", computed), Answer)
    assert_type(plain.get_or_set("q", text, ttl=5), str)
    assert_type(await load(1, object()), Answer)
    assert_type(load_plain(1, object()), Answer)
    assert_type(await cache.get_or_set("q", lambda: load(1, object()), refresh_factory=lambda: reload(1)), Answer)
    assert_type(await cache.get_or_set("q", computed, refresh_factory=computed), Answer)
    assert_type(await typed.lookup("q", computed, refresh_factory=lambda: reload(1)), Lookup[Answer])
    assert_type(plain.get_or_set("q", text, refresh_factory=lambda: "b"), str)
    assert_type(shared.lookup("q", text, refresh_factory=text), Lookup[Any])
    assert_type(await named.get("q", 1), str | int | None)
    view = cache.scoped("faq/v3", ttl=5, tags=["prompt"], soft_timeout=1.0)
    assert_type(view, Cache[Any])
    assert_type(Cache.from_config(ttl=5, stale_if_error=60), Cache[Any])
    assert_type(SyncCache.from_config({"backend": "memory://"}, ttl=5).scoped("faq", jitter=0.0), SyncCache[Any])
