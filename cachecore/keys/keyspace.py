"""The text of keys: of entries, of the stamps of tags, of leases, and how a namespace becomes part of them.

    p:e:faq/v3:6b86b2…      an entry: prefix, `e`, namespace, digest
    p:e:faq/v3:{17}6b86b2…  the same where the store has partitions: the hash tag {17} keeps it with its stamps
    p:s:t%2Fdoc%3A42        the stamp of a tag
    p.l:e:faq/v3:6b86b2…    the lease of that entry; outside `p:`, the prefix that a feed watches

Prefix, namespace and tags are percent-encoded down to `A-Z a-z 0-9 _ -` (and the `/` between segments, and the `:` of a
prefix), so no glob or control character of theirs reaches a store, and no two of them make the same text. Where a
namespace leaves too little room, its further segments are replaced by digests; all of it is in the key's own digest.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote_from_bytes

import ormsgpack

from cachecore.contract.errors import OptionsError
from cachecore.contract.protocols import KeyHasher
from cachecore.contract.tokens import ROOT_TAG
from cachecore.keys.canonical import VERSION, Facts, digester, recalling

MAX_KEY_BYTES: Final = 250
"""The longest key that a backend is given."""
_LEASE_EXTRA: Final = len("p.l:") - len("p:")
_DIGEST: Final = re.compile(r"[0-9a-f]{32,}")
_LONG_TAG_BYTES: Final = len("~") + 64
_SHORT_DIGEST: Final = 12
"""Digits of a segment's digest. Two that are equal cost nothing but a scan: the key's own digest tells them apart."""
_RESERVED: Final = 5 * (len("~/") + _SHORT_DIGEST)
"""Bytes left for the segments below one that stands in keys as it is."""
_SHORT_BYTES: Final = 34
_SHORT_SEGMENTS: Final = 8
"""So many segments of at most `_SHORT_BYTES` stand as they are wherever they fit, with no room left behind them."""
_KINDS: Final = frozenset("es")


def _encoded(what: str, text: str) -> str:
    given: object = text
    if not isinstance(given, str):
        raise OptionsError(f"{what} must be text, not {type(given).__name__}")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise OptionsError(f"{what} has a lone surrogate and no UTF-8 form") from None
    # `quote` never escapes `.` and `~`, which here have meanings of their own.
    return quote_from_bytes(data, safe="").replace(".", "%2E").replace("~", "%7E")


def _segments(namespace: str) -> list[str]:
    """Return the segments of a namespace, encoded; none for the root."""
    if not _encoded("namespace", namespace):
        return []
    segments = namespace.split("/")
    for segment in segments:
        if not segment.strip("."):
            raise OptionsError(f"namespace must have no empty or dotted segments ('a//b', '..'), not {namespace!r}")
    return [_encoded("namespace", segment) for segment in segments]


def _fitting(segments: list[str], room: int) -> list[str]:
    """Return the segments as they stand in keys, with `room` bytes for all.

    Those that would leave no room for some more are replaced by digests. What stands for a segment depends on those
    before it alone, so that the text of a namespace begins with that of the namespaces above it.
    """
    fitting: list[str] = []
    used = 0
    for segment in segments:
        short = len(segment) <= _SHORT_BYTES and len(fitting) < _SHORT_SEGMENTS
        if used + len(segment) + (0 if short else _RESERVED) > room:
            segment = "~" + hashlib.sha256(segment.encode()).hexdigest()[:_SHORT_DIGEST]
        fitting.append(segment)
        used += len(segment) + 1
    return fitting


def _prefix(prefix: str) -> str:
    """Return the prefix as it stands in keys. Raises OptionsError."""
    words = _encoded("prefix", prefix).split("%3A")
    if not _KINDS.isdisjoint(words[1:]):
        raise OptionsError(
            f"prefix must have no part 'e' or 's' behind a ':', not {prefix!r}: what clears the prefix before it would "
            "clear this one too; name that part otherwise"
        )
    return ":".join(words)


def user_tag(tag: str) -> str:
    """Return the name under which a caller's `tag` is stored, apart from those of namespaces.

    Raises:
        OptionsError: it is empty or no text.
    """
    given: object = tag
    if not isinstance(given, str) or not given:
        raise OptionsError(f"a tag must be text and not empty, not {type(given).__name__ if given else repr(given)}")
    return f"t/{tag}"


def given_tag(stored: str) -> str | None:
    """Return the caller's tag that is stored as `stored`; None if it is that of a namespace."""
    return stored[2:] if stored.startswith("t/") else None


