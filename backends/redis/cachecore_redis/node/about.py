"""Facts about a server and its abilities, for people: `cachecore doctor` prints them.

They are read over a separate connection, by commands that an ordinary user may run: HELLO instead of INFO, which is
asked for memory and persistence alone and may be refused, as CONFIG may be. Nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import hiredis

from cachecore.contract import BackendError
from cachecore_redis.node.feed import protocol_in_force
from cachecore_redis.node.swap import Swapper, methods
from cachecore_redis.wire.commands import pack
from cachecore_redis.wire.connection import Connection
from cachecore_redis.wire.errors import reply_reason, translate
from cachecore_redis.wire.reconnecting import Dialer, dial


async def about(dialer: Dialer, prefix: str, key: str) -> Mapping[str, str]:
    """Return facts about the server, as text for people.

    `prefix` is that of the cache's keys; `key` is a key of this server that has no other use.

    The result has `server`, `protocol`, `feed` and `swap`, and where the server tells them `role`, `mode`, `maxmemory`
    (bytes; `0`: no limit), `maxmemory_policy`, `used_memory` and `persistence`.

    Raises:
        BackendError: the server cannot be reached.
    """
    from redis.exceptions import RedisError

    try:
        connection = await dial(dialer)
    except (RedisError, OSError, EOFError) as error:
        raise translate("about", error) from error
    try:
        facts = await _hello(connection)
        return {
            **facts,
            **await _memory(connection),
            **await _persistence(connection),
            "feed": await _feed(connection, prefix, facts["protocol"]),
            "swap": await _swap(connection, key),
        }
    except OSError as error:
        raise translate("about", error) from error
    finally:
        connection.close()
        await asyncio.sleep(0)


async def _hello(connection: Connection) -> dict[str, str]:
    reply: Any = await connection.request(pack(("HELLO",)))
    if isinstance(reply, hiredis.ReplyError):
        return {"server": "unknown", "protocol": "RESP2"}
    hello = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    optional = {name: _text(hello[key]) for name, key in (("role", b"role"), ("mode", b"mode")) if key in hello}
    server = f"{_text(hello.get(b'server', b'unknown'))} {_text(hello.get(b'version', b''))}".strip()
    return {"server": server, "protocol": f"RESP{protocol_in_force(reply)}", **optional}


async def _memory(connection: Connection) -> dict[str, str]:
    told = await _info(connection, "memory")
    return {name: told[name] for name in ("maxmemory", "maxmemory_policy", "used_memory") if name in told}


async def _info(connection: Connection, section: str) -> dict[str, str]:
    reply: Any = await connection.request(pack(("INFO", section)))
    text = str(reply, "ascii", "replace") if isinstance(reply, bytes) else ""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


async def _persistence(connection: Connection) -> dict[str, str]:
    """Return what a restart brings back: `none`, `appendonly (appendfsync …)`, `snapshots (…)`; nothing if untold."""
    told = await _info(connection, "persistence")
    if "aof_enabled" not in told:
        return {}
    if told["aof_enabled"] == "1":
        how = await _setting(connection, "appendfsync")
        return {"persistence": f"appendonly (appendfsync {how or 'unknown'})"}
    save = await _setting(connection, "save")
    if save is None:
        return {"persistence": "snapshots, or none (CONFIG is refused)"}
    return {"persistence": f"snapshots ({save})" if save else "none"}


async def _setting(connection: Connection, name: str) -> str | None:
    reply: Any = await connection.request(pack(("CONFIG", "GET", name)))
    if isinstance(reply, dict):
        reply = [part for pair in reply.items() for part in pair]
    return _text(reply[1]) if isinstance(reply, list) and len(reply) == 2 else None


async def _feed(connection: Connection, prefix: str, protocol: str) -> str:
    reason = protocol
    if protocol == "RESP3":
        reply = await connection.request(pack(("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix, "NOLOOP")))
        if not isinstance(reply, hiredis.ReplyError):
            return "client tracking"
        reason = reply_reason(str(reply))[0]
    return f"none ({reason}): copies in memory live for l1_max_age only"


async def _swap(connection: Connection, key: str) -> str:
    async def same() -> Connection:
        return connection

    reply = await Swapper().swap(connection, same, key, b"never", b"never", 1)
    return (
        f"refused ({reply_reason(str(reply))[0]})" if isinstance(reply, hiredis.ReplyError) else methods(connection)[0]
    )


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


async def about_all(servers: Mapping[str, tuple[Dialer, str]], prefix: str) -> dict[str, Mapping[str, str]]:
    """Return the facts about several servers, each probed with its own key; `error` alone for one out of reach."""

    async def one(dialer: Dialer, key: str) -> Mapping[str, str]:
        try:
            return await about(dialer, prefix, key)
        except BackendError as error:
            return {"error": error.reason}

    facts = await asyncio.gather(*(one(dialer, key) for dialer, key in servers.values()))
    return dict(zip(servers, facts, strict=True))
