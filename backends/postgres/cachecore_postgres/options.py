"""The options of a Postgres store, checked once, and the URL that holds them beside libpq's own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import parse_qsl, quote, urlencode

from psycopg import Error
from psycopg.conninfo import conninfo_to_dict

from cachecore.contract import OptionsError, positive, redact_url


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Options of a Postgres store, as Python values or as the text of a URL. Durations are seconds."""

    table: str = "cachecore"
    """The table, taken literally and quoted. It is made by the first write that does not find it."""
    schema: str = ""
    """The schema of the table, which must exist; empty: the first of the user's `search_path`."""
    durability: str = "unlogged"
    """`unlogged`: writes skip the log; a crash of the server or a failover empties the table. `logged`: survives both,
    and each write waits for the disk. Counts when the table is made."""
    connections: int = 4
    """The most connections of an event loop, from 1 to 100; each feed has one more."""
    heartbeat: float = 0.25
    """Seconds between two heartbeats of the feed."""

    def __post_init__(self) -> None:
        rules = (
            ("table", 0 < len(str(self.table).encode()) < 64, "a name of 1 to 63 bytes"),  # Postgres cuts longer names
            ("durability", self.durability in ("unlogged", "logged"), "unlogged or logged"),
            ("connections", str(self.connections) in map(str, range(1, 101)), "a whole number from 1 to 100"),
        )
        for name, right, allowed in rules:
            if not right:
                raise OptionsError(f"{name} must be {allowed}, not {getattr(self, name)!r}")
        object.__setattr__(self, "connections", int(self.connections))
        object.__setattr__(self, "heartbeat", positive("heartbeat", self.heartbeat))


def parse_url(url: str) -> tuple[str, PostgresOptions]:
    """Return the URL for libpq and the options of the store, which are query parameters beside libpq's own.

    Raises:
        OptionsError: the URL has another form, libpq does not take it, or an option is unknown or wrong.
    """
    # Not by `urlsplit`: a URL put together again has lost the `//` before an empty host.
    names, (place, _, query) = [field.name for field in fields(PostgresOptions)], url.partition("?")
    given = parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    plain = f"{place}?{urlencode([pair for pair in given if pair[0] not in names], quote_via=quote)}".removesuffix("?")
    try:
        conninfo_to_dict(plain)
    except Error:
        # Its text is not shown: it repeats parts of the URL.
        raise OptionsError(
            f"libpq does not take {redact_url(url)!r}: it looks like postgres://user:password@host/database, with "
            f"special characters percent-encoded, and libpq's parameters beside the store's own, {', '.join(names)}"
        ) from None
    return plain, PostgresOptions(**{name: text for name, text in given if name in names})  # type: ignore[arg-type]
