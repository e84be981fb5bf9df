"""The contracts between the core and its plugins: backends, hashers, serializers.

A backend moves bytes and nothing else. It never retries, caches, logs values or swallows errors: the reaction to a
failing store is decided in one place, above it. Optional abilities are separate protocols, found with `isinstance`
once, when a cache is built.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable


@runtime_checkable
class CacheBackend(Protocol):
    """Bytes under a key until a deadline; the contract of every store.

    Keys are printable ASCII, at most 250 bytes. Values are opaque. Any number of tasks may call at once, from any
    event loop, before and after a fork. A missing key is an answer, not an error. Every failure leaves as
    `BackendError`, chained to the driver's own.

    Each of the four calls is `async def`, or a function that returns a future, best an `InlineFuture` of this package:
    then the call has begun, and costs no task. Cancelling the future abandons the answer and harms no other caller.
    """

    def get_many(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """Return the live values in the order of `keys`, in one round trip where the store can."""

    def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> Awaitable[None]:
        """Replace each key, value and deadline atomically per key; it lives `ttl` seconds (> 0), or for ever if None.

        A store may round `ttl` up by at most a second.
        """

    def delete_many(self, keys: Sequence[str]) -> Awaitable[int]:
        """Delete the keys and return how many of them existed."""

    def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> Awaitable[bool]:
        """Make the value `new` if it is `old` now, atomically; return whether it was.

        `old` None means the key is absent; `new` None deletes it. `ttl` is that of the new value.
        """

    async def aclose(self) -> None:
        """Release the connections and files of this process. Idempotent; later calls raise `BackendError`."""


@runtime_checkable
class SupportsScan(Protocol):
    """A store that can list its keys without blocking its other users."""

    def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`, in pages.

        A key that is there during the whole scan is yielded at least once. `prefix` is taken literally.
        """


@runtime_checkable
class SupportsLocal(Protocol):
    """A store in the memory of this process: its values can be looked at within a hit, and are always current.

    Copies in memory of such a store hold no payload of their own, and are served for as long as the store has them.
    """

    local: Literal[True]
    version: int
    """Grows with every change: values looked at since are still there. Raised after the change it counts."""

    def look(self, key: str) -> tuple[bytes, int] | None:
        """Return the live value of `key` and the number of the write that put it there; None if there is none.

        No two writes have one number. Never waits, takes no lock, may be called from any thread.
        """


@runtime_checkable
class SupportsSizes(Protocol):
    """A store that can tell how long values are without sending them."""

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        """Return the length in bytes of each key's live value, in the order of `keys`; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class Changed:
    """These keys may have changed: written, deleted or expired."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flushed:
    """Every key may have changed."""


@dataclass(frozen=True, slots=True)
class Alive:
    """All changes made before `sent_at` (seconds of `cachecore.contract.monotonic`) have been delivered."""

    sent_at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Changes may have been missed; the feed goes on by itself and says `Alive` when it can be trusted again."""


FeedEvent = Changed | Flushed | Alive | Lost
"""An event of a feed."""


@runtime_checkable
class SupportsFeed(Protocol):
    """A store that reports changed keys, so that copies in memory stay right."""

    def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield the changes of keys that start with `prefix`, for ever.

        Starts with `Lost` or, once changes are being delivered, `Alive`; then `Alive` about every heartbeat. Never
        raises while the store is away: it yields `Lost` and connects again by itself. This process's own writes through
        the same backend may be left out.
        """


@runtime_checkable
class SupportsTime(Protocol):
    """A store with a clock that all its clients share."""

    async def time(self) -> float:
        """Return the store's clock, Unix seconds."""


@runtime_checkable
class SupportsTouch(Protocol):
    """A store that evicts by use, and can be told that keys were used without being read."""

    async def touch(self, keys: Sequence[str]) -> None:
        """Count a use of each key that is there, as a read would; values and deadlines stay. Missing keys are fine."""


