"""Connections whose writes can be held, and what a gateway sends over them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.held import HeldTransport
from cachecore_proxy.settings import Bounds
from tests.proxy.conftest import Gateways, chat


class Recorded(asyncio.Transport):
    """What the event loop's transport is told, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def write(self, data: Any) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")

    def get_write_buffer_size(self) -> int:
        return 5


def test_held_writes_are_one() -> None:
    under = Recorded()
    transport = HeldTransport(under)
    transport.write(b"before")
    transport.hold()
    transport.write(b"head ")
    transport.write(b"body")
    assert under.told == [b"before"]
    assert transport.get_write_buffer_size() == 5 + len(b"head body")
    transport.release()
    transport.write(b"after")
    assert under.told == [b"before", b"head body", b"after"]


def test_close_sends_what_is_held_and_abort_does_not() -> None:
    for end, told in (("close", [b"head", "close"]), ("abort", ["abort"])):
        under = Recorded()
        transport = HeldTransport(under)
        transport.hold()
        transport.write(b"head")
        getattr(transport, end)()
        transport.release()
        assert under.told == told


def by_hand(text: str, **headers: str) -> bytes:
    body = json.dumps(chat(text)).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", "authorization: Bearer k"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


async def whole(reader: asyncio.StreamReader) -> bytes:
    """Return the head of the next answer, and read its body."""
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return head


async def test_hit_comes_in_one_packet_also_when_the_connection_closes(
    gateways: Gateways, provider: LocalProvider
) -> None:
    running = await gateways.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    for status in (b"fwd=miss", b"hit"):
        writer.write(by_hand("Hi"))
        assert status in await whole(reader)
    packets: list[bytes] = []
    closed = asyncio.get_running_loop().create_future()

    class Packets(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            packets.append(data)

        def connection_lost(self, exc: Exception | None) -> None:
            closed.set_result(None)

    transport, _ = await asyncio.get_running_loop().create_connection(Packets, "127.0.0.1", running.port)
    transport.write(by_hand("Hi", connection="close"))
    async with asyncio.timeout(30):
        await closed
    assert len(packets) == 1
    assert packets[0].endswith(b"}")
    writer.close()


async def test_large_head_behind_another_request_is_refused(gateways: Gateways) -> None:
    """Both come in one packet, so that the second one's bytes are counted with the first one's."""
    running = await gateways.start(bounds=Bounds(max_head_bytes=4096))
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(by_hand("Hi") + by_hand("Hi", filler="x" * 5000))
    assert b" 200 " in await whole(reader)
    assert b" 431 " in await whole(reader)
    writer.close()
