"""Reaching a server: when, how often, how long, and what is said when it does not work."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cachecore.contract import BackendError, BackendTimeout, BackendUnavailable
from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from cachecore_redis.wire.commands import pack
from tests.redis.opening import counted, opened
from tests.redis.waiting import LoopTime, until, until_it_works


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
    links: list[socket.socket] = []
    while len(links) < count:
        link = socket.create_connection(("127.0.0.1", server.port))
        link.sendall(b"PING\r\n")
        if link.recv(64).startswith(b"+PONG"):
            links.append(link)
        else:  # whoever looked whether it had started is not gone yet
            link.close()
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
            with pytest.raises(BackendUnavailable, match="connect_timeout"):
                await backend.get_many(["k"])  # the connection that is not answered either
            with LoopTime() as waited:
                with pytest.raises(BackendError):
                    await backend.get_many(["k"])
                assert waited.seconds < 0.1
        assert await until_it_works(lambda: backend.get_many(["k"])) < 1.5
        assert await backend.get_many(["k"]) == [b"v"]


async def test_listener_that_hangs_up() -> None:
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


class HangsUp:
    """A server that logs its clients in, answers `answers` commands of each and hangs up at the next."""

    def __init__(self, answers: int) -> None:
        self.accepted = 0
        self._answers = answers
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.append(writer)
        answered = 0
        try:
            while data := await reader.read(65536):
                for command in data.upper().split(b"*")[1:]:
                    if b"HELLO" in command:
                        writer.write(b"%1\r\n+proto\r\n:3\r\n")
                    elif b"CLIENT" in command:
                        writer.write(b"+OK\r\n")
                    elif answered == self._answers:
                        return
                    else:
                        answered += 1
                        writer.write(b"+PONG\r\n" if b"PING" in command else b"$-1\r\n")
        except ConnectionResetError:
            pass
        finally:
            writer.close()

    async def __aenter__(self) -> str:
        self._listener = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}/0"

    async def __aexit__(self, *failed: object) -> None:
        self._listener.close()
        for writer in self._writers:
            writer.close()
        await self._listener.wait_closed()


@pytest.mark.parametrize("callers", [0, 10])
@pytest.mark.parametrize("answers", [0, 1, 5])
async def test_server_that_hangs_up_after_some_answers(callers: int, answers: int) -> None:
    """A few answers don't make a healthy connection: feed and callers connect five times a second together."""
    server = HangsUp(answers)
    async with server as url, opened(url, heartbeat=0.01) as backend:
        started = time.monotonic()
        reasons: set[str] = set()
        over = asyncio.Event()

        async def call() -> None:
            while not over.is_set():
                try:
                    await backend.get_many(["k"])
                except BackendError as error:
                    reasons.add(error.reason)
                await asyncio.sleep(0.001)

        async def listen() -> None:
            async for _ in backend.feed("p:"):
                pass

        listening = asyncio.ensure_future(listen())
        calls = [asyncio.ensure_future(call()) for _ in range(callers)]
        await asyncio.sleep(1.0)
        await until(lambda: server.accepted >= 3)
        assert server.accepted <= 2 + 5 * (time.monotonic() - started)
        over.set()
        await asyncio.gather(*calls)
        assert reasons == ({"reset"} if callers else set())
        listening.cancel()
        await asyncio.wait([listening])


async def test_connection_that_die_young_share_the_back_off(any_server: Server) -> None:
    """Several connections to a server that closes them all do not let each other off their waits."""
    server = HangsUp(1)
    async with server as url, opened(url, connections=4, bulk_bytes=10) as backend:
        started = time.monotonic()
        over = asyncio.Event()

        async def call(size: int) -> None:
            while not over.is_set():
                try:
                    await backend.set_many({"k": b"x" * size}, ttl=60)
                except BackendError:
                    pass
                await asyncio.sleep(0.001)

        calls = [asyncio.ensure_future(call(size)) for size in (1, 1, 1, 1, 20, 20)]
        await asyncio.sleep(1.0)
        await until(lambda: server.accepted >= 3)
        # Each of the five is opened once more at once.
        assert server.accepted <= 10 + 5 * (time.monotonic() - started)
        over.set()
        await asyncio.gather(*calls)


async def test_one_young_connection_may_be_lost(any_server: Server) -> None:
    """A connection that was opened just now and is closed costs a read nothing, once."""
    async with opened(any_server.url) as backend, opened(any_server.url) as other:
        assert await backend.get_many(["k"]) == [None]
        await other._nodes.get("test").ask("test", pack(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")))
        assert await backend.get_many(["k"]) == [None]


async def test_connection_that_died_young_come_back(any_server: Server) -> None:
    """A server that is well again has all its connections within a second, large values' too."""
    async with opened(any_server.url, connections=4, bulk_bytes=10) as backend, opened(any_server.url) as other:
        node = other._nodes.get("test")

        async def every_connection() -> None:
            await asyncio.gather(*(backend.set_many({"k": b"v"}, ttl=60) for _ in range(4)))
            await backend.set_many({"k": b"v" * 20}, ttl=60)

        await until_it_works(every_connection)
        for _ in range(3):
            await node.ask("test", pack(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")))
            await asyncio.sleep(0.01)
        assert await until_it_works(every_connection) < 1.0


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
