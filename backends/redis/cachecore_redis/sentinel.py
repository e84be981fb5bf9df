"""Redis Sentinel: finding the primary of a service, and learning at once of another one.

All Sentinels are asked at the same time, so that a dead or frozen one costs no time. The answer with the highest
configuration epoch wins, so that a Sentinel that was cut off cannot name a deposed primary.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import hiredis

from cachecore.contract import OptionsError
from cachecore_redis.backend import RedisBackend
from cachecore_redis.node.node import Node
from cachecore_redis.wire.address import Address, RedisOptions, UrlDialer, split_hosts
from cachecore_redis.wire.commands import PING, pack
from cachecore_redis.wire.connection import Connection, Reply
from cachecore_redis.wire.reconnecting import dial

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection
    from redis.credentials import CredentialProvider

_GRACE: Final = 0.05
"""Seconds that the other Sentinels have after the first answer."""
_PAUSE: Final = 0.5
"""Seconds between two attempts to listen to a Sentinel, and between two PINGs while listening."""


class SentinelDialer(UrlDialer):
    """Makes connections to the server that the Sentinels name as the primary of `service`."""

    def __init__(self, url: str, options: RedisOptions, credential_provider: CredentialProvider | None = None) -> None:
        url, self.sentinels = split_hosts(url, 26379)
        parts = urlsplit(url)
        self.service, _, database = parts.path.strip("/").partition("/")
        if not self.service:
            raise OptionsError("the URL needs the name of the service: redis+sentinel://host:port/service/db")
        query: list[tuple[str, str]] = []
        login: dict[str, str] = {}
        for name, text in parse_qsl(parts.query):
            if name in ("sentinel_username", "sentinel_password"):
                login[name.removeprefix("sentinel_")] = text
            else:
                query.append((name, text))
        scheme = parts.scheme.partition("+")[0]
        plain = urlunsplit(parts._replace(scheme=scheme, path=f"/{database}", query=urlencode(query)))
        super().__init__(plain, options, credential_provider)
        self._current: Address | None = None
        self._asking = [self.logged_in_as(login).at(host, port) for host, port in self.sentinels]

    def limit_waits(self, options: RedisOptions) -> None:
        """Take the limits of `options` for the connections to come, to Sentinels too."""
        super().limit_waits(options)
        for dialer in self._asking:
            dialer.limit_waits(options)

    @property
    def name(self) -> str:
        """The service and the number of Sentinels. Holds no secret."""
        return f"service {self.service} of {len(self.sentinels)} Sentinels"

    async def driver_connection(self) -> AbstractConnection:
        """Return a redis-py connection to the current primary, not yet connected."""
        self._current = await self.primary()
        return await self.at(*self._current).driver_connection()

    async def primary(self) -> Address:
        """Return the address of the primary. Raises ConnectionRefusedError if no Sentinel knows one."""
        asked = [asyncio.ensure_future(self._ask(dialer)) for dialer in self._asking]
        answers: list[tuple[int, Address]] = []
        try:
            waiting = set(asked)
            while waiting:
                done, waiting = await asyncio.wait(
                    waiting, timeout=_GRACE if answers else None, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                answers += [answer for task in done if (answer := task.result()) is not None]
        finally:
            for task in asked:
                task.cancel()
        if not answers:
            raise ConnectionRefusedError("no Sentinel names a primary")
        return max(answers)[1]

    async def _ask(self, dialer: UrlDialer) -> tuple[int, Address] | None:
        """Return (configuration epoch, address) according to one Sentinel, or None."""
        from redis.exceptions import RedisError

        connection: Connection | None = None
        try:
            connection = await dial(dialer)
            reply = await connection.request(pack(("SENTINEL", "MASTER", self.service)))
        except (OSError, EOFError, RedisError):
            return None  # the other Sentinels decide
        finally:
            if connection is not None:
                connection.close()
        if isinstance(reply, hiredis.ReplyError):
            return None
        fields: dict[bytes, Any] = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
        return int(fields[b"config-epoch"]), (fields[b"ip"].decode(), int(fields[b"port"]))

    async def listen(self, on_switch: Callable[[], None]) -> None:
        """Call `on_switch` as soon as a Sentinel reports another primary, every time; never return."""
        from redis.exceptions import RedisError

        for dialer in itertools.cycle(self._asking):
            with contextlib.suppress(OSError, EOFError, RedisError):
                await self._listen_to(dialer, on_switch)
            await asyncio.sleep(_PAUSE)

    async def _listen_to(self, dialer: UrlDialer, on_switch: Callable[[], None]) -> None:
        def pushed(push: list[Reply]) -> None:
            if push[:2] == [b"message", b"+switch-master"] and push[2].split(b" ")[0] == self.service.encode():
                on_switch()

        connection = await dial(dialer)
        try:
            connection.on_push = pushed
            connection.write(pack(("SUBSCRIBE", "+switch-master")))  # confirmed by a push
            await connection.request(PING)
            if self._current is not None and await self.primary() != self._current:
                on_switch()  # it happened before this subscription
            while True:
                await asyncio.sleep(_PAUSE)
                await connection.request(PING)
        finally:
            connection.close()


class _ServiceNode(Node):
    """The primary of a service, as one event loop sees it; another one that takes its place is used at once."""

    def __init__(self, dialer: SentinelDialer, *settings: Any) -> None:
        super().__init__(dialer, *settings)
        self._listening = asyncio.get_running_loop().create_task(
            dialer.listen(self.restart), context=contextvars.Context()
        )

    def close(self) -> None:
        """Close all connections and stop listening."""
        self._listening.cancel()
        super().close()


class SentinelBackend(RedisBackend):
    """CacheBackend on the primary that Sentinels name: `redis+sentinel://user:pw@host:port,host:port/service/db`.

    `rediss+sentinel://` for TLS. The user and password are the store's; those of the Sentinels follow as
    `?sentinel_username=…&sentinel_password=…`. Otherwise as `RedisBackend`.
    """

    def _dial(self, url: str, credential_provider: CredentialProvider | None) -> UrlDialer:
        return SentinelDialer(url, self._options, credential_provider)

    def _node(self) -> Node:
        assert isinstance(self._dialer, SentinelDialer)  # noqa: S101 - made by _dial
        return _ServiceNode(self._dialer, self._backoff, self._options, self._large)
