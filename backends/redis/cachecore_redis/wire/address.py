"""Addresses and settings of the store: URLs are parsed and checked while a backend is built."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from cachecore.contract import OptionsError, redact_url
from cachecore.contract.options import KIB, positive, size

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection
    from redis.credentials import CredentialProvider


_NUMBERS: Final = ("db", "socket_timeout", "socket_connect_timeout", "max_connections", "health_check_interval")
"""Settings that redis-py reads as numbers."""
Address = tuple[str, int]
"""Host and port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """Settings of the connections. Each may also stand in the URL: `redis://host/0?timeout=300ms&connections=2`."""

    timeout: float = 1.0
    """Seconds without any answer, while one is owed, before the connection is closed and all commands on it fail. In a
    cache its `write_timeout` is the default. The deadline of a single call is the cache's."""
    connect_timeout: float = 1.0
    """Seconds that connecting, TLS and logging in may take together. In a cache its `connect_timeout` is the default.
    """
    heartbeat: float = 0.25
    """Seconds between two heartbeats of the feed."""
    connections: int = 1
    """Connections for small commands in each event loop. More than one pays only with many cores on the server."""
    bulk_bytes: int = 64 * KIB
    """Values of at least this many bytes use a separate connection, so that small commands do not wait behind them."""

    def __post_init__(self) -> None:
        for name in ("timeout", "connect_timeout", "heartbeat"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        object.__setattr__(self, "bulk_bytes", size("bulk_bytes", self.bulk_bytes))
        for name in ("connections", "bulk_bytes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise OptionsError(f"{name} must be a whole number of at least 1, not {value!r}")


_OURS: Final = {field.name: field.type for field in fields(RedisOptions)}
_NOT_OURS: Final = frozenset({"max_connections", "decode_responses", "encoding", "retry", "health_check_interval"})


def split_options(url: str, given: Mapping[str, Any]) -> tuple[str, RedisOptions, frozenset[str]]:
    """Return `url` without the settings that are ours, the settings, and the names of those that were given.

    `given` wins over the URL.

    Raises:
        OptionsError: a setting is unknown or wrong. The message never holds the URL: it may hold a password.
    """
    unknown = sorted(set(given) - set(_OURS))
    if unknown:
        raise OptionsError(f"unknown setting {unknown[0]!r}; there are {', '.join(sorted(_OURS))}")
    parts = urlsplit(url)
    ours: dict[str, Any] = {}
    rest: list[tuple[str, str]] = []
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name in _NOT_OURS:
            raise OptionsError(f"{name} has no meaning in the URL of this backend")
        if name not in _OURS:
            rest.append((name, text))
        else:
            ours[name] = int(text) if name == "connections" and text.isdecimal() else text
    ours.update(given)
    return urlunsplit(parts._replace(query=urlencode(rest))), RedisOptions(**ours), frozenset(ours)


def limited(options: RedisOptions, own: Collection[str], *, connect: float, silence: float) -> RedisOptions:
    """Return `options` with the limits that a cache gives, save those that are the backend's `own`."""
    limits: dict[str, Any] = {"connect_timeout": connect, "timeout": silence}
    return replace(options, **{name: value for name, value in limits.items() if name not in own})


def split_hosts(url: str, default_port: int) -> tuple[str, list[Address]]:
    """Return `url` with its first host only, and all hosts of `h1:p1,h2:p2`.

    Raises:
        OptionsError: there is no host, or a port is no number.
    """
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    found: list[Address] = []
    for one in hosts.split(","):
        host, colon, port = one.rpartition(":")
        if not colon or one.endswith("]"):
            host, port = one, str(default_port)
        if not host or not port.isdecimal():
            raise OptionsError("the URL needs hosts as in host:port,host:port")
        found.append((host.strip("[]"), int(port)))
    host, port_number = found[0]
    return urlunsplit(parts._replace(netloc=f"{user}{at}{f'[{host}]' if ':' in host else host}:{port_number}")), found


def setup(options: RedisOptions) -> dict[str, Any]:
    """Return the redis-py settings that every connection gets."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return {
        **_waits(options),
        **_anonymous(),
        "retry": Retry(NoBackoff(), 0),  # redis-py retries up to ten times by default
        "protocol": 3,
    }


def _anonymous() -> dict[str, None]:
    """Return the settings that switch CLIENT SETINFO off.

    It costs a round trip of each connection, and some proxies close a connection that sends it.
    """
    from redis.asyncio.connection import AbstractConnection

    if "driver_info" in inspect.signature(AbstractConnection.__init__).parameters:
        return {"driver_info": None}
    return {"lib_name": None, "lib_version": None}  # up to redis-py 7.0


def _waits(options: RedisOptions) -> dict[str, float]:
    # The second one while logging in; afterwards `Connection` has its own deadline.
    return {"socket_connect_timeout": options.connect_timeout, "socket_timeout": options.connect_timeout}


def _check_names(url: str, connection: type) -> None:
    """Return if redis-py knows each setting in the query of `url`. Raises OptionsError."""
    known = {
        name for kind in connection.__mro__ for name in inspect.signature(vars(kind).get("__init__", kind)).parameters
    }
    known |= {*_OURS, "db"}
    for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in known and name.isidentifier():  # what is no name may be a part of a password
            near = difflib.get_close_matches(name, known, n=1)
            way_out = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_OURS)}, and those of redis-py"
            raise OptionsError(f"the URL of the store has an unknown setting {name!r}: {way_out}")


def _wrong_url(url: str, error: ValueError) -> OptionsError:
    """Return the error for a URL that redis-py does not take for `error`.

    The text of that is dropped: it quotes the URL, and with a / or # in the password also a part of the password.
    """
    for name in _NUMBERS:
        if str(error) == f"Invalid value for '{name}' in connection URL.":
            return OptionsError(f"{name} in the URL of the store, {redact_url(url)!r}, must be a number")
    return OptionsError(
        f"the URL of the store, {redact_url(url)!r}, is wrong: is it redis://user:password@host:6379/0, the port a "
        "number up to 65535, and are special characters in the password percent-encoded (/ as %2F, # as %23, ? as %3F)?"
    )


def _remedy(settings: Mapping[str, Any]) -> str:
    """Return the ways out of wrong settings of TLS that are in `settings`."""
    ways = "; ssl_cert_reqs is none, optional or required" if "ssl_cert_reqs" in settings else ""
    files = [name for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") if name in settings]
    return f"{ways}; is the file of {' and of '.join(files)} there, in PEM?" if files else ways


class UrlDialer:
    """Makes connections to the one server that a URL names."""

    def __init__(self, url: str, options: RedisOptions, credential_provider: CredentialProvider | None = None) -> None:
        from redis.asyncio.connection import Connection, parse_url

        try:
            kwargs: dict[str, Any] = dict(parse_url(url))
        except ValueError as error:
            raise _wrong_url(url, error) from None
        database = urlsplit(url).path.strip("/")
        if database and "path" not in kwargs and not database.isdecimal():
            # redis-py would take database 0 for it.
            raise OptionsError(
                f"the URL of the store, {redact_url(url)!r}, is wrong: after the host comes the number of a database, "
                "as in /0"
            )
        if credential_provider is not None:
            kwargs["credential_provider"] = credential_provider
        make = kwargs.pop("connection_class", Connection)
        _check_names(url, make)
        self._make: Any = make
        self._kwargs = {**setup(options), **kwargs}
        self._tls: Any = None
        self.timeout = options.timeout
        self.connect_timeout = options.connect_timeout
        self._check()

    def _check(self) -> None:
        """Make one connection, unopened, so that a wrong setting fails now; load the certificates once."""
        from redis.exceptions import RedisError

        try:
            probe = self._make(**self._kwargs)
            tls = getattr(probe, "ssl_context", None)
            if tls is not None:
                tls.get()
        except (TypeError, ValueError, OSError, RedisError) as error:
            raise OptionsError(f"a setting in the URL of the store is wrong: {error}{_remedy(self._kwargs)}") from None
        self._tls = tls

    @property
    def name(self) -> str:
        """Host and port, or the path of the socket. Holds no secret."""
        path = self._kwargs.get("path")
        return str(path) if path else f"{self._kwargs.get('host', 'localhost')}:{self._kwargs.get('port', 6379)}"

    @property
    def address(self) -> Address:
        """Host and port."""
        return self._kwargs.get("host", "localhost"), self._kwargs.get("port", 6379)

    async def driver_connection(self) -> AbstractConnection:
        """Return a redis-py connection, not yet connected."""
        driver: Any = self._make(**self._kwargs)
        if self._tls is not None:
            # Shared: reading the certificates blocks the loop for 20 ms.
            driver.ssl_context = self._tls
        made: AbstractConnection = driver
        return made

    def at(self, host: str, port: int) -> UrlDialer:
        """Return a dialer of another server with the same settings: another node of a cluster."""
        return self._with({**self._kwargs, "host": host, "port": port})

    def logged_in_as(self, login: Mapping[str, str]) -> UrlDialer:
        """Return a dialer with other credentials, and no database: a Sentinel has users of its own."""
        private = ("username", "password", "db", "credential_provider")
        return self._with({name: value for name, value in self._kwargs.items() if name not in private} | dict(login))

    def _with(self, kwargs: dict[str, Any]) -> UrlDialer:
        other = object.__new__(UrlDialer)
        vars(other).update(
            _make=self._make, _tls=self._tls, _kwargs=kwargs, timeout=self.timeout, connect_timeout=self.connect_timeout
        )
        return other

    def limit_waits(self, options: RedisOptions) -> None:
        """Take the limits of `options` for the connections to come."""
        self.timeout, self.connect_timeout = options.timeout, options.connect_timeout
        self._kwargs = {**self._kwargs, **_waits(options)}

    def downgrade(self, error: Exception) -> bool:
        """Switch to RESP2 if `error` says that the server, or a proxy before it, lacks RESP3; return whether it did."""
        text = str(error).lower()
        if self._kwargs["protocol"] == 2 or not ("noproto" in text or ("unknown command" in text and "hello" in text)):
            return False
        self._kwargs = {**self._kwargs, "protocol": 2}
        return True
