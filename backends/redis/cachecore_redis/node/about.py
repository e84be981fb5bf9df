"""What a server can do and may be asked for: for `cachecore doctor`, and for anybody who wonders.

Asked over a connection of its own, with commands that an ordinary user may use: HELLO says what INFO would. Nothing is
written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import hiredis

from cachecore.contract.errors import BackendError
from cachecore_redis.node.feed import protocol_in_force
from cachecore_redis.node.swap import Swapper, ways
from cachecore_redis.wire.commands import pack
from cachecore_redis.wire.connection import Lane
from cachecore_redis.wire.errors import reply_reason, translate
from cachecore_redis.wire.reconnecting import Dialer, dial


async def about(dialer: Dialer, prefix: str, key: str) -> Mapping[str, str]:
    """Return what was found out about the server, as words for people.

    `prefix` is that of the cache's keys, `key` one that the server would hold and nobody uses.

    Keys: `server`, `protocol`, `role` (where the server says it), `feed`, `swap`.

    Raises:
        BackendError: the server cannot be reached.
    """
    from redis.exceptions import RedisError

    try:
        lane = await dial(dialer)
    except (RedisError, OSError, EOFError) as error:
        raise translate("about", error) from error
    try:
        said = await _hello(lane)
        return {**said, "feed": await _feed(lane, prefix, said["protocol"]), "swap": await _swap(lane, key)}
    except OSError as error:
        raise translate("about", error) from error
    finally:
        lane.close()
        await asyncio.sleep(0)


async def _hello(lane: Lane) -> dict[str, str]:
    reply: Any = await lane.request(pack(("HELLO",)))
    if isinstance(reply, hiredis.ReplyError):
        return {"server": "unknown", "protocol": "RESP2"}
    said = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    found = {name: _text(said[key]) for name, key in (("role", b"role"), ("mode", b"mode")) if key in said}
    server = f"{_text(said.get(b'server', b'unknown'))} {_text(said.get(b'version', b''))}".strip()
    return {"server": server, "protocol": f"RESP{protocol_in_force(reply)}", **found}


async def _feed(lane: Lane, prefix: str, protocol: str) -> str:
    why = protocol
    if protocol == "RESP3":
        reply = await lane.request(pack(("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix, "NOLOOP")))
        if not isinstance(reply, hiredis.ReplyError):
            return "client tracking"
        why = reply_reason(str(reply))[0]
    return f"none ({why}): copies in memory live for l1_max_age only"


async def _swap(lane: Lane, key: str) -> str:
    async def same() -> Lane:
        return lane

    reply = await Swapper().swap(lane, same, key, b"never", b"never", 1)
    return f"refused ({reply_reason(str(reply))[0]})" if isinstance(reply, hiredis.ReplyError) else ways(lane)[0]


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


async def about_all(servers: Mapping[str, tuple[Dialer, str]], prefix: str) -> dict[str, Mapping[str, str]]:
    """Return what was found out about several servers, each with a key of its own; for one out of reach, why."""

    async def one(dialer: Dialer, key: str) -> Mapping[str, str]:
        try:
            return await about(dialer, prefix, key)
        except BackendError as error:
            return {"error": error.reason}

    found = await asyncio.gather(*(one(dialer, key) for dialer, key in servers.values()))
    return dict(zip(servers, found, strict=True))
