"""The options of a Postgres store, checked once, and the URL that holds them beside libpq's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from cachecore.contract import OptionsError, positive, redact_url

Durability = Literal["unlogged", "logged"]

_NAME_BYTES: Final = 63
"""Postgres cuts longer names, and two tables would become one."""
_MOST_CONNECTIONS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Options of a Postgres store. Durations are seconds."""

    table: str = "cachecore"
    """The table, taken literally and quoted. It is made by the first write."""
    schema: str = ""
    """The schema of the table, which must exist; empty: the first of the user's `search_path`."""
    durability: Durability = "unlogged"
    """`unlogged`: writes skip the log; a crash of the server or a failover empties the table. `logged`: survives both,
    and each write waits for the disk. Counts when the table is made."""
    connections: int = 4
    """The most connections of an event loop; each feed has one more."""
    heartbeat: float = 0.25
    """Seconds between two heartbeats of the feed."""
    feed: bool = True
    """Whether writes notify other processes, and whether this process listens. Must be the same in all processes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "heartbeat", positive("heartbeat", self.heartbeat))
        for name in ("table", "schema"):
            text: object = getattr(self, name)
            if not isinstance(text, str) or "\0" in text or len(text.encode()) > _NAME_BYTES:
                raise OptionsError(f"{name} must be a name of at most {_NAME_BYTES} bytes, not {text!r}")
        if not self.table:
            raise OptionsError("table must be the name of a table, not an empty text")
        if self.durability not in get_args(Durability):
            raise OptionsError(f"durability must be one of {', '.join(get_args(Durability))}, not {self.durability!r}")
        number: object = self.connections
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= _MOST_CONNECTIONS:
            raise OptionsError(f"connections must be a whole number from 1 to {_MOST_CONNECTIONS}, not {number!r}")
        switch: object = self.feed
        if not isinstance(switch, bool):
            raise OptionsError(f"feed must be True or False, not {switch!r}")


_NAMES: Final = tuple(field.name for field in fields(PostgresOptions))


def parse_url(url: str) -> tuple[str, PostgresOptions]:
    """Return the URL for libpq and the options of the store, which are query parameters beside libpq's own.

    Raises:
        OptionsError: the URL has another form, libpq does not take it, or an option is unknown, given twice or wrong.
    """
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise OptionsError(f"a Postgres URL looks like postgres://user:password@host/database, not {redact_url(url)!r}")
    own: dict[str, str] = {}
    foreign: list[tuple[str, str]] = []
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _NAMES:
            foreign.append((name, text))
        elif name in own:
            raise OptionsError(f"the option {name} is given twice")
        else:
            own[name] = text
    plain = urlunsplit(parts._replace(query=urlencode(foreign, quote_via=quote)))
    try:
        conninfo_to_dict(plain)
    except Error:
        # Its text is not shown: it repeats parts of the URL.
        raise OptionsError(
            f"libpq does not take {redact_url(url)!r}: a parameter is unknown, or a special character of the password is "
            f"not percent-encoded; the parameters of the store itself are {', '.join(_NAMES)}"
        ) from None
    return plain, options_from(own)


def options_from(given: Mapping[str, str]) -> PostgresOptions:
    """Return the options given as text, by name. Raises `OptionsError`."""
    values: dict[str, Any] = dict(given)
    connections, feed = given.get("connections", ""), given.get("feed", "")
    if connections.isascii() and connections.isdigit():
        values["connections"] = int(connections)
    if feed in ("true", "false"):
        values["feed"] = feed == "true"
    return PostgresOptions(**values)
