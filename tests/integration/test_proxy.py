"""The proxy is as bad a network as it is told to be, in front of a real server."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from cachecore.testing.proxy import Link, Proxy


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    port = urlsplit(redis_url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


@contextlib.contextmanager
def connected(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as link:
        yield link


def ask(link: socket.socket, command: bytes = b"PING\r\n", size: int = 7) -> bytes:
    link.sendall(command)
    return receive(link, size)


def receive(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = link.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def silent(link: socket.socket, seconds: float = 0.05) -> bool:
    """Whether nothing arrives for a while."""
    link.settimeout(seconds)
    try:
        return link.recv(1) is None
    except TimeoutError:
        return True
    finally:
        link.settimeout(10)


def until(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit, "the condition never held"
        time.sleep(0.001)


def test_forwards_and_counts(proxy: Proxy) -> None:
    with connected(proxy) as first, connected(proxy) as second:
        assert ask(first) == ask(second) == b"+PONG\r\n"
        assert ask(first, b"SET proxied 1\r\n", 5) == b"+OK\r\n"
        assert (proxy.connects, proxy.links) == (2, 2)
        assert (proxy.bytes_up, proxy.bytes_down) == (27, 19)
    until(lambda: proxy.links == 0)


def test_large_values_pass_both_ways(proxy: Proxy) -> None:
    value = os.urandom(3_000_000)
    with connected(proxy) as link:
        command = b"*3\r\n$3\r\nSET\r\n$7\r\nproxied\r\n$%d\r\n%b\r\n" % (len(value), value)
        assert ask(link, command, 5) == b"+OK\r\n"
        header = b"$%d\r\n" % len(value)
        assert ask(link, b"GET proxied\r\n", len(header) + len(value) + 2) == header + value + b"\r\n"


def test_slow_replies_keep_their_order(proxy: Proxy) -> None:
    proxy.slow(0.05, jitter=0.02)
    with connected(proxy) as link:
        begun = time.monotonic()
        assert ask(link) == b"+PONG\r\n"
        assert time.monotonic() - begun >= 0.05
        for i in range(20):
            link.sendall(b"ECHO %02d\r\n" % i)
        assert receive(link, 160) == b"".join(b"$2\r\n%02d\r\n" % i for i in range(20))


def test_throttled_replies_arrive_no_faster(proxy: Proxy) -> None:
    with connected(proxy) as link:
        assert ask(link, b"SET proxied %b\r\n" % (b"x" * 10_000), 5) == b"+OK\r\n"
        proxy.slow(bytes_per_second=100_000)
        begun = time.monotonic()
        ask(link, b"GET proxied\r\n", 10_000)
        assert time.monotonic() - begun >= 0.09


def test_throttled_requests_arrive_no_faster_and_hold_up_no_other_connection(proxy: Proxy) -> None:
    with connected(proxy) as link, connected(proxy) as other:
        proxy.throttle(200_000)
        begun = time.monotonic()
        link.sendall(b"*3\r\n$3\r\nSET\r\n$7\r\nproxied\r\n$200000\r\n%b\r\n" % (b"x" * 200_000))
        assert ask(other) == b"+PONG\r\n"
        assert silent(link)
        assert receive(link, 5) == b"+OK\r\n"
        assert time.monotonic() - begun >= 0.5
        proxy.heal()
        assert ask(link) == b"+PONG\r\n"


def test_a_throttled_client_that_resets_keeps_back_what_has_not_passed(proxy: Proxy) -> None:
    """Also what its kernel has handed over to that of the proxy."""
    command = b"*3\r\n$3\r\nSET\r\n$7\r\nproxied\r\n$1000000\r\n%b\r\n" % (b"x" * 1_000_000)
    proxy.throttle(1_000_000)
    with connected(proxy) as link:
        link.sendall(command)
        until(lambda: proxy.bytes_up)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
        passed = proxy.bytes_up
    until(lambda: not proxy.links)
    assert proxy.bytes_up - passed < len(command) / 4


def test_blackhole_holds_everything_until_healed(proxy: Proxy) -> None:
    with connected(proxy) as link:
        assert ask(link) == b"+PONG\r\n"
        proxy.blackhole()
        link.sendall(b"PING\r\n")
        assert silent(link)
        with connected(proxy) as late:  # accepted, and silent
            late.sendall(b"PING\r\n")
            assert silent(late)
            proxy.heal()
            assert receive(link, 7) == receive(late, 7) == b"+PONG\r\n"


def test_cut_in_the_middle_of_a_reply(proxy: Proxy) -> None:
    with connected(proxy) as link:
        proxy.cut(after_bytes=3)
        assert ask(link) == b"+PO"
        assert link.recv(1) == b""
    with connected(proxy) as link:
        assert ask(link) == b"+PO"
    proxy.heal()
    with connected(proxy) as link:
        assert ask(link) == b"+PONG\r\n"


def test_reset_ends_what_is_there_and_nothing_else(proxy: Proxy) -> None:
    with connected(proxy) as link:
        assert ask(link) == b"+PONG\r\n"
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            link.recv(1)
    with connected(proxy) as link:
        assert ask(link) == b"+PONG\r\n"


def test_lost_connections_stay_silent_for_ever(proxy: Proxy) -> None:
    with connected(proxy) as link:
        assert ask(link) == b"+PONG\r\n"
        proxy.lose()
        proxy.heal()
        link.sendall(b"PING\r\n")
        assert silent(link)
        with connected(proxy) as other:
            assert ask(other) == b"+PONG\r\n"
        assert silent(link)
    until(lambda: proxy.links == 0)


def test_refused_until_healed_on_the_same_port(proxy: Proxy) -> None:
    with connected(proxy) as link:
        assert ask(link) == b"+PONG\r\n"
        port = proxy.port
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            link.recv(1)
    with pytest.raises(ConnectionRefusedError), connected(proxy):
        pass
    proxy.heal()
    assert proxy.port == port
    with connected(proxy) as link:
        assert ask(link) == b"+PONG\r\n"


def test_swapped_replies_go_to_each_other(proxy: Proxy) -> None:
    with connected(proxy) as first, connected(proxy) as second:
        assert ask(first) == ask(second) == b"+PONG\r\n"
        proxy.swap_replies()
        first.sendall(b"ECHO 1\r\n")
        second.sendall(b"ECHO 2\r\n")
        assert receive(first, 7) == b"$1\r\n2\r\n"
        assert receive(second, 7) == b"$1\r\n1\r\n"
        proxy.heal()
        assert ask(first, b"ECHO 1\r\n", 7) == b"$1\r\n1\r\n"


def test_altered_replies(proxy: Proxy) -> None:
    with connected(proxy) as link:
        proxy.alter_replies(lambda link, piece: [(link, piece.replace(b"PONG", b"PINK"))])
        assert ask(link) == b"+PINK\r\n"


def test_server_that_is_down_is_a_closed_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with Proxy(unused.getsockname()[1]) as proxy, connected(proxy) as link:
            with contextlib.suppress(ConnectionResetError):
                assert link.recv(1) == b""
            assert proxy.links == 0


def test_closing_while_busy_is_quiet(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Connections that just came, that are in the middle of something, or that nobody reads any more."""
    port = urlsplit(redis_url).port
    assert port is not None

    def use(proxy: Proxy, closing: threading.Event) -> None:
        while not closing.is_set():
            with contextlib.suppress(OSError), connected(proxy) as link:
                link.settimeout(0.05)
                for size in (10, 100_000, 1_000_000):
                    link.sendall(b"ECHO " + b"x" * size + b"\r\n")
                    link.recv(1000)

    before = set(threading.enumerate())
    for number in range(20):
        closing = threading.Event()
        with Proxy(port) as proxy:
            callers = [threading.Thread(target=use, args=(proxy, closing)) for _ in range(4)]
            for caller in callers:
                caller.start()
            until(lambda proxy=proxy, number=number: proxy.connects > number)  # type: ignore[misc] # mypy infers no default of a lambda
        closing.set()
        for caller in callers:
            caller.join()
    gc.collect()
    assert caplog.messages == []
    assert set(threading.enumerate()) <= before


def test_bug_in_what_alters_replies_is_told(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    port = urlsplit(redis_url).port
    assert port is not None

    def alter(link: Link, piece: bytes) -> list[tuple[Link, bytes]]:
        raise ZeroDivisionError

    with Proxy(port) as proxy, connected(proxy) as link:
        proxy.alter_replies(alter)
        link.sendall(b"PING\r\n")
        assert link.recv(1) == b""
    assert "ZeroDivisionError" in caplog.text


def test_closing_leaves_no_thread_and_no_connection(redis_url: str) -> None:
    port = urlsplit(redis_url).port
    assert port is not None
    before = set(threading.enumerate())
    with Proxy(port) as proxy, connected(proxy) as link:
        assert ask(link) == b"+PONG\r\n"
        proxy.blackhole()
        link.sendall(b"PING\r\n")
    assert set(threading.enumerate()) <= before
