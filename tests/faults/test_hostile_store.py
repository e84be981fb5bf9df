"""X1-X3, X5, X6: bytes under our keys that somebody else wrote, replies that are somebody else's, rights withheld."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import msgspec
import pytest
import zstandard
from redis import Redis

from cachecore import Cache
from cachecore.contract import plugins
from cachecore.contract.protocols import Serializer
from cachecore.encoding import entry
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.conformance import CHECKS, Check
from cachecore.testing.proxy import Link, Proxy
from cachecore.testing.servers import Server
from cachecore_llm import LLMResponse, ResponseCache
from cachecore_redis import RedisBackend
from tests.conftest import SERVERS, Record
from tests.faults.callers import PATIENT, Tally, answer, ask, cache_at, filled, in_a_row, request, sizes
from tests.unit.serializers.gadgets import CANARY, GADGETS

KEYS = {"new": b"n" * 32, "old": b"o" * 32}
ALL = {"keys": KEYS}


def chains() -> dict[str, Serializer]:
    """Every serializer that is shipped, alone and wrapped."""
    return {
        "msgpack": plugins.serializer("msgpack"),
        "json": plugins.serializer("json"),
        "typed": plugins.serializer("typed", value_type=dict[str, Any]),
        "compressed": plugins.serializer("compressed+msgpack"),
        "encrypted": EncryptedSerializer(keys=KEYS),
    }


def replaced(raw: bytes, key: str, payload: bytes, serializer: str | None = None, *, under: str | None = None) -> bytes:
    """Return a stored entry with another payload, its checksum put right, as somebody who knows the format would.

    `under`: the key it is made for, if that is another; each serializer has keys of its own.
    """
    old = entry.decode(raw, key)
    assert isinstance(old, entry.Entry)
    if serializer is None:
        return entry.seal(entry.Draft(key, old.header), payload)
    made = entry.draft(
        under or key,
        created=old.created,
        fresh_until=old.fresh_until,
        dead_until=old.dead_until,
        serializer=serializer,
        stamps=old.stamps,
    )
    return entry.seal(made, payload)


def plain(value: object) -> bool:
    """Whether a value is made of nothing but plain data."""
    if isinstance(value, dict):
        return all(plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(map(plain, value))
    # An extension that nobody has a meaning for stays a code and bytes.
    return value is None or type(value) in (str, bytes, int, float, bool, msgspec.msgpack.Ext)


@sizes(1, 1)
@pytest.mark.parametrize("name", chains())
async def test_x1_gadgets(name: str, size: int, any_server: Server, record: Record) -> None:
    """What would make other deserialisers run code is a miss or plain data, bare and inside a whole entry."""
    CANARY.unlink(missing_ok=True)
    served = 0
    async with cache_at(any_server.url, serializer=chains()[name], l1_max_entries=0, **PATIENT) as cache:
        await cache.set("q", answer(1))
        key = cache.key("q")
        with Redis(unix_socket_path=str(any_server.socket_path)) as admin:
            raw = admin.get(key)
            assert isinstance(raw, bytes)
            assert await cache.get("q") == answer(1)
            for gadget in GADGETS.values():
                inside = [gadget]
                if name == "compressed":
                    inside.append(b"\x01" + zstandard.compress(gadget))
                for stored in (gadget, *(replaced(raw, key, payload) for payload in inside)):
                    admin.set(key, stored)
                    value = await cache.get("q")
                    assert plain(value)
                    served += value is not None and name == "encrypted"
    assert served == 0
    assert len(GADGETS) >= 50
    assert not CANARY.exists()
    record("X1", "0 executed", met=True, size=f"{len(GADGETS)} gadgets × {len(chains())} serializers, bare and sealed")


BOMBS: dict[str, tuple[str, bytes]] = {
    "zeros": ("compressed", b"\x01" + zstandard.compress(bytes(256 * 1024 * 1024))),
    "array of four billion": ("msgpack", b"\xdd\xff\xff\xff\xff" + b"\xc0" * 1000),
    "text of four gigabytes": ("msgpack", b"\xdb\xff\xff\xff\xff" + b"a" * 1000),
    "nested without end": ("msgpack", b"\x91" * 500_000 + b"\xc0"),
    "nested JSON": ("json", b"[" * 500_000),
    "long number": ("json", b"1" * 500_000),
    "small arrays": ("msgpack", b"\xdc\xff\xff" + b"\x90" * 65535),
}


@pytest.mark.parametrize("name", BOMBS)
async def test_bombs_cost_nothing(name: str, any_server: Server) -> None:
    """What claims to be huge is refused before memory is taken for it."""
    serializer, payload = BOMBS[name]
    async with cache_at(any_server.url, serializer=chains()[serializer], l1_max_entries=0, **PATIENT) as cache:
        await cache.set("q", answer(1))
        key = cache.key("q")
        with Redis(unix_socket_path=str(any_server.socket_path)) as admin:
            raw = admin.get(key)
            assert isinstance(raw, bytes)
            admin.set(key, replaced(raw, key, payload))
        await cache.get("warm")
        tracemalloc.start()
        value = await cache.get("q")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert plain(value)
        assert value is None or name == "small arrays"
        assert peak < 16 * 1024 * 1024


async def test_value_over_the_limit_is_not_served(any_server: Server) -> None:
    async with cache_at(any_server.url, l1_max_entries=0, max_value_bytes=100_000, **PATIENT) as cache:
        await cache.set("q", "small")
        with Redis(unix_socket_path=str(any_server.socket_path)) as admin:
            admin.set(cache.key("q"), bytes(3_000_000))
        assert await cache.get("q") is None
        assert cache.stats.rejected == {"length": 1}


def forgeries(chance: random.Random, raws: dict[str, bytes], retired: bytes) -> Iterable[tuple[str, str, bytes]]:
    """Yield (how, key, bytes) without end: what somebody who can write to the store but has no key may try."""
    bare = plugins.serializer("msgpack")
    names = list(raws)

    def payload(key: str) -> bytes:
        found = entry.decode(raws[key], key)
        assert isinstance(found, entry.Entry)
        return found.payload

    def flipped(data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        return bytes(damaged) if bytes(damaged) != data else flipped(data)

    while True:
        key, other = chance.sample(names, 2)
        forged = bare.dumps({"forged": chance.random()}, entry.Draft(key, b""))
        yield "flipped", key, replaced(raws[key], key, flipped(payload(key)))
        yield "moved", key, replaced(raws[key], key, payload(other))
        yield "moved whole", key, raws[other]
        yield "plain", key, replaced(raws[key], key, forged)
        yield "downgraded", key, replaced(raws[key], key, forged, "msgpack")
        yield "header changed", key, replaced(raws[key], key, payload(key), "encrypted+msgpack+")
        yield "retired", key, retired
        own = payload(key)
        yield "cut", key, replaced(raws[key], key, own[: chance.randrange(len(own))])
        size = own[0] + 1
        yield "key id", key, replaced(raws[key], key, b"\x03old" + own[size:])
        yield "made up", key, replaced(raws[key], key, own[:size] + chance.randbytes(chance.randint(0, 200)))
        old = entry.decode(raws[key], key)
        assert isinstance(old, entry.Entry)
        longer = entry.draft(
            key,
            created=old.created,
            fresh_until=(old.fresh_until or 0) + 3600,
            dead_until=(old.dead_until or 0) + 3600,
            serializer=old.serializer,
            stamps=old.stamps,
        )
        yield "made to live longer", key, entry.seal(longer, own)


@sizes(5000, 1_000_000)
async def test_x2_forgeries(size: int, record: Record) -> None:
    """Nothing that was not sealed with a key in force, for this key and under this header, is served."""
    store = MemoryBackend()
    now = EncryptedSerializer(keys={"new": KEYS["new"]})
    async with cache_at(store, serializer=now, l1_max_entries=0) as cache:
        raws: dict[str, bytes] = {}
        numbers = {}
        for number in range(10):
            await cache.set(request(number), answer(number))
            key = cache.key(request(number))
            numbers[key] = number
            (raw,) = await store.get_many([key])
            assert raw is not None
            raws[key] = raw
        first = next(iter(raws))
        async with cache_at(store, serializer=EncryptedSerializer(keys=dict(reversed(KEYS.items())))) as before:
            await before.set(request(0), answer(0))
            (retired,) = await store.get_many([first])
            assert retired is not None
        await store.set_many(raws, ttl=None)
        for key, number in numbers.items():
            assert await cache.get(request(number)) == answer(number), key
        tried: Counter[str] = Counter()
        for how, key, forged in forgeries(random.Random(2), raws, retired):
            await store.set_many({key: forged}, ttl=None)
            assert await cache.get(request(numbers[key])) is None, how
            await store.set_many({key: raws[key]}, ttl=None)
            tried[how] += 1
            if sum(tried.values()) >= size:
                break
        for number in numbers.values():
            assert await cache.get(request(number)) == answer(number)
    record("X2", "0 accepted", met=True, size=f"{size:,} forgeries of {len(tried)} kinds")


async def test_sealed_entries_on_a_real_server(any_server: Server) -> None:
    """Moved, replayed from a retired key, or made plain: refused; and what is whole is served."""
    old = EncryptedSerializer(keys={"old": KEYS["old"]})
    both = EncryptedSerializer(keys=KEYS)
    new = EncryptedSerializer(keys={"new": KEYS["new"]})
    with Redis(unix_socket_path=str(any_server.socket_path)) as admin:
        async with cache_at(any_server.url, serializer=old, **PATIENT) as cache:
            await filled(cache, 2)
        async with cache_at(any_server.url, serializer=both, **PATIENT) as cache:
            assert await cache.get(request(0)) == answer(0), "while the old key is kept"
            moved = admin.get(cache.key(request(0)))
            assert isinstance(moved, bytes)
            admin.set(cache.key(request(1)), moved)
            assert await cache.get(request(1)) is None
            assert cache.stats.rejected == {"key": 1}
        async with cache_at(any_server.url, serializer=new, **PATIENT) as cache:
            assert await cache.get(request(0)) is None, "the old key is retired"
            assert cache.stats.rejected == {"payload": 1}
        async with cache_at(any_server.url, **PATIENT) as plain:
            await filled(plain, 1)
            raw, key = admin.get(plain.key(request(0))), plain.key(request(0))
        assert isinstance(raw, bytes)
        read = entry.decode(raw, key)
        assert isinstance(read, entry.Entry)
        async with cache_at(any_server.url, serializer=new, **PATIENT) as cache:
            sealed = cache.key(request(0))
            admin.set(sealed, replaced(raw, key, read.payload, read.serializer, under=sealed))
            assert await cache.get(request(0)) is None, "made plain"
            assert cache.stats.rejected == {"serializer": 1}


@sizes(900, 120_000)  # some of which are no names
async def test_x3_tenants(size: int, record: Record) -> None:
    """Every tenant and prompt has its own answers, whatever the names have in common."""
    parts = max(2, round(size**0.5))
    pieces = ["a", "a/b", "b", "", "A", "a b", "\u00e9", "e\u0301", "1", "01", "None", "x" * 300]
    tenants = [f"{pieces[i % len(pieces)]}{i // len(pieces) or ''}" for i in range(parts)]
    tenants = [tenant for tenant in dict.fromkeys(tenants) if tenant and "/" not in tenant]
    prompts = [f"{pieces[(i * 5) % len(pieces)]}{i // len(pieces) or ''}" for i in range(parts)]
    prompts = list(dict.fromkeys(prompts))
    pairs = [(tenant, prompt) for tenant in tenants for prompt in prompts]
    async with ResponseCache(MemoryBackend(max_bytes=2**31), l1_max_entries=0) as cache:
        keys = set()
        for number, (tenant, prompt) in enumerate(pairs):
            made = LLMResponse(content=f"answer {number}", finish_reason="stop")
            assert await cache.get(prompt, "hi", model="m", tenant=tenant) is None
            assert await cache.set(prompt, "hi", None, made, model="m", tenant=tenant)
            keys.add(number)
        for number, (tenant, prompt) in enumerate(pairs):
            found = await cache.get(prompt, "hi", model="m", tenant=tenant)
            assert found is not None
            assert found.content == f"answer {number}"
    record("X3", "0 answers of another pair", met=True, size=f"{len(pairs):,} pairs")


@pytest.fixture
async def restricted(request: pytest.FixtureRequest) -> Any:
    """The address of a server for a user without scripts and dangerous commands."""
    with Server(SERVERS[request.param]) as server:
        with Redis(unix_socket_path=str(server.socket_path)) as admin:
            rules = ["on", ">pw", "~*", "&*", "+@all", "-@scripting", "-@dangerous"]
            admin.execute_command("ACL", "SETUSER", "app", *rules)
        yield server.url.replace("://", "://app:pw@")


class Harness:
    ttl_rounding = 0.0

    def __init__(self, backend: RedisBackend) -> None:
        self.backend = backend

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


_QUICK = [check for check in CHECKS if "ttl" not in check.__name__ and "deadline" not in check.__name__]


@pytest.mark.parametrize("restricted", sorted(SERVERS), indirect=True)
@pytest.mark.parametrize("check", _QUICK, ids=attrgetter("__name__"))
async def test_x5_contract_without_scripts(check: Check, restricted: str) -> None:
    backend = RedisBackend(restricted)
    try:
        await check(Harness(backend))
    finally:
        await backend.aclose()


@pytest.mark.parametrize("restricted", sorted(SERVERS), indirect=True)
async def test_x5_cache_without_scripts(restricted: str, record: Record) -> None:
    """A whole cache works for a user who may run neither scripts nor dangerous commands."""
    async with cache_at(restricted, **PATIENT) as cache, cache_at(restricted, **PATIENT) as other:
        await filled(cache)
        tally = await in_a_row(other, 50)
        tally.clean()
        assert tally.factory_calls == 0
        await cache.invalidate_tags("tag 1")
        await cache.delete(request(2))
        await cache.expire(request(3))
        assert await cache.refresh(request(4), lambda: _later(answer(4))) == answer(4)
        for number in (1, 2, 3, 6):
            assert await cache.get(request(number)) is None
        assert await cache.invalidate_all() is not None
        assert await cache.get(request(5)) is None
        assert cache.stats.backend_errors == {}


@pytest.mark.soak
def test_x5_row(record: Record) -> None:
    record(
        "X5",
        "everything works",
        met=True,
        size=f"{len(_QUICK)} checks of the contract and a cache on {len(SERVERS)} servers",
    )


async def _later(value: Any) -> Any:
    return value


def swapping(
    chance: random.Random, part: float, swapped: Counter[str]
) -> Callable[[Link, bytes], list[tuple[Link, bytes]]]:
    """Now and then, give the replies of two connections to each other."""
    held: list[tuple[Link, bytes]] = []

    def swap(link: Link, piece: bytes) -> list[tuple[Link, bytes]]:
        if held and held[0][0] is not link:
            other, earlier = held.pop()
            swapped["swapped"] += 1
            return [(other, piece), (link, earlier)]
        if not held and chance.random() < part:
            held.append((link, piece))
            return []
        return [(link, piece)]

    return swap


@sizes(1500, 100_000)
async def test_x6_replies_swapped_between_connections(
    size: int, any_server: Server, link: Proxy, record: Record
) -> None:
    """Whoever gets another connection's reply does not take it for an answer."""
    swapped: Counter[str] = Counter()
    caches = [cache_at(link.url, l1_max_entries=0) for _ in range(4)]
    tally = Tally()
    try:
        await filled(caches[0])
        link.alter_replies(swapping(random.Random(6), 0.02, swapped))
        numbers = iter(range(size))

        async def caller(cache: Cache[Any]) -> None:
            for number in numbers:
                await ask(cache, number % 50, tally)
                if number % 20 == 0:
                    await asyncio.sleep(0.001)

        await asyncio.gather(*(caller(cache) for cache in caches for _ in range(4)))
    finally:
        link.heal()
        for cache in caches:
            await cache.aclose()
    tally.clean()
    assert swapped["swapped"] > 0
    record("X6", "0 wrong", met=True, size=f"{tally.calls:,} reads, {swapped['swapped']:,} replies swapped")
