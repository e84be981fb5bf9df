"""The options of a Postgres store, checked once, and the URL that holds them beside libpq's own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from cachecore.contract import OptionsError, positive, redact_url

_NAME_BYTES: Final = 63  # Postgres cuts longer names, and two tables would become one
_CHOICES: Final[dict[str, tuple[object, ...]]] = {"durability": ("unlogged", "logged"), "feed": (True, False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Options of a Postgres store. Durations are seconds."""

    table: str = "cachecore"
    """The table, taken literally and quoted. It is made by the first write."""
    schema: str = ""
    """The schema of the table, which must exist; empty: the first of the user's `search_path`."""
    durability: str = "unlogged"
    """`unlogged`: writes skip the log; a crash of the server or a failover empties the table. `logged`: survives both,
    and each write waits for the disk. Counts when the table is made."""
    connections: int = 4
    """The most connections of an event loop, from 1 to 100; each feed has one more."""
    heartbeat: float = 0.25
    """Seconds between two heartbeats of the feed."""
    feed: bool = True
    """Whether writes notify other processes, and whether this process listens. Must be the same in all processes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "heartbeat", positive("heartbeat", self.heartbeat))
        for name, least in (("table", 1), ("schema", 0)):
            text = getattr(self, name)
            if not isinstance(text, str) or "\0" in text or not least <= len(text.encode()) <= _NAME_BYTES:
                raise OptionsError(f"{name} must be a name of {least} to {_NAME_BYTES} bytes, not {text!r}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise OptionsError(f"{name} must be one of {', '.join(map(str, allowed))}, not {getattr(self, name)!r}")
        if type(self.connections) is not int or not 1 <= self.connections <= 100:
            raise OptionsError(f"connections must be a whole number from 1 to 100, not {self.connections!r}")


_NAMES: Final = tuple(field.name for field in fields(PostgresOptions))
_WORDS: Final = {"true": True, "false": False}


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
    given = parse_qsl(parts.query, keep_blank_values=True)
    own = [(name, text) for name, text in given if name in _NAMES]
    plain = urlunsplit(parts._replace(query=urlencode([pair for pair in given if pair not in own], quote_via=quote)))
    try:
        conninfo_to_dict(plain)
    except Error:
        # Its text is not shown: it repeats parts of the URL.
        raise OptionsError(
            f"libpq does not take {redact_url(url)!r}: a parameter is unknown, or a special character of the password "
            f"is not percent-encoded; the parameters of the store itself are {', '.join(_NAMES)}"
        ) from None
    values: dict[str, Any] = {}
    for name, text in own:
        if name in values:
            raise OptionsError(f"the option {name} is given twice")
        values[name] = int(text) if name == "connections" and text.isdecimal() else text
        if name == "feed":
            values[name] = _WORDS.get(text, text)
    return plain, PostgresOptions(**values)
