"""One connection shared by many tasks: whose reply is whose, and when it is given up."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import hiredis
import pytest

from cachecore.testing.servers import Server
from cachecore_redis.wire.address import RedisOptions, UrlDialer
from cachecore_redis.wire.commands import PING, get, pack, set_
from cachecore_redis.wire.connection import Connection, NotRedisError
from cachecore_redis.wire.reconnecting import dial
from tests.redis.waiting import LoopTime, until


class Peer:
    """The other end of a connection, played by hand."""

    def __init__(self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection = connection
        self.reader = reader
        self.writer = writer


class Recorder(asyncio.Protocol):
    """Stands where redis-py's reader stands before a connection takes over."""


async def connected(timeout: float) -> Peer:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    transport, _ = await loop.create_connection(Recorder, sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    connection = Connection(loop, timeout)
    connection.attach(transport, None)
    return Peer(connection, reader, writer)


@pytest.fixture
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    """With a deadline of 0.2 s, or another one that is asked for."""
    peer = await connected(getattr(request, "param", 0.2))
    yield peer
    peer.connection.close()
    peer.writer.close()
    await asyncio.sleep(0)


async def test_cancelled_callers_leave_the_stream_in_order(any_server: Server) -> None:
    """Three thousand reads, a third of them cancelled at random: every other gets its own value."""
    chance = random.Random(7)
    connection = await dial(UrlDialer(any_server.url, RedisOptions()))
    for i in range(100):
        assert await connection.request(set_(f"k{i}", b"%d" % i, None)) == b"OK"

    async def read(i: int) -> bytes:
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        reply: bytes = await connection.request(get([f"k{i}"]))
        return reply

    wrong = cancelled = 0
    for _ in range(30):
        tasks = [asyncio.ensure_future(read(i)) for i in range(100)]
        victims = chance.sample(range(100), 33)
        for victim in victims:
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            cancelled += tasks[victim].cancel()
        for i, reply in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
            wrong += reply != b"%d" % i and not isinstance(reply, asyncio.CancelledError)
    assert wrong == 0
    assert cancelled > 300
    connection.close()


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


async def test_commands_of_one_tick_leave_in_one_write() -> None:
    """An idle connection writes at once; while it waits, everything of a tick goes together."""
    wire = Wire()
    connection = Connection(asyncio.get_running_loop(), 1.0)
    connection.attach(wire, None)
    replies = [connection.request(PING) for _ in range(50)]
    assert wire.writes == [PING]
    await asyncio.sleep(0)
    assert wire.writes == [PING, PING * 49]
    connection.received(b"+PONG\r\n" * 50)
    assert await asyncio.gather(*replies) == [b"PONG"] * 50
    connection.request(PING).cancel()
    assert wire.writes[2:] == [PING]
    connection.close()


async def test_replies_come_in_any_pieces() -> None:
    """However the bytes are cut, replies, batches and pushes are put together right."""
    stream = b"$3\r\nabc\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n_\r\n*2\r\n$1\r\nx\r\n$-1\r\n-ERR no\r\n:5\r\n"
    for size in range(1, len(stream) + 1):
        pushes: list[Any] = []
        connection = Connection(asyncio.get_running_loop(), 1.0)
        connection.attach(Wire(), None)
        connection.on_push = pushes.append
        one, nil, batch = (
            connection.request(PING),
            connection.request(PING),
            connection.request_many([PING, PING, PING]),
        )
        for start in range(0, len(stream), size):
            connection.received(stream[start : start + size])
        assert one.result() == b"abc"
        assert nil.result() is None
        values, refused, number = batch.result()
        assert (values, number) == ([b"x", None], 5)
        assert isinstance(refused, hiredis.ReplyError)
        assert pushes == [[b"invalidate", [b"k"]]]
        connection.close()


async def test_late_reply_gives_up_the_connection(peer: Peer) -> None:
    """A peer that stays silent fails all who wait within one look after the deadline, and never sooner."""
    lost: list[Connection] = []
    peer.connection.on_lost = lost.append
    started = time.monotonic()
    replies = [peer.connection.request(PING) for _ in range(3)]
    outcomes = await asyncio.gather(*replies, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 3
    assert time.monotonic() - started >= 0.2
    assert lost == [peer.connection]
    with pytest.raises(ConnectionResetError):
        peer.connection.request(PING)


async def test_what_a_given_up_connection_has_not_sent_is_never_sent() -> None:
    """Nor what the kernel holds, which would come after newer writes of other connections."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        opening = loop.create_task(loop.create_connection(Recorder, *listener.getsockname()))
        accepted, _ = await loop.sock_accept(listener)
        transport, _ = await opening
        connection = Connection(loop, 0.2)
        connection.attach(transport, None)
        with pytest.raises(TimeoutError):
            await connection.request(set_("k", b"x" * 10_000_000, None))
        await asyncio.sleep(0)  # the transport closes its socket in the next turn
        with accepted, pytest.raises(ConnectionResetError):
            while await loop.sock_recv(accepted, 1 << 20):
                pass


@pytest.mark.parametrize("loop_of", ["asyncio", "uvloop"])
def test_a_connection_that_was_closed_before_it_is_taken_over_tells_so(loop_of: str) -> None:
    """Its socket is gone, which the loops tell by different errors."""
    module = pytest.importorskip(loop_of, reason="the dependency group `dev` installs uvloop where there is one")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            reader, protocol = asyncio.StreamReader(), asyncio.StreamReaderProtocol
            transport, _ = await loop.create_connection(lambda: protocol(reader), *listener.getsockname())
            raw = transport.get_extra_info("socket")  # uvloop tells of a socket that was asked for while it was open
            transport.abort()
            await reader.read()
            await asyncio.sleep(0)
            assert raw.fileno() == -1
            lost: list[Connection] = []
            connection = Connection(loop, 0.2)
            connection.on_lost = lost.append
            connection.attach(transport, None)
            assert lost == [connection]
            assert not connection.alive

    with asyncio.Runner(loop_factory=module.new_event_loop) as runner:
        runner.run(main())


async def test_answered_connection_is_never_late(peer: Peer) -> None:
    """A connection under load that is answered lives on past many deadlines."""
    ends = time.monotonic() + 0.7
    while time.monotonic() < ends:
        reply = peer.connection.request(PING)
        peer.writer.write(b"+PONG\r\n")
        assert await reply == b"PONG"
    assert peer.connection.alive


@pytest.mark.parametrize("peer", [0.5], indirect=True)
async def test_large_reply_on_a_slow_link_is_not_late(peer: Peer) -> None:
    """While bytes keep coming, the oldest reply has four deadlines."""
    reply = peer.connection.request(PING)
    for byte in b"$4\r\nslow":
        peer.writer.write(bytes([byte]))
        await asyncio.sleep(0.08)
    peer.writer.write(b"\r\n")
    assert await reply == b"slow"


async def test_drip_does_not_hold_the_connection_for_ever(peer: Peer) -> None:
    """A peer that sends a byte now and then and never a whole reply is given up, too."""
    reply = peer.connection.request(PING)

    async def drip() -> None:
        peer.writer.write(b"$99\r\n")
        while not reply.done():
            peer.writer.write(b"x")
            await asyncio.sleep(0.03)

    dripping = asyncio.ensure_future(drip())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(reply), 30)
    assert not peer.connection.alive
    await dripping


@pytest.mark.parametrize("cut", [0, 20], ids=["whole", "in two pieces"])
async def test_pushes_do_not_stand_for_replies(peer: Peer, cut: int) -> None:
    """A peer that pushes on and on and replies no more is given up as if it were silent."""
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\np:x\r\n"
    pushes: list[Any] = []
    peer.connection.on_push = pushes.append
    reply = peer.connection.request(PING)

    async def keep_pushing() -> None:
        while not reply.done():
            for piece in (push[:cut], push[cut:]):
                peer.writer.write(piece)
                await asyncio.sleep(0.005)

    pushing = asyncio.ensure_future(keep_pushing())
    with LoopTime() as waited, pytest.raises(TimeoutError):
        await asyncio.shield(reply)
    assert waited.seconds < 0.2 + 0.05 + 0.1
    assert len(pushes) > 5
    await pushing


@pytest.mark.parametrize("peer", [0.5], indirect=True)
async def test_large_reply_between_pushes_is_not_late(peer: Peer) -> None:
    """A reply that is on its way counts as such, whatever was pushed before it."""
    reply = peer.connection.request(PING)
    for piece in (b">1\r\n+x\r\n", b">1\r\n+x\r\n$8\r\n", *(bytes([byte]) for byte in b"a > slow")):
        peer.writer.write(piece)
        await asyncio.sleep(0.08)
    peer.writer.write(b"\r\n")
    assert await reply == b"a > slow"


async def test_stalled_loop_is_not_the_servers_fault(peer: Peer) -> None:
    """A reply that lay in the socket while this process stood still is taken."""
    reply = peer.connection.request(PING)
    peer.writer.write(b"+PONG\r\n")
    time.sleep(1.0)  # noqa: ASYNC251 - the stall under test
    assert await reply == b"PONG"
    assert peer.connection.alive


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+PONG\r\n+PONG\r\n", b"\x15\x03\x01\x00"])
async def test_garbage_ends_the_connection(peer: Peer, garbage: bytes) -> None:
    """What is no RESP, or one reply too many, ends the connection: nothing after it can be believed."""
    reply = peer.connection.request(PING)
    peer.writer.write(garbage)
    await until(lambda: not peer.connection.alive)
    outcome = (await asyncio.gather(reply, return_exceptions=True))[0]
    assert outcome == b"PONG" or isinstance(outcome, NotRedisError)


async def test_closed_connection_fails_who_waits(peer: Peer) -> None:
    """When the server hangs up, waiting callers learn it at once."""
    replies = [peer.connection.request(PING), peer.connection.request_many([PING, PING])]
    peer.writer.write(b"+PONG\r\n")
    await peer.writer.drain()
    peer.writer.close()
    outcomes = await asyncio.gather(*replies, return_exceptions=True)
    assert outcomes[0] == b"PONG"
    assert isinstance(outcomes[1], ConnectionResetError)


async def test_retired_connection_answers_what_is_under_way(peer: Peer) -> None:
    """A connection that is replaced closes when the last reply has come, not before."""
    reply = peer.connection.request(PING)
    peer.connection.retire()
    assert peer.connection.alive
    peer.writer.write(b"+PONG\r\n")
    assert await reply == b"PONG"
    await until(lambda: not peer.connection.alive)


async def test_large_writes_wait_for_a_server_that_does_not_read(peer: Peer) -> None:
    """What a stuck server does not take holds the writer, not the memory."""
    peer.reader._limit = 1024  # type: ignore[attr-defined] # it stops reading after two of them
    written = peer.connection.request(pack(("SET", "k", b"x" * 8_000_000)))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(peer.connection.drained())
    await asyncio.sleep(0)
    assert not waiting.done()
    with pytest.raises(TimeoutError):
        await written
    await waiting  # a connection that ends lets its writers go


class Asker:
    """Waits for a reply as a future would, and says what it saw."""

    def __init__(self, connection: Connection, error: BaseException | None = None) -> None:
        self.connection = connection
        self.error = error
        self.replies: list[Any] = []
        self.told_before: bool | None = None

    def done(self) -> bool:
        return False

    def set_result(self, reply: Any, /) -> None:
        self.replies.append(reply)
        if self.error is not None:
            raise self.error

    def set_exception(self, error: Exception, /) -> None:
        self.told_before = self.connection.on_lost is None


class Interrupted(BaseException):
    """What a signal's handler may raise within whatever runs when it comes. KeyboardInterrupt would end pytest."""


@pytest.mark.parametrize("pieces", [[b"+1\r\n", b"+2\r\n+3\r\n"], [b"+1\r\n+2\r\n+3\r\n"]], ids=len)
async def test_reply_that_could_not_be_handed_out_leaves_the_stream_in_order(peer: Peer, pieces: list[bytes]) -> None:
    """The next reply is still the next one's, and comes though nothing more is sent."""
    first, second = Asker(peer.connection, Interrupted()), Asker(peer.connection)
    peer.connection.request_for(PING, first)
    peer.connection.request_for(PING, second)
    third = peer.connection.request(PING)
    with pytest.raises(Interrupted):
        peer.connection.received(pieces[0])
    for piece in pieces[1:]:
        peer.connection.received(piece)
    assert await asyncio.wait_for(third, 5) == b"3"
    assert (first.replies, second.replies) == ([b"1"], [b"2"])
    assert peer.connection.idle
    assert peer.connection.alive
    assert peer.connection.served == 3


async def test_owner_hears_of_the_loss_before_those_who_wait(peer: Peer) -> None:
    """They may ask again at once, and must find another connection."""
    asker = Asker(peer.connection)
    peer.connection.request_for(PING, asker)

    def lost(connection: Connection) -> None:
        connection.on_lost = None

    peer.connection.on_lost = lost
    peer.connection.close()
    assert asker.told_before
