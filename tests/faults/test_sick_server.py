"""What a sick store costs its callers, and how soon it is used again (A2-A5, A8-A13)."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis import Redis

from cachecore import Cache
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server, free_port
from tests.conftest import Record
from tests.faults.callers import PATIENT, Tally, answer, ask, cache_at, filled, in_a_row, request, sizes, until
from tests.faults.reliability import ms, percentile

NEW = 100_000


def connections(server: Server) -> int:
    """How many clients the server has beside the one that asks."""
    with Redis(unix_socket_path=str(server.socket_path)) as admin:
        return len(admin.client_list()) - 1


def commands(server: Server) -> int:
    """How many commands the server has carried out."""
    with Redis(unix_socket_path=str(server.socket_path)) as admin:
        return int(admin.info("stats")["total_commands_processed"])


async def used_again(cache: Cache[Any], since: float) -> float:
    """Ask until the store gave or took an answer; return the seconds from `since` (monotonic) to then."""
    before = cache.stats.hits_l2 + cache.stats.stored
    tally = Tally()
    async with asyncio.timeout(20):
        while cache.stats.hits_l2 + cache.stats.stored == before:
            await ask(cache, tally.calls % 50, tally)
            await asyncio.sleep(0.002)
    tally.clean()
    return time.monotonic() - since


def split(tally: Tally) -> tuple[float, float]:
    """Return the longest call, and the p99 of the calls after the first fifty milliseconds of trouble are over."""
    slow = [seconds for seconds in tally.seconds if seconds > 0.02]
    rest = sorted(tally.seconds)[: len(tally.seconds) - len(slow)] if len(slow) <= 6 else tally.seconds
    return max(tally.seconds), percentile(rest, 0.99)


@sizes(150, 1000)
async def test_a2_frozen_server(size: int, own_server: Server, record: Record) -> None:
    """A frozen server costs a few callers one deadline each, and the others nothing."""
    async with cache_at(own_server.url, l1_max_entries=0) as cache:
        await filled(cache)
        own_server.pause()
        tally = await in_a_row(cache, size)
        own_server.resume()
        tally.clean()
        assert tally.factory_calls == size
        _frozen.append((*split(tally), tally.p99_cpu()))
        first, p99, cpu = map(max, zip(*_frozen, strict=True))
        text = f"first calls {ms(first)}, then p99 {ms(p99)} ({ms(cpu)} CPU)"
        record("A2", text, met=first <= 0.06 and p99 <= 0.002, size=f"{len(_frozen)} servers × {size:,} calls")


_frozen: list[tuple[float, float, float]] = []


async def _no_password(server: Server, link: Proxy) -> None:
    with Redis(unix_socket_path=str(server.socket_path)) as admin:
        admin.config_set("requirepass", "another")
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def _no_clients(server: Server, link: Proxy) -> None:
    with Redis(unix_socket_path=str(server.socket_path)) as admin:
        admin.config_set("maxclients", 1)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def _refused(server: Server, link: Proxy) -> None:
    server.kill()
    link.reset()


_refusals: dict[str, tuple[float, float, float]] = {}


@sizes(200, 1000)
@pytest.mark.parametrize("how", [_no_password, _no_clients, _refused])
async def test_a3_refused(
    how: Callable[[Server, Proxy], Awaitable[None]], size: int, any_server: Server, link: Proxy, record: Record
) -> None:
    """A server that refuses is asked now and then, by one connection at a time, and nobody waits for it."""
    async with cache_at(link.url, l1_max_entries=0) as cache:
        await filled(cache)
        # While maxclients is one, the server must have a client: else one of ours would be let in.
        with Redis(unix_socket_path=str(any_server.socket_path)) as stays:
            stays.ping()
            await how(any_server, link)
            connects, began = link.connects, time.monotonic()
            tally = Tally()
            while tally.calls < size or time.monotonic() < began + size / 500:  # long enough to count connects
                await ask(cache, tally.calls % 50, tally)
                await asyncio.sleep(0.001)
            seconds = time.monotonic() - began
        tally.clean()
        rate = (link.connects - connects) / seconds
        assert link.connects - connects <= 5 * seconds + 3
        _refusals[how.__name__] = (tally.p99(), rate, tally.p99_cpu())
        p99, most, cpu = map(max, zip(*_refusals.values(), strict=True))
        record(
            "A3",
            f"p99 {ms(p99)} ({ms(cpu)} CPU), {most:.1f} connects/s at most",
            met=p99 <= 0.002 and most <= 5,
            size=f"≥ {size:,} calls",
        )


async def test_a3_no_such_host(record: Record) -> None:
    """A name that cannot be resolved blocks nobody: the resolver runs behind."""
    async with cache_at("redis://no-such-host.invalid:6379/0") as cache:
        tally = await in_a_row(cache, 200)
        tally.clean()


@sizes(150, 1000)
async def test_a4_late_replies(size: int, any_server: Server, link: Proxy, record: Record) -> None:
    """A store that has become slower than computing is left alone."""
    async with cache_at(link.url, l1_max_entries=0) as cache:
        await filled(cache)
        link.slow(0.3)
        tally = await in_a_row(cache, size)
        tally.clean()
        first, p99 = split(tally)
        text = f"{ms(first)}, then p99 {ms(p99)} ({ms(tally.p99_cpu())} CPU)"
        record("A4", text, met=first <= 0.06 and p99 <= 0.002, size=f"{size:,} calls")


_healed: dict[str, list[float]] = {"store": [], "memory": []}


@sizes(1, 10)
@pytest.mark.parametrize("how", ["frozen", "killed", "silent"])
async def test_a5_healed(how: str, size: int, any_server: Server, link: Proxy, record: Record) -> None:
    """The store is used again as soon as it is well, and so are the copies in memory."""
    for _ in range(size):
        async with cache_at(link.url) as cache:
            await filled(cache)
            await until(lambda: cache._engine.feed_state.live)
            if how == "frozen":
                any_server.pause()
            elif how == "killed":
                any_server.kill()
            else:
                link.blackhole()
            ill = time.monotonic()
            while time.monotonic() < ill + 2.0:  # an outage of two seconds; everybody goes on asking
                await in_a_row(cache, 5)
                await asyncio.sleep(0.01)
            if how == "frozen":
                any_server.resume()
            elif how == "killed":
                any_server.start()
            else:
                link.heal()
            well = time.monotonic()
            _healed["store"].append(await used_again(cache, well))
            await until(lambda: cache._engine.feed_state.live)
            _healed["memory"].append(time.monotonic() - well)
    store, memory = max(_healed["store"]), max(_healed["memory"])
    text = f"store after {ms(store)}, memory after {ms(memory)} (longest)"
    record("A5", text, met=store <= 0.5 and memory <= 1, size=f"{len(_healed['store'])} outages of 2 s")


@sizes(200, 1000)
async def test_a8_idle_connections_closed(size: int, own_server: Server, record: Record) -> None:
    """A server that closes idle connections loses nobody's read."""
    # A reply that a busy machine delays is no read that was lost: the short run is patient.
    deadlines: dict[str, Any] = PATIENT if size == 200 else {}
    async with cache_at(own_server.url, l1_max_entries=0, **deadlines) as cache:
        await filled(cache)
        tally = Tally()
        with Redis(unix_socket_path=str(own_server.socket_path)) as admin:
            for number in range(size):
                if number % 10 == 0:
                    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await ask(cache, number % 50, tally)
        tally.clean()
        lost = tally.factory_calls
        record("A8", f"{lost} lost", met=lost == 0, size=f"{size:,} reads, closed before every tenth")
        assert lost == 0, cache.stats


