"""The backend on a client that the caller made and configured, and that is never closed here.

For a client with settings that no URL can say (a service's own connection class, a proxy, a test double with Redis's
semantics). It uses only commands that every client has, so there is no feed; copies in memory live for `l1_max_age`.
`RedisBackend` is several times faster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cachecore.contract import BackendUnavailable, OptionsError
from cachecore_redis.wire.commands import PAGE, literal, milliseconds
from cachecore_redis.wire.errors import translated, unknown

if TYPE_CHECKING:
    from redis.asyncio import Redis


class ClientBackend:
    """CacheBackend on a `redis.asyncio.Redis`, which the caller configures and closes.

    A client belongs to the event loop it is used in; so does this backend.
    """

    def __init__(self, client: Redis) -> None:
        import redis

        given: object = client
        if isinstance(given, redis.Redis | redis.RedisCluster):
            raise OptionsError(
                f"the client must be a redis.asyncio.Redis, not the blocking {type(given).__module__}."
                f"{type(given).__qualname__}, which would stop the event loop: give a redis.asyncio.Redis of the same "
                'settings, or the URL: Cache("redis://…")'
            )
        pool = getattr(client, "connection_pool", None)
        if pool is None:
            raise OptionsError("a cluster is used by URL (redis+cluster://…), not through a client")
        if pool.connection_kwargs.get("decode_responses"):
            raise OptionsError("the client must not decode responses: values are bytes (decode_responses=False)")
        self._client: Any = client
        self._closed = False

    def __repr__(self) -> str:
        return "ClientBackend()"

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`: one MGET."""
        client = self._open("get_many")
        if not keys:
            return []
        with translated("get_many"):
            values: list[bytes | None] = await client.mget(keys)
        return values

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key with its deadline: a pipeline of SET PX."""
        client = self._open("set_many")
        if not items:
            return
        px = milliseconds(ttl)
        with translated("set_many"):
            async with client.pipeline(transaction=False) as pipe:
                for key, value in items.items():
                    pipe.set(key, value, px=px)
                await pipe.execute()

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys; return how many existed: one DEL, which every server and every proxy knows."""
        client = self._open("delete_many")
        if not keys:
            return 0
        with translated("delete_many"):
            return int(await client.delete(*keys))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now: SET NX, else WATCH, GET and MULTI on a connection of the pool."""
        client = self._open("swap")
        px = milliseconds(ttl)
        with translated("swap"):
            if old is None and new is not None:
                return await client.set(key, new, px=px, nx=True) is not None
            return await self._watched_swap(client, key, old, new, px)

    async def _watched_swap(self, client: Any, key: str, old: bytes | None, new: bytes | None, px: int | None) -> bool:
        from redis.exceptions import ResponseError, WatchError

        async with client.pipeline() as pipe:
            await pipe.watch(key)
            try:
                if await pipe.get(key) != old:
                    return False
            except ResponseError as error:
                if str(error).startswith("WRONGTYPE"):
                    return False  # a key of another type holds no value of ours, so not the expected one either
                raise
            if old is None:
                return True  # absent, and to stay so
            pipe.multi()
            if new is None:
                pipe.delete(key)
            else:
                pipe.set(key, new, px=px)
            try:
                await pipe.execute()
            except WatchError:
                return False  # another write came between: the value is no longer `old`
            return True

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it.

        A pipeline of PEXPIRE GT and GET; where the server has no GT, the value gets no end at all.
        """
        from redis.exceptions import ResponseError

        client, px = self._open("extend"), milliseconds(ttl)
        if not items:
            return []
        with translated("extend"):
            async with client.pipeline(transaction=False) as pipe:
                for key in items:
                    pipe.persist(key) if px is None else pipe.pexpire(key, px, gt=True)
                    pipe.get(key)
                replies = await pipe.execute(raise_on_error=False)
        if any(isinstance(reply, ResponseError) and unknown(reply) for reply in replies):
            return [await self.swap(key, value, value, ttl=None) for key, value in items.items()]
        with translated("extend"):
            for reply in replies:
                if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
                    raise reply
        return [reply == value for reply, value in zip(replies[1::2], items.values(), strict=True)]

    async def advance(self, key: str) -> int:
        """Add one to the counter under `key` and return it: one INCR."""
        from redis.exceptions import ResponseError

        client = self._open("advance")
        with translated("advance"):
            try:
                return int(await client.incr(key))
            except ResponseError as error:
                if "not an integer" not in str(error) and "WRONGTYPE" not in str(error):
                    raise
            await client.set(key, b"1")
            return 1

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`, in pages: SCAN, which never blocks the server for long."""
        client = self._open("scan")
        cursor: Any = 0
        while True:
            with translated("scan"):
                cursor, keys = await client.scan(cursor=cursor, match=literal(prefix), count=PAGE)
            if keys:
                yield [key.decode("ascii", "replace") for key in keys]
            if int(cursor) == 0:
                return

    async def time(self) -> float:
        """Return the server's clock, Unix seconds."""
        client = self._open("time")
        with translated("time"):
            whole, micro = await client.time()
        return int(whole) + int(micro) / 1e6

    async def aclose(self) -> None:
        """Stop using the client. It stays open, because the caller closes it."""
        self._closed = True

    def _open(self, operation: str) -> Any:
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")
        return self._client
