"""A store as commands see it: its address, the names of its keys, and reads in small steps under a deadline.

A command that only looks makes nothing: a store that is not there yet (a file, say) is not opened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import unquote

import typer

from cachecore import Cache
from cachecore.contract import plugins
from cachecore.contract.errors import BackendError, BackendTimeout, OptionsError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import (
    CacheBackend,
    SupportsPartitions,
    SupportsPresence,
    SupportsScan,
    SupportsSizes,
    SupportsTime,
)
from cachecore.contract.redaction import redact_url
from cachecore.encoding.entry import Entry, Rejected, decode
from cachecore.engine.engine import SHARDS
from cachecore.keys import KeySpace
from cachecore.keys.hashers import sha256

Url = Annotated[
    str | None,
    typer.Argument(help="The store, such as redis://localhost:6379/0; as configured if not given.", metavar="[URL]"),
]
Prefix = Annotated[str | None, typer.Option(help="What the cache's keys begin with; as configured, else cc.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
Namespace = Annotated[str, typer.Option(help="Only this namespace and those below it, such as faq/v3.")]

PATIENCE: Final = 5.0
"""Seconds that one step may take."""
STATES: Final = ("fresh", "stale", "dead", "invalid", "deleted", "computing", "unreadable")
"""What can be said of the bytes under a key."""
_STEP_KEYS: Final = 64
_STEP_BYTES: Final = 8 * MIB
_MOST_STAMPS: Final = 100_000
_MOST_PAGES: Final = 20
T = TypeVar("T")


class Store:
    """One open store under one prefix. Belongs to the loop that it was opened in."""

    def __init__(self, backend: CacheBackend, prefix: str) -> None:
        """Look at `backend`. Raises OptionsError if `prefix` is none."""
        self.backend = backend
        self.prefix = prefix
        self.shards = SHARDS if isinstance(backend, SupportsPartitions) else 0
        self.keys = self.keys_of(self.shards)
        (self.entry_prefix,) = self.keys.scan_prefixes()
        self.start = self.entry_prefix.removesuffix("e:")
        """What all keys of the cache begin with, as it stands in the store."""
        self._stamps: dict[str, bytes | None] = {}
        self._ahead: float | None = None

    def keys_of(self, shards: int) -> KeySpace:
        """Return the names of keys under the same prefix in a store with so many hash tags."""
        return KeySpace(self.prefix, "", sha256(), shards=shards)

    async def other_prefixes(self, *, beside: bool = False) -> list[str]:
        """Return the prefixes of caches among the first keys of the store: the operator may have named a wrong one.

        Empty if there are answers under this prefix, too, unless those `beside` it are asked for.
        """
        found: set[str] = set()
        if isinstance(self.backend, SupportsScan):
            with suppress(BackendError):  # the work itself is done
                pages = 0
                async for page in _within_patience(self.backend.scan("")):
                    found.update(unquote(key.partition(":e:")[0]) for key in page if ":e:" in key)
                    pages += 1
                    if pages == _MOST_PAGES:
                        break
        return [] if self.prefix in found and not beside else sorted(found - {self.prefix})

    def invalidating(self) -> Cache[Any]:
        """Return a cache on this store, for deletions and invalidations alone."""
        return Cache(
            self.backend,
            ttl=None,
            prefix=self.prefix,
            namespace="",
            tags=(),
            hasher="sha256",
            serializer="msgpack",
            connect_timeout=PATIENCE,
            write_timeout=PATIENCE,
        )

    async def now(self) -> float:
        """Return the store's clock, Unix seconds; this host's where the store tells none. Raises BackendError."""
        if self._ahead is None:
            self._ahead = 0.0
            if isinstance(self.backend, SupportsTime):
                try:
                    self._ahead = await patient("time", self.backend.time()) - time.time()
                except BackendError as error:
                    if error.transient:
                        raise  # else this user may not ask, and its caches go by the host's clock too
        return time.time() + self._ahead

    async def values(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values under `keys`. Raises BackendError, also where the store takes too long."""
        return await patient("get_many", self.backend.get_many(keys))

    async def pages(self, namespace: str = "") -> AsyncIterator[list[str]]:
        """Yield the keys of all answers in `namespace` and below, each once, in small pages.

        Raises:
            OptionsError: the store cannot list its keys, or `namespace` is none.
            BackendError: it stopped answering.
        """
        if not isinstance(self.backend, SupportsScan):
            raise OptionsError("this store cannot list its keys, so it can be asked for single keys only")
        prefixes = self.keys.child(namespace).scan_prefixes() if namespace else (self.entry_prefix,)
        seen: set[int] = set()  # hashes: a store may list a key twice, and has millions of them
        for prefix in prefixes:
            async for found in _within_patience(self.backend.scan(prefix)):
                fresh = []
                for key in found:
                    if (mark := hash(key)) not in seen:
                        seen.add(mark)
                        fresh.append(key)
                if fresh:
                    yield fresh

    async def stored(self, namespace: str = "") -> AsyncIterator[list[Stored]]:
        """Yield what lies under the keys of `namespace` and below, in steps of a few MiB at most. Raises as `pages`."""
        async for page in self.pages(namespace):
            for keys in await self._steps(page):
                values = await self.values(keys)
                yield [Stored(key, data) for key, data in zip(keys, values, strict=True) if data is not None]

    async def _steps(self, keys: Sequence[str]) -> list[list[str]]:
        """Split `keys` so that the values of a part are few, and small where the store can tell their sizes."""
        if not isinstance(self.backend, SupportsSizes):
            return [list(keys[start : start + _STEP_KEYS]) for start in range(0, len(keys), _STEP_KEYS)]
        steps: list[list[str]] = []
        size = _STEP_BYTES + 1
        for key, length in zip(keys, await patient("sizes", self.backend.sizes(keys)), strict=True):
            if size + length > _STEP_BYTES or len(steps[-1]) == _STEP_KEYS:
                steps.append([])
                size = 0
            steps[-1].append(key)
            size += length
        return steps

    async def valid(self, found: Sequence[Stored]) -> list[bool]:
        """Return of each whether the stamps that it carries are the current ones."""
        wanted = {name for one in found for name, _ in self.stamps_of(one)} - self._stamps.keys()
        if wanted:
            if len(self._stamps) > _MOST_STAMPS:
                self._stamps.clear()
            names = sorted({name for one in found for name, _ in self.stamps_of(one)} - self._stamps.keys())
            for start in range(0, len(names), _STEP_KEYS):
                part = names[start : start + _STEP_KEYS]
                self._stamps.update(zip(part, await self.values(part), strict=True))
        return [all(self._stamps[name] == stamp for name, stamp in self.stamps_of(one)) for one in found]

    async def stamps_now(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the stamps that the store has now under `names`; those that are gone are left out."""
        wanted = sorted(names)
        stamps: dict[str, bytes] = {}
        for start in range(0, len(wanted), _STEP_KEYS):
            part = wanted[start : start + _STEP_KEYS]
            found = zip(part, await self.values(part), strict=True)
            stamps.update({name: stamp for name, stamp in found if stamp is not None})
        return stamps

    def namespace_of(self, key: str) -> str:
        """Return the namespace in a key."""
        return "/".join(unquote(segment) for segment in key.split(":")[-2].split("/"))

    def stamps_of(self, one: Stored) -> Iterator[tuple[str, bytes]]:
        """Yield the keys of the stamps of an entry, and the stamps that it carries."""
        if one.entry is not None:
            shard = self.keys.shard_of(one.key)
            for tag, stamp in one.entry.stamps:
                yield self.keys.stamp_key(tag, shard), stamp


class Stored:
    """What lies under the key of an answer."""

    __slots__ = ("data", "entry", "key", "rejected")

    def __init__(self, key: str, data: bytes) -> None:
        self.key = key
        self.data = data
        found = decode(data, key)
        self.entry: Entry | None = None if isinstance(found, Rejected) else found
        self.rejected = found.reason if isinstance(found, Rejected) else None

    @property
    def namespace(self) -> str:
        """The namespace as it stands in the key, percent-encoded."""
        return self.key.split(":")[-2]

    @property
    def digest(self) -> str:
        """The digits of the key, as `Cache-Status` shows them, less the hash tag of a cluster."""
        return self.key.rpartition(":")[2].rpartition("}")[2]

    def described(self, now: float, valid: bool) -> dict[str, Any]:
        """Return what can be said of it without its content; times are Unix seconds, None: for ever."""
        row: dict[str, Any] = {
            "key": self.key,
            "namespace": unquote(self.namespace),
            "state": self.state(now, valid),
            "bytes": len(self.data),
        }
        entry = self.entry
        if entry is None:
            return {**row, "reason": self.rejected}
        return {
            **row,
            "age": now - entry.created,
            "created": entry.created,
            "fresh_until": entry.fresh_until,
            "dead_until": entry.dead_until,
            "compute_time": entry.compute_time,
            "serializer": entry.serializer,
            "served_by": entry.served_by,
            "tags": [name.removeprefix("t/") for name, _ in entry.stamps if name.startswith("t/")],
            "metadata": entry.metadata,
        }

    def state(self, now: float, valid: bool) -> str:
        """Return one of `STATES`; `valid` says whether its stamps are current."""
        entry = self.entry
        if entry is None:
            return "unreadable"
        if entry.tombstone or entry.claim:
            return "deleted" if entry.tombstone else "computing"
        if not valid:
            return "invalid"
        if entry.dead_until is not None and entry.dead_until <= now:
            return "dead"
        return "fresh" if entry.fresh_until is None or now < entry.fresh_until else "stale"


async def patient(operation: str, work: Awaitable[T]) -> T:
    """Await `work` for `PATIENCE` seconds at most. Raises BackendTimeout."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await work
    except TimeoutError:
        raise BackendTimeout(operation) from None


async def _within_patience(pages: AsyncIterator[Sequence[str]]) -> AsyncIterator[Sequence[str]]:
    while True:
        try:
            yield await patient("scan", anext(pages))
        except StopAsyncIteration:
            return


def address(url: str | None) -> str:
    """Return the URL given, or the one configured. Raises OptionsError."""
    found = url if url is not None else Cache.configuration().get("backend")
    if not isinstance(found, str):
        raise OptionsError(
            "which store? Give a URL such as redis://localhost:6379/0 or sqlite:///answers.db, or set CACHECORE_BACKEND"
        )
    return found


def prefix_of(prefix: str | None) -> str:
    """Return the prefix given, or the one configured, or `cc`. Raises OptionsError."""
    return prefix if prefix is not None else str(Cache.configuration().get("prefix", "cc"))


@asynccontextmanager
async def opened(url: str | None, prefix: str | None, *, make: bool = False) -> AsyncIterator[Store]:
    """Open the store at `url`. Without `make`, one that is not there is not made.

    Raises:
        OptionsError: the URL is wrong, or there is nothing at it.
        PluginNotFound: no backend takes it.
    """
    place = address(url)
    backend = plugins.backend_from_url(place)
    try:
        absent = backend.absence() if isinstance(backend, SupportsPresence) else None
        if absent is not None and not make:
            raise OptionsError(f"{redact_url(place)}: {absent}")
        yield Store(backend, prefix_of(prefix))
    finally:
        await backend.aclose()