@sizes(1, 5)
async def test_a9_many_at_once(size: int, any_server: Server, record: Record) -> None:
    """A thousand callers share the connections that there are."""
    most = 0
    for _ in range(size):
        async with cache_at(any_server.url, **PATIENT) as cache:
            tally = Tally()
            await asyncio.gather(*(ask(cache, NEW + number, tally) for number in range(1000)))
            most = max(most, connections(any_server))
            tally.clean()
            assert tally.calls == 1000
            assert (await cache.get(request(NEW + 7))) == answer(NEW + 7)
            with Redis(unix_socket_path=str(any_server.socket_path)) as admin:
                admin.flushall()
    assert most <= 32
    record("A9", f"0 errors, {most} connections", met=True, size=f"{size} × 1,000 calls")


@sizes(1, 10)
async def test_a10_built_with_the_server_down(size: int, any_server: Server, record: Record) -> None:
    """Start-up never needs the store; it attaches by itself."""
    built: list[float] = []
    attached: list[float] = []
    for _ in range(size):
        any_server.kill()
        began = time.monotonic()
        async with cache_at(any_server.url, l1_max_entries=0) as cache:
            tally = Tally()
            await ask(cache, 1, tally)
            built.append(time.monotonic() - began)
            for _ in range(20):
                await ask(cache, 1, tally)
                await asyncio.sleep(0.01)
            any_server.start()
            attached.append(await used_again(cache, time.monotonic()))
            tally.clean()
    text = f"built and first call {ms(max(built))}; attached after {ms(max(attached))}"
    record("A10", text, met=max(built) <= 0.1 and max(attached) <= 1, size=f"{size} starts")


