"""Reaching a server: when, how often, how long, and what is said when it does not work."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.credentials import UsernamePasswordCredentialProvider

from cachecore.errors import BackendError, BackendTimeout, BackendUnavailable, OptionsError
from cachecore.testing.servers import Server, free_port
from cachecore_redis import RedisBackend
from cachecore_redis.address import RedisOptions, UrlDialer
from cachecore_redis.commands import pack
from tests.redis.waiting import until, until_it_works


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(url, **settings)
    try:
        yield backend
    finally:
        await backend.aclose()


async def connections(server: Server) -> int:
    """How many clients the server has, the one that asks included."""
    async with opened(server.url) as backend:
        node = backend._nodes.get("test")
        return len((await node.ask("test", pack(("CLIENT", "LIST")))).splitlines())


def test_import_brings_no_driver() -> None:
    """Importing the backend does not import redis-py, which takes a third of a second."""
    code = "import sys, cachecore_redis; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_building_connects_nothing() -> None:
    """A backend for a server that does not exist is built, and closed, without a word."""
    backend = RedisBackend("redis://no.such.host.invalid:1/0")
    await backend.aclose()
    with pytest.raises(BackendUnavailable) as failed:
        await backend.get_many(["k"])
    assert (failed.value.reason, failed.value.transient) == ("closed", False)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost/0?no_such_setting=1",
        "redis://localhost/0?decode_responses=true",
        "redis://localhost/0?max_connections=3",
        "redis://localhost/0?timeout=soon",
        "redis://localhost/0?timeout=0",
        "redis://localhost/0?lanes=0",
        "redis://localhost/0?lanes=two",
        "redis://localhost/0?protocol=9",
        "redis://localhost:notaport/0",
        "rediss://localhost/0?ssl_ca_certs=/no/such/file",
        "http://localhost",
    ],
)
def test_wrong_settings_fail_while_building(url: str) -> None:
    """A wrong URL is an OptionsError at once, and the message holds no part of it that may be secret."""
    with pytest.raises(OptionsError) as failed:
        RedisBackend(url.replace("://", "://user:hush-hush@"))
    assert "hush-hush" not in str(failed.value)


def test_settings_come_from_the_url_and_the_call() -> None:
    """Settings in the URL are understood with units; those of the call win."""
    backend = RedisBackend("redis://localhost/0?timeout=300ms&connect_timeout=2&lanes=2", lanes=3)
    assert backend.options == RedisOptions(timeout=0.3, connect_timeout=2.0, lanes=3)
    with pytest.raises(OptionsError, match="lannes"):
        RedisBackend("redis://localhost/0", lannes=3)


async def refusals(backend: RedisBackend, calls: int = 200) -> tuple[list[BackendError], list[float]]:
    errors, times = [], []
    for _ in range(calls):
        started = time.perf_counter()
        with pytest.raises(BackendError) as failed:
            await backend.get_many(["k"])
        times.append(time.perf_counter() - started)
        errors.append(failed.value)
        await asyncio.sleep(0.002)
    return errors, times


class CountingDialer(UrlDialer):
    """Counts what it dials."""

    made = 0

    async def connection(self) -> Any:
        self.made += 1
        return await super().connection()


@contextmanager
def counted(backend: RedisBackend) -> Iterator[CountingDialer]:
    dialer = backend._dialer
    dialer.__class__ = CountingDialer
    assert isinstance(dialer, CountingDialer)
    yield dialer


async def check_refusals(url: str, reason: str) -> None:
    async with opened(url) as backend:
        with counted(backend) as dialer:
            started = time.monotonic()
            errors, times = await refusals(backend)
            lasted = time.monotonic() - started
        assert {error.reason for error in errors} == {reason}
        assert all(error.transient for error in errors)
        assert all(isinstance(error, BackendUnavailable) for error in errors)
        assert all(error.operation == "get_many" for error in errors)
        assert 1 <= dialer.made <= 1 + 5 * lasted
        assert sorted(times)[len(times) // 2] < 0.002  # during back-off nobody waits for anything


async def test_refused(any_server: Server) -> None:
    """Nobody listens: said at once, and asked again at most five times a second."""
    any_server.kill()
    await check_refusals(any_server.url, "refused")


async def test_unix_socket_that_is_not_there() -> None:
    """A missing socket file is a refused connection."""
    await check_refusals("unix:///no/such/socket", "refused")


async def test_name_that_does_not_resolve() -> None:
    """A host that has no address is told apart from one that refuses."""
    await check_refusals("redis://no-such-host.invalid:6379/0", "dns")


async def test_wrong_password(any_server: Server) -> None:
    """A wrong password is `auth`, and transient: the right one may be set on the server any moment."""
    any_server.arguments = ["--requirepass", "right"]
    any_server.kill()
    any_server.start()
    await check_refusals(any_server.url.replace("://", "://:wrong@"), "auth")
    async with opened(any_server.url) as backend:
        with pytest.raises(BackendUnavailable) as failed:
            await backend.get_many(["k"])
        assert failed.value.reason == "auth"


async def test_too_many_clients(own_server: Server) -> None:
    """A full server is `max_clients`, and is used as soon as it has room."""
    own_server.arguments = ["--maxclients", "2"]
    own_server.kill()
    own_server.start()
    async with opened(own_server.url) as backend:
        with contextmanager(_holding)(own_server, 2):
            errors, _ = await refusals(backend, 50)
            assert {error.reason for error in errors} == {"max_clients"}
        assert await until_it_works(lambda: backend.get_many(["k"])) < 2


def _holding(server: Server, count: int) -> Iterator[None]:
    links = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
    for link in links:
        link.sendall(b"PING\r\n")
        link.recv(64)
    yield
    for link in links:
        link.close()


async def test_server_that_never_answers(any_server: Server) -> None:
    """A frozen server costs each caller its deadline, then nothing; when it thaws it is used again by itself."""
    async with opened(any_server.url, timeout=0.2, connect_timeout=0.3) as backend:
        await backend.set_many({"k": b"v"}, ttl=60)
        with any_server.paused():
            with pytest.raises(BackendTimeout):
                await backend.get_many(["k"])
            with pytest.raises(BackendTimeout):
                await backend.get_many(["k"])  # the connection that is not answered either
            started = time.monotonic()
            with pytest.raises(BackendError):
                await backend.get_many(["k"])
            assert time.monotonic() - started < 0.1
        assert await until_it_works(lambda: backend.get_many(["k"])) < 1.5
        assert await backend.get_many(["k"]) == [b"v"]


async def test_listener_that_hangs_up(caplog: pytest.LogCaptureFixture) -> None:
    """A server that accepts and hangs up is not connected to in a circle."""
    accepted = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with opened(f"redis://127.0.0.1:{port}/0") as backend:
        started = time.monotonic()
        errors, _ = await refusals(backend, 200)
        assert accepted <= 1 + 5 * (time.monotonic() - started)
        assert {error.reason for error in errors} == {"reset"}
    listener.close()
    await listener.wait_closed()


async def test_callers_share_one_attempt(any_server: Server) -> None:
    """A thousand calls at once make one connection; each gets its own answer."""
    async with opened(any_server.url) as backend:
        with counted(backend) as dialer:
            calls = (backend.set_many({f"k{i}": b"%d" % i}, ttl=60) for i in range(1000))
            await asyncio.gather(*calls)
            values = await asyncio.gather(*(backend.get_many([f"k{i}"]) for i in range(1000)))
        assert values == [[b"%d" % i] for i in range(1000)]
        assert dialer.made == 1


async def test_cancelled_caller_leaves_the_attempt_to_others(any_server: Server) -> None:
    """The first caller asks for the connection and goes; the second gets it."""
    for steps in range(12):
        async with opened(any_server.url) as backend:
            first = asyncio.ensure_future(backend.get_many(["k"]))
            second = asyncio.ensure_future(backend.get_many(["k"]))
            for _ in range(steps):
                await asyncio.sleep(0)
            first.cancel()
            outcome = (await asyncio.gather(first, return_exceptions=True))[0]
            assert isinstance(outcome, asyncio.CancelledError) or outcome == [None]
            assert await second == [None]


async def test_idle_connections_closed_by_the_server(own_server: Server) -> None:
    """The server closes every connection again and again: not one read of a thousand is lost."""
    async with opened(own_server.url) as backend, opened(own_server.url) as other:
        await backend.set_many({"k": b"v"}, ttl=60)
        reads = 0
        for _ in range(50):
            await asyncio.sleep(0.02)
            await other._nodes.get("test").ask("test", pack(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")))
            for batch in range(20):
                if batch == 10:
                    await asyncio.sleep(0)
                assert await backend.get_many(["k"]) == [b"v"]
                reads += 1
        assert reads == 1000


async def test_server_that_comes_back(own_server: Server) -> None:
    """After a crash and a restart the backend works again within a second, without being told."""
    async with opened(own_server.url) as backend:
        await backend.set_many({"k": b"v"}, ttl=60)
        own_server.kill()
        with pytest.raises(BackendUnavailable):
            await backend.get_many(["k"])
            await backend.get_many(["k"])
        own_server.start()
        assert await until_it_works(lambda: backend.get_many(["k"])) < 1.5
        assert await backend.get_many(["k"]) == [None]


async def test_server_that_appears_later() -> None:
    """A backend that was used before its server existed attaches when it appears."""
    from tests.redis.conftest import SERVERS

    port = free_port()
    async with opened(f"redis://127.0.0.1:{port}/0") as backend:
        with pytest.raises(BackendUnavailable):
            await backend.get_many(["k"])
        with Server(SERVERS[max(SERVERS)], port=port):
            assert await until_it_works(lambda: backend.get_many(["k"])) < 1.0


async def test_full_server(own_server: Server) -> None:
    """OOM is `full` and not transient; reads and deletions go on."""
    own_server.arguments = ["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]
    own_server.kill()
    own_server.start()
    async with opened(own_server.url) as backend:
        with pytest.raises(BackendError) as failed:
            for i in range(100):
                await backend.set_many({f"k{i}": b"x" * 100_000}, ttl=60)
        assert (failed.value.reason, failed.value.transient) == ("full", False)
        with pytest.raises(BackendError) as failed:
            await backend.swap("new", None, b"x" * 100_000, ttl=60)
        assert failed.value.reason == "full"
        assert (await backend.get_many(["k0"]))[0] == b"x" * 100_000
        assert await backend.delete_many(["k0"]) == 1


async def test_read_only_server(own_server: Server) -> None:
    """A replica refuses writes as `readonly`, transient, without a storm of connections; reads work."""
    async with opened(own_server.url) as backend:
        await backend.set_many({"k": b"v"}, ttl=60)
        node = backend._nodes.get("test")
        await node.ask("test", pack(("REPLICAOF", "127.0.0.1", str(free_port()))))
        with counted(backend) as dialer:
            started = time.monotonic()
            while time.monotonic() < started + 2.5:
                with pytest.raises(BackendError) as failed:
                    await backend.set_many({"k": b"w"}, ttl=60)
                assert (failed.value.reason, failed.value.transient) == ("readonly", True)
                await asyncio.sleep(0.005)
            assert 1 <= dialer.made <= 3  # it looks whether the address leads elsewhere by now
        assert await backend.get_many(["k"]) == [b"v"]
        await node.ask("test", pack(("REPLICAOF", "NO", "ONE")))
        await backend.set_many({"k": b"w"}, ttl=60)


async def test_key_of_another_type(redis_url: str) -> None:
    """A list under our key reads as missing, alone or among others; the first write replaces it."""
    async with opened(redis_url) as backend:
        node = backend._nodes.get("test")
        await node.ask("test", pack(("LPUSH", "k", "x")))
        assert await backend.get_many(["k"]) == [None]
        assert await backend.get_many(["k", "none"]) == [None, None]
        assert not await backend.swap("k", b"old", b"new", ttl=60)
        await backend.set_many({"k": b"v"}, ttl=60)
        assert await backend.get_many(["k"]) == [b"v"]


async def test_large_values_have_a_lane_of_their_own(any_server: Server) -> None:
    """While eight megabytes travel, small reads are not behind them."""
    async with opened(any_server.url, bulk_bytes=100_000) as backend:
        await backend.set_many({"large": b"x" * 8_000_000, "small": b"v"}, ttl=60)
        node = backend._nodes.get("test")
        assert node.bulk.lane is not None
        assert await backend.get_many(["small", "large", "none"]) == [b"v", b"x" * 8_000_000, None]
        loads = [asyncio.ensure_future(backend.get_many(["large"])) for _ in range(4)]
        await asyncio.sleep(0)
        assert await backend.get_many(["small"]) == [b"v"]
        assert not any(load.done() for load in loads)
        assert [len(value or b"") for (value,) in await asyncio.gather(*loads)] == [8_000_000] * 4
        await backend.set_many({"large": b"little"}, ttl=60)
        assert "large" not in backend._large.keys


async def test_large_value_written_by_others_is_found_out(any_server: Server) -> None:
    """A value that turned out large when read takes the other lane from then on."""
    async with opened(any_server.url) as writer, opened(any_server.url) as reader:
        await writer.set_many({"large": b"x" * 100_000}, ttl=60)
        assert reader._nodes.get("test").bulk.lane is None
        for _ in range(2):
            assert await reader.get_many(["large"]) == [b"x" * 100_000]
        assert reader._nodes.get("test").bulk.lane is not None


async def test_several_lanes(any_server: Server) -> None:
    """`lanes=3` spreads calls over three connections."""
    async with opened(any_server.url, lanes=3) as backend:
        for i in range(9):
            await backend.set_many({f"k{i}": b"%d" % i}, ttl=60)
            assert await backend.get_many([f"k{i}"]) == [b"%d" % i]
        assert [channel.lane is not None for channel in backend._nodes.get("test").lanes] == [True] * 3


async def test_user_password_database_and_name(any_server: Server) -> None:
    """An ACL user, a database and a client name in the URL are used; so is a credential provider."""
    async with opened(any_server.url) as admin:
        node = admin._nodes.get("test")
        assert await node.ask("t", pack(("ACL", "SETUSER", "me", "on", ">p%/w", "+@all", "~*"))) == b"OK"
        url = any_server.url.replace("redis://", "redis://me:p%25%2Fw@").replace("/0", "/3") + "?client_name=cachecore"
        async with opened(url) as backend:
            await backend.set_many({"k": b"v"}, ttl=60)
            mine = await backend._nodes.get("test").ask("t", pack(("CLIENT", "INFO")))
            for part in ("name=cachecore", "db=3", "user=me", "resp=3"):
                assert part in str(mine)
        assert await admin.get_many(["k"]) == [None]
        provider = UsernamePasswordCredentialProvider("me", "p%/w")
        async with opened(any_server.url, credential_provider=provider) as backend:
            assert "user=me" in str(await backend._nodes.get("test").ask("t", pack(("CLIENT", "INFO"))))


async def test_server_that_speaks_only_resp2(any_server: Server) -> None:
    """Where HELLO is unknown, as behind some proxies, everything but the feed works on RESP2."""
    any_server.arguments = ["--rename-command", "HELLO", ""]
    any_server.kill()
    any_server.start()
    async with opened(any_server.url) as backend:
        await backend.set_many({"k": b"v"}, ttl=60)
        assert await backend.get_many(["k", "none"]) == [b"v", None]
        assert await backend.swap("k", b"v", b"w", ttl=60)
        assert await backend.delete_many(["k", "none"]) == 1


async def test_secrets_are_never_shown(any_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Passwords and keys are in no repr, error, traceback or log line."""
    caplog.set_level(logging.DEBUG)
    any_server.arguments = ["--requirepass", "right"]
    any_server.kill()
    any_server.start()
    url = any_server.url.replace("://", "://:s3cr3t-word@")
    shown = []
    async with opened(url) as backend:
        shown.append(repr(backend))
        for _ in range(2):
            try:
                await backend.get_many(["key-of-a-prompt"])
            except BackendError as error:
                shown.append("".join(traceback.format_exception(error)))
        any_server.kill()
        await asyncio.sleep(0.3)
        try:
            await backend.set_many({"key-of-a-prompt": b"value-of-a-prompt"}, ttl=60)
        except BackendError as error:
            shown.append("".join(traceback.format_exception(error)))
    text = "\n".join([*shown, caplog.text])
    assert len(shown) == 4
    for secret in ("s3cr3t-word", "key-of-a-prompt", "value-of-a-prompt"):
        assert secret not in "\n".join(line for line in text.splitlines() if "await backend" not in line)


