"""Mistakes that mypy and pyright find: each line that ends in `# wrong` has one."""

from __future__ import annotations

from cachecore import Cache, SyncCache

cache = Cache("memory://", ttl=60)
plain = SyncCache("memory://", ttl=60)


@cache.cached
async def ask(question: str) -> list[str]:
    return [question]


@plain.cached(ttl=5)
def size(text: bytes) -> int:
    return len(text)


class Client:
    @cache.cached
    async def ask(self, question: str) -> int:
        return len(question)


async def by_text(names: list[bytes]) -> dict[bytes, int]:
    return {name: len(name) for name in names}


async def main() -> None:
    Cache("memory://", ttl=60, stale_if_eror=5)  # wrong
    Cache("memory://", ttl=60, l1_max_byte=5)  # wrong
    Cache("memory://", ttl=["an hour"])  # wrong
    SyncCache("memory://", ttl=60, l1_max_bytes=1.5)  # wrong
    Cache("memory://", ttl=60, value_types=dict)  # wrong
    SyncCache("memory://", ttl=60, namespce="x")  # wrong
    Cache.from_config(tttl=5)  # wrong
    SyncCache.from_config(prefx="x")  # wrong
    cache.scoped("faq", ttll=5)  # wrong
    plain.scoped("faq", l1_max_bytes=5)  # wrong
    cache.cached(stale_while_revalidat=5)  # wrong
    plain.cached(tag=["x"])  # wrong
    cache.cached(refresh_ahead="soon")  # wrong
    await ask()  # wrong
    await ask(3)  # wrong
    await ask.refresh("a", "b")  # wrong
    await ask.invalidate(queston="a")  # wrong
    await Client().ask(3)  # wrong
    await Client.ask.invalidate("x")  # wrong
    size("text")  # wrong
    cache.cached(len)  # wrong
    cache.cached(refresh_factory=len)  # wrong
    await cache.get_or_set_many(["a"], by_text)  # wrong
    plain.get_or_set_many({"a": 1}, size)  # wrong
    (await cache.get_many([{"q": 1}])).get("q")  # wrong
    plain.cached(refresh_factory=60)  # wrong
    plain.cached(refresh_factry=size)  # wrong
    await cache.get_or_set("q", lambda: ask("a"), refresh_factory=ask("a"))  # wrong
