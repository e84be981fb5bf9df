"""A connected socket: the addresses of a host are tried in turn, a quarter of a second apart (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, Final

_APART: Final = 0.25
"""Seconds that an address has before the next one is tried beside it."""

_Address = tuple[socket.AddressFamily, Any]


async def dialled(host: str, port: int) -> socket.socket:
    """Return a socket connected to `host`. Raises OSError of the last address."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    waiting = _interleaved([(one[0], one[4]) for one in found])
    trying: set[asyncio.Task[socket.socket]] = set()
    error: BaseException = OSError(f"{host} has no address")
    try:
        while waiting or trying:
            if waiting:
                trying.add(loop.create_task(_connected(*waiting.pop(0))))
            done, _ = await asyncio.wait(
                trying, timeout=_APART if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                trying.discard(task)
                failed = task.exception()
                if failed is None:
                    return task.result()
                error = failed
    finally:
        for task in trying:
            task.add_done_callback(_close)
            task.cancel()
    raise error


async def _connected(family: socket.AddressFamily, address: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _interleaved(addresses: Sequence[_Address]) -> list[_Address]:
    """Return the addresses with the families in turn, the resolver's first one first."""
    first = [one for one in addresses if one[0] == addresses[0][0]]
    others = [one for one in addresses if one[0] != addresses[0][0]]
    return [one for one in chain.from_iterable(zip_longest(first, others)) if one is not None]


def _close(task: asyncio.Task[socket.socket]) -> None:
    """Close the socket of an attempt that was not needed."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