@lru_cache(maxsize=16_384)
def _stamp_key(start: str, tag: str) -> str:
    text = _encoded("a tag", tag)
    if len(start) + len(text) > MAX_KEY_BYTES:
        text = "~" + hashlib.sha256(tag.encode()).hexdigest()
    return start + text


class KeySpace:
    """The keys of one namespace under one prefix; the parts that do not depend on the request are made once.

    Args:
        prefix: the start of every key of this application; not empty.
        namespace: segments separated by `/`, or empty for the root. It is part of the digest as well.
        hasher: turns canonical bytes into a digest of at least 128 bits.
        shards: how many slots entries are spread over, each with stamps of its own; 0 where a store has no partitions.
        value_format: how values are stored, if not as plain data: it is part of the digest as well, so that readers of
            two formats have an entry each. Tags and namespaces are the same for all formats.

    Raises:
        OptionsError: one of them is wrong, or keys would be over 250 bytes.
    """

    __slots__ = (
        "_hasher",
        "_header",
        "_key_of_bytes",
        "_lease_start",
        "_prefix",
        "_segments",
        "_start",
        "_value_format",
        "key",
        "namespace",
        "prefix",
        "shards",
    )

    key: Callable[[Any], str]
    """Gives the key of a request, in about 0.6 µs and the time of the hash. Raises `UnkeyableError`."""

    def __init__(
        self, prefix: str, namespace: str, hasher: KeyHasher, *, shards: int = 0, value_format: str = ""
    ) -> None:
        self.prefix = prefix
        self._prefix = _prefix(prefix)
        if not prefix:
            raise OptionsError("prefix must not be empty: it tells this application's keys from others")
        slots: object = shards
        if isinstance(slots, bool) or not isinstance(slots, int) or not 0 <= slots <= 16_384:
            raise OptionsError(f"shards must be a whole number from 0 to 16384, not {shards!r}")
        self.namespace = namespace
        self.shards = shards
        digits = len(hasher.hexdigest(b""))
        slot = len(f"{{{shards - 1}}}") if shards else 0
        self._segments = _fitting(
            _segments(namespace), MAX_KEY_BYTES - len(f"{self._prefix}:e::") - slot - digits - _LEASE_EXTRA
        )
        self._hasher = hasher
        self._value_format = value_format
        # Self-delimiting values before the request's own bytes: no text of one can run into another.
        header = ormsgpack.packb(VERSION) + ormsgpack.packb(namespace)
        if value_format:
            header += ormsgpack.packb(value_format)
        self._start = f"{self._prefix}:e:{'/'.join(self._segments)}:"
        self._lease_start = f"{self._prefix}.l:"
        self._header = header
        self._key_of_bytes = self._sharded(header, hasher) if shards else self._plain(header, hasher)
        self.key = digester(self._key_of_bytes)
        self._check_lengths(hasher)

    def __repr__(self) -> str:
        return f"KeySpace({self.prefix!r}, {self.namespace!r}, {self._hasher.name}, shards={self.shards})"

    def _check_lengths(self, hasher: KeyHasher) -> None:
        digest = hasher.hexdigest(b"")
        if not _DIGEST.fullmatch(digest):
            raise OptionsError(f"the hasher {hasher.name} must give at least 32 digits of lower-case hexadecimal")
        slot = len(f"{{{self.shards - 1}}}") if self.shards else 0
        size = len(self._start) + slot + len(digest) + _LEASE_EXTRA
        if size > MAX_KEY_BYTES:
            raise OptionsError(
                f"namespace and prefix make keys of {size} bytes, though long segments take {_SHORT_DIGEST + 1} each; "
                f"{MAX_KEY_BYTES} are allowed: shorten the prefix, or give the namespace fewer segments"
            )
        if len(f"{self._prefix}:s:") + slot + _LONG_TAG_BYTES > MAX_KEY_BYTES:
            raise OptionsError(f"prefix takes {len(self._prefix)} bytes of each key, which leaves no room for tags")

    def _plain(self, header: bytes, hasher: KeyHasher) -> Callable[[bytes], str]:
        start, hexdigest = self._start, hasher.hexdigest
        return lambda data: start + hexdigest(header + data)

    def _sharded(self, header: bytes, hasher: KeyHasher) -> Callable[[bytes], str]:
        start, shards, hexdigest = self._start, self.shards, hasher.hexdigest

        def key(data: bytes) -> str:
            digest = hexdigest(header + data)
            return f"{start}{{{int(digest, 16) % shards}}}{digest}"

        return key

    def recalling(
        self, facts: Facts, remember: Callable[[Any, tuple[Any, ...]], None], wanted: Callable[[str], bool]
    ) -> Callable[[Any], str]:
        """Return the same function as `key`, which finds the keys that are `wanted` again by the request's bytes."""
        return recalling(self._header, self._key_of_bytes, facts, remember, wanted)

    def shard_of(self, key: str) -> int | None:
        """Return the slot of an entry's `key`; None where there are none."""
        if not self.shards:
            return None
        opened = key.rindex("{")
        return int(key[opened + 1 : key.index("}", opened)])

    def child(self, namespace: str) -> KeySpace:
        """Return the keys of `namespace` below this one: `child("v3")` of `faq` is that of `faq/v3`."""
        if not namespace:
            return self
        below = f"{self.namespace}/{namespace}" if self.namespace else namespace
        return KeySpace(self.prefix, below, self._hasher, shards=self.shards, value_format=self._value_format)

    def of_format(self, value_format: str) -> KeySpace:
        """Return the keys of the same namespace for values of another format."""
        if value_format == self._value_format:
            return self
        return KeySpace(self.prefix, self.namespace, self._hasher, shards=self.shards, value_format=value_format)

    def scan_prefixes(self) -> tuple[str, ...]:
        """Return the prefixes of the keys of all entries in this namespace and in those below it."""
        if not self._segments:
            return (f"{self._prefix}:e:",)
        return self._start, f"{self._start[:-1]}/"

    def namespace_tags(self) -> tuple[str, ...]:
        """Return the tags every entry of this namespace carries, the root's first."""
        tags = [ROOT_TAG]
        for segment in self.namespace.split("/") if self.namespace else ():
            tags.append(f"{tags[-1]}/{segment}")
        return tuple(tags)

    def stamp_key(self, tag: str, shard: int | None = None) -> str:
        """Return the key of the stamp of `tag` (a namespace's, or made by `user_tag`) in the slot `shard`.

        A tag too long for a key is replaced by its digest.

        Raises:
            OptionsError: there are slots and none is given, or the other way round.
        """
        if not self.shards:
            if shard is not None:
                raise OptionsError(f"shard must be None where keys have no slots, not {shard!r}")
            return _stamp_key(f"{self._prefix}:s:", tag)
        if shard is None or not 0 <= shard < self.shards:
            raise OptionsError(f"shard must be from 0 to {self.shards - 1}, not {shard!r}")
        return _stamp_key(f"{self._prefix}:s:{{{shard}}}", tag)

    def lease_key(self, key: str) -> str:
        """Return the key of the lease of the entry under `key`."""
        return self._lease_start + key[len(self._prefix) + 1 :]


def make_key(prefix: str, namespace: str, request: Any, hasher: KeyHasher) -> str:
    """Return the key of one request: `prefix:e:namespace:digest`. To make many keys, keep a `KeySpace`.

    Raises:
        OptionsError: prefix or namespace are wrong.
        UnkeyableError: the request has no canonical form.
    """
    return KeySpace(prefix, namespace, hasher).key(request)
