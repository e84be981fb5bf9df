"""The options of a SQLite store, checked once, and their form as a URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal, get_args
from urllib.parse import parse_qsl, unquote, urlsplit

from cachecore.contract import OptionsError
from cachecore.contract.options import MIB, positive, size

MEMORY: Final = ":memory:"
Durability = Literal["process", "file", "power"]

_PREFIX: Final = "sqlite:///"


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteOptions:
    """Options of a SQLite store. Durations are seconds."""

    timeout: float = 0.04
    """Seconds that a call waits for a lock of another process, once a thread has begun with it. Less than the core's
    own timeout of 50 ms; an explicit write is tried again by the core until its `write_timeout` is over."""
    max_bytes: int = 1024 * MIB
    """Bytes of entries and reserve in the file; file, WAL and reserve together stay within 1.3 of it. At least 1 MiB. A
    value over a tenth of it is not stored."""
    durability: Durability = "file"
    """Guarantee after a crash. A killed process never loses an acknowledged write. A power cut may cost the whole file
    (`process`), or the writes of the last seconds (`file`), or no acknowledged write (`power`: each commit waits for
    the disk)."""
    readers: int = 2
    """Number of reading threads, each with its own connection."""
    feed_interval: float = 0.01
    """Seconds between two polls of the feed for changes of other processes."""
    heartbeat: float = 0.25
    """Seconds between two heartbeats of the feed."""

    @property
    def transaction_bytes(self) -> int:
        """About how many bytes one transaction may write, so that file and WAL stay within their bound."""
        return min(4 * MIB, self.max_bytes // 16)

    def __post_init__(self) -> None:
        for name in ("timeout", "feed_interval", "heartbeat"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        room = size("max_bytes", self.max_bytes)
        if room < MIB:
            raise OptionsError(
                f"max_bytes must be a whole number of at least {MIB} bytes, or text such as '64MiB', "
                f"not {self.max_bytes!r}"
            )
        object.__setattr__(self, "max_bytes", room)
        readers: object = self.readers
        if isinstance(readers, bool) or not isinstance(readers, int) or readers < 1:
            raise OptionsError(f"readers must be a whole number of at least 1, not {readers!r}")
        if self.durability not in get_args(Durability):
            raise OptionsError(f"durability must be one of {', '.join(get_args(Durability))}, not {self.durability!r}")


_NAMES: Final = tuple(field.name for field in fields(SQLiteOptions))


def parse_url(url: str) -> tuple[str, SQLiteOptions]:
    """Return the path and the options of `url`; the path is `:memory:` or absolute.

    `sqlite:///cache.db` is relative to the current working directory, `sqlite:////var/cache.db` absolute, as in
    SQLAlchemy. Options are query parameters: `?max_bytes=256MiB&durability=power&timeout=40ms`.

    Raises:
        OptionsError: the URL has another form, or an option is unknown, given twice or wrong.
    """
    if not url.startswith(_PREFIX):
        raise OptionsError(f"a SQLite URL looks like sqlite:///cache.db or sqlite:////var/cache.db, not {url!r}")
    parts = urlsplit(url)
    if parts.fragment:
        raise OptionsError(f"a SQLite URL has no fragment; write # as %23: {url!r}")
    path = unquote(parts.path[1:])
    if not path or "\0" in path or path.endswith("/"):
        raise OptionsError(f"a SQLite URL names a file, or :memory:, after sqlite:///; this does not: {url!r}")
    given: dict[str, str] = {}
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name in given:
            raise OptionsError(f"the option {name} is given twice")
        given[name] = text
    return absolute(path), options_from(given)


def absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute `path` without links, which names the same file after a change of the working directory."""
    text = os.fspath(path)
    # SQLite names its other files after the file itself, not after a link to it.
    return MEMORY if text == MEMORY else os.path.realpath(os.path.expanduser(text))


def options_from(given: Mapping[str, str]) -> SQLiteOptions:
    """Return the options given as text, by name. Raises `OptionsError`."""
    values: dict[str, object] = {}
    for name, text in given.items():
        if name not in _NAMES:
            raise OptionsError(f"{name!r} is no option of a SQLite store; there are {', '.join(_NAMES)}")
        values[name] = int(text) if name == "readers" and text.isascii() and text.isdigit() else text
    return SQLiteOptions(**values)  # type: ignore[arg-type]  # checked by the class itself
