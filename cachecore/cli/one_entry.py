"""One answer, found by its key or by the digits of it that `Cache-Status` shows; and its content, if it can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import ormsgpack

from cachecore import Cache
from cachecore.cli.store import Store, Stored
from cachecore.contract import plugins
from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.protocols import Serializer
from cachecore.encoding.entry import Entry

_DIGITS: Final = re.compile(r"[0-9a-f]{8,128}")
_TYPED: Final = re.compile(r"(zstd\+)?typed-(msgpack|json)-[0-9a-f]+")
_MOST_SHOWN: Final = 5


async def keys_of(store: Store, named: Sequence[str], namespace: str = "") -> dict[str, list[str]]:
    """Return the keys that each of `named` means: a whole key, or at least 8 first digits of one.

    Looks through all keys, once, if any of `named` is digits alone.

    Raises:
        OptionsError: one of them is neither.
        BackendError: the store stopped answering.
    """
    meant: dict[str, list[str]] = {}
    digits: list[str] = []
    for name in named:
        if name.startswith(store.entry_prefix):
            meant[name] = [name]
        elif _DIGITS.fullmatch(name):
            digits.append(name)
            meant[name] = []
        else:
            raise OptionsError(
                f"{name!r} is no key: give a whole key, which begins with {store.entry_prefix}, or its first 8 digits "
                "or more, as Cache-Status shows them"
            )
    if digits:
        wanted = tuple(digits)
        async for page in store.pages(namespace):
            for key in page:
                digest = key.rpartition(":")[2].rpartition("}")[2]
                if digest.startswith(wanted):
                    for name in digits:
                        if digest.startswith(name):
                            meant[name].append(key)
    return meant


async def one_of(store: Store, name: str, namespace: str = "") -> Stored | None:
    """Return what lies under the key that `name` means; None if nothing does. Raises as `keys_of`.

    Raises:
        OptionsError: the digits are those of several keys.
    """
    found = (await keys_of(store, [name], namespace))[name]
    if len(found) > 1:
        some = ", ".join(sorted(found)[:_MOST_SHOWN])
        raise OptionsError(f"{name!r} are the first digits of {len(found)} keys: {some}; give more of them")
    if not found:
        return None
    (data,) = await store.values(found)
    return None if data is None else Stored(found[0], data)


def content_of(entry: Entry) -> Any:
    """Return the content of an answer as plain data.

    Values of a type come as the plain data that was stored of them. What is encrypted is read with the serializer that
    environment and file configure.

    Raises:
        CacheError: it cannot be read; the message says why.
    """
    name = entry.serializer
    typed = _TYPED.fullmatch(name)
    if typed is not None:
        data = entry.payload
        if typed[1]:
            data = plugins.serializer("compressed+msgpack", inner=_Raw()).loads(data, entry)
        return ormsgpack.unpackb(data) if typed[2] == "msgpack" else json.loads(data)
    if name in ("msgpack", "json"):
        return plugins.serializer(name).loads(entry.payload, entry)
    if name in ("zstd+msgpack", "zstd+json"):
        return plugins.serializer(f"compressed+{name.removeprefix('zstd+')}").loads(entry.payload, entry)
    configured = Cache.configuration().get("serializer")
    made = plugins.serializer(configured) if isinstance(configured, str) else configured
    if isinstance(made, Serializer) and made.name == name:
        return made.loads(entry.payload, entry)
    raise CacheError(
        f"the content was written by the serializer {name!r}, which is not configured here: set it, with its keys, in "
        "cachecore.toml or CACHECORE_SERIALIZER"
    )


class _Raw:
    """A serializer of bytes, to take another one's wrapping off."""

    name = "raw"

    def dumps(self, value: Any, context: object) -> bytes:
        """Return `value`."""
        return bytes(value)

    def loads(self, data: bytes, context: object) -> Any:
        """Return `data`."""
        return data