async def test_closing_leaves_nothing(any_server: Server) -> None:
    """After ten thousand calls and a close no task, timer, warning or connection remains."""
    before = await connections(any_server)
    async with opened(any_server.url) as backend:
        for _ in range(100):
            await asyncio.gather(*(backend.get_many([f"k{i}"]) for i in range(100)))
        await backend.set_many({"large": b"x" * 100_000}, ttl=60)
        stream = backend.feed("k")
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined] # an async generator
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()

    async def gone() -> bool:
        return await connections(any_server) == before

    await until(gone)


async def test_closing_with_a_frozen_server(any_server: Server) -> None:
    """Closing does not wait for a server that does not answer; who waits is told."""
    async with opened(any_server.url) as backend:
        await backend.get_many(["k"])
        with any_server.paused():
            waiting = asyncio.ensure_future(backend.get_many(["k"]))
            await asyncio.sleep(0.01)
            started = time.monotonic()
            await backend.aclose()
            assert time.monotonic() - started < 0.1
            with pytest.raises(BackendError):
                await waiting


async def test_closing_while_connecting(any_server: Server) -> None:
    """A caller whose connection is being made when the backend is closed gets an error, not a hang."""
    with any_server.paused():
        backend = RedisBackend(any_server.url)
        waiting = asyncio.ensure_future(backend.get_many(["k"]))
        await asyncio.sleep(0.05)
        await backend.aclose()
        with pytest.raises(BackendError):
            await asyncio.wait_for(waiting, 1)


def test_unix_socket(any_server: Server) -> None:
    """`unix://` with a path and a database."""

    async def use() -> None:
        async with opened(f"unix://{any_server.socket_path}?db=2") as backend:
            await backend.set_many({"k": b"v"}, ttl=60)
            assert await backend.get_many(["k"]) == [b"v"]
            assert str(any_server.socket_path) in repr(backend)

    asyncio.run(use())
    assert Path(any_server.socket_path).exists()