@sizes(10, 100)
@pytest.mark.parametrize("how", ["full", "readonly", "leases fail"])
async def test_a11_few_commands(how: str, size: int, any_server: Server, record: Record) -> None:
    """A store that refuses writes is not asked over and over while a factory works."""
    async with cache_at(any_server.url, l1_max_entries=0) as cache:
        await filled(cache)
        with Redis(unix_socket_path=str(any_server.socket_path)) as admin:
            if how == "full":
                admin.config_set("maxmemory-policy", "noeviction")
                admin.config_set("maxmemory", 1)
            elif how == "readonly":
                admin.execute_command("REPLICAOF", "127.0.0.1", free_port())
            else:
                admin.execute_command("ACL", "SETUSER", "default", "resetkeys", "%R~*", "%RW~cc:*")
        before, tally = commands(any_server), Tally()
        used, began = time.process_time(), time.monotonic()

        async def caller(number: int) -> None:
            async def factory() -> dict[str, Any]:
                tally.factory_calls += 1
                await asyncio.sleep(0.5)
                return answer(number)

            assert await cache.get_or_set(request(number), factory) == answer(number)

        await asyncio.gather(*(caller(NEW + number) for number in range(size)))
        share = (time.process_time() - used) / (time.monotonic() - began)
        each = (commands(any_server) - before - 1) / size
        assert tally.factory_calls == size
        assert each <= 10
        _few[how] = (each, share)
        worst, cpu = max(e for e, _ in _few.values()), max(s for _, s in _few.values()) / size
        text = f"{worst:.1f} commands a call, {cpu:.2%} CPU a caller"
        record("A11", text, met=worst <= 10 and cpu < 0.05, size=f"3 × {size} callers of a 0.5 s factory")


_few: dict[str, tuple[float, float]] = {}


@sizes(500, 5000)
async def test_a12_open_breaker(size: int, any_server: Server, record: Record) -> None:
    """While the store is known to be down a call costs little more than its factory."""
    async with cache_at(any_server.url, l1_max_entries=0) as cache:
        await filled(cache)
        any_server.kill()
        await in_a_row(cache, 50)
        assert set(cache._scope.telemetry.counts.breakers.values()) & {"open", "half_open"}  # half open: it probes
        tally = await in_a_row(cache, size, keys=size)
        tally.clean()
        assert tally.factory_calls == size
        middle = percentile(tally.seconds, 0.5)
        text = f"p50 {middle * 1e6:.0f} µs, p99 {tally.p99() * 1e6:.0f} µs"
        record("A12", text, met=middle <= 100e-6, size=f"{size:,} calls")


@pytest.mark.parametrize("how", ["down", "frozen"])
@sizes(1, 20)
async def test_a13_one_computation_while_down(how: str, size: int, any_server: Server, record: Record) -> None:
    """An outage costs one computation for all callers of a key, not one for each."""
    async with cache_at(any_server.url, l1_max_entries=0) as cache:
        await filled(cache)
        any_server.kill() if how == "down" else any_server.pause()
        calls: Counter[int] = Counter()
        for number in range(size):

            async def factory(number: int = number) -> dict[str, Any]:
                calls[number] += 1
                await asyncio.sleep(0.1)
                return answer(number)

            got = await asyncio.gather(*(cache.get_or_set(request(number), factory) for _ in range(200)))
            assert got == [answer(number)] * 200
        assert set(calls.values()) == {1}
        record("A13", "1 computation", met=True, size=f"{size} × 200 callers, {how}")
        if how == "frozen":
            any_server.resume()