@runtime_checkable
class SupportsExtend(Protocol):
    """A store that can let values live longer, and never lets them live shorter."""

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds from now at least, for ever if None.

        A later end that a key has already stays. Return for each key, in the order of `items`,
        whether it has that value.
        """


@runtime_checkable
class SupportsMarks(Protocol):
    """A store with counters that only rise, by which its users notice that it has gone back in time."""

    def advance(self, key: str) -> Awaitable[int]:
        """Add one to the counter under `key`, which never expires, and return the new number; 1 where there is none.

        The value is the number in ASCII digits, as `get_many` and `swap` see it. Bytes that are no such number count as
        none. A call that begins right after a write of few bytes, in the same turn of the loop, reaches the store right
        behind that write, in the same round trip where the store can.
        """


@runtime_checkable
class SupportsPartitions(Protocol):
    """A store of several nodes that fail one by one."""

    def partition(self, key: str) -> str:
        """Return the name of the node that holds `key`, as far as is known now; never waits."""


@runtime_checkable
class SupportsReadNow(Protocol):
    """A store on this machine that answers most reads sooner than another thread could begin with them."""

    def read_now(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """Return the live values as `get_many` does, or None: then `get_many` is asked.

        Any thread may call, without an event loop. It never raises and waits for no other process.
        """


@dataclass(frozen=True, slots=True)
class Link:
    """An open connection: to which address, and since when (seconds of its event loop's clock)."""

    address: str
    since: float


@runtime_checkable
class SupportsLinks(Protocol):
    """A store that must be connected to, or whose file must be opened, before it answers."""

    def link(self, key: str) -> Link | None:
        """Return the connection over which the running loop asks for `key`; None while it is being opened.

        Where none is open, and where the last attempt failed, it is a link since minus infinity: then no call waits
        for a connection. Quick: looks at nothing but this process's own state.
        """

    def limit_waits(self, *, connect: float, silence: float) -> None:
        """Give up an attempt to connect after `connect` seconds, and a connection that is silent after `silence`.

        The backend's own settings take precedence.
        """


@runtime_checkable
class SupportsPresence(Protocol):
    """A store that is made by its first use, such as a file, and can be looked for without making it."""

    def absence(self) -> str | None:
        """Return why there is nothing of ours to look at, in words for people; None if there is. Makes nothing."""


@runtime_checkable
class SupportsAbout(Protocol):
    """A store that can describe itself, for `cachecore doctor`."""

    async def about(self, prefix: str) -> Mapping[str, Mapping[str, str]]:
        """Return, by server, its kind and its abilities for keys under `prefix`, in words. Writes nothing."""


@runtime_checkable
class StatesLimits(Protocol):
    """A store that cannot keep the whole contract, and says what a cache on it has to do without."""

    limits: Sequence[str]
    """A sentence for people for each; shown by `Cache.health()` and `cachecore doctor`."""


@runtime_checkable
class KeyHasher(Protocol):
    """Names a canonical request by a digest of at least 128 bits."""

    @property
    def name(self) -> str:
        """Return the name, as in configuration."""

    def hexdigest(self, data: bytes) -> str:
        """Return the digest in lower-case hexadecimal, at least 32 digits."""


class EntryContext(Protocol):
    """The parts of an entry that its serializer may know."""

    @property
    def key(self) -> str:
        """Return the key of the entry."""

    @property
    def header(self) -> bytes:
        """Return the bytes of the entry's header: encrypted payloads are bound to it and to the key."""


@runtime_checkable
class Serializer(Protocol):
    """Turns values into bytes and back.

    `name` is stored in each entry; an entry written by a serializer of another name is a miss. Must be safe to call
    from several threads, and never run code that the bytes name.
    """

    @property
    def name(self) -> str:
        """Return the name that entries carry of their serializer, such as `msgpack` or `zstd+msgpack`."""

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        """Return the bytes of `value`. Raises `EncodingError`."""

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a value that shares nothing mutable with earlier ones. Raises `EncodingError`.

        Bounded: refuses values that would take much more memory than their size before taking it.
        """


@runtime_checkable
class WrapsSerializer(Protocol):
    """Optional: a serializer that compresses or encrypts the bytes of `inner`, so that a view may have another one."""

    inner: Serializer

    def around(self, inner: Serializer) -> Serializer:
        """Return the same wrapper around another serializer."""
