"""One answer, found by its key or by the digits of it that `Cache-Status` shows; and its content, if it can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import msgpack

from cachecore import Cache
from cachecore.cli.store import Store, Stored
from cachecore.contract import plugins
from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.protocols import Serializer, WrapsSerializer
from cachecore.encoding.entry import Entry

_DIGITS: Final = re.compile(r"[0-9a-f]{8,128}")
_TYPED: Final = re.compile(r"typed-(msgpack|json|mixed)-[0-9a-f]+")
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
    try:
        return _content(entry.serializer, entry.payload, entry)
    except CacheError:
        raise
    except Exception as error:  # noqa: BLE001 - a serializer may raise any error about damaged bytes
        raise CacheError(f"the content cannot be read: {type(error).__name__}") from None


def _content(name: str, data: bytes, entry: Entry) -> Any:
    """Return what the serializer `name` wrote as `data`. Raises any error."""
    if name in ("msgpack", "json"):
        return plugins.serializer(name).loads(data, entry)
    configured = Cache.configuration().get("serializer")
    made = plugins.serializer(configured) if isinstance(configured, str) else configured
    if isinstance(made, Serializer) and made.name == name:
        return made.loads(data, entry)
    outermost, joined, rest = name.partition("+")
    wrapper = plugins.serializer("compressed+msgpack") if outermost == "zstd" else made
    if joined and isinstance(wrapper, WrapsSerializer) and wrapper.around(_Raw(rest)).name == name:
        return _content(rest, wrapper.around(_Raw(rest)).loads(data, entry), entry)
    if "|" in name:  # as `FallbackSerializer` writes: a byte says which
        return _content(name.split("|")[data[0]], data[1:], entry)
    typed = _TYPED.fullmatch(name)
    if typed is None:
        raise CacheError(
            f"the content was written by the serializer {name!r}, which is not configured here: set it, with its keys, "
            "in cachecore.toml or CACHECORE_SERIALIZER"
        )
    if typed[1] == "mixed":  # a byte says which
        return _content(name.replace("mixed", ("json", "msgpack")[data[0]]), data[1:], entry)
    if typed[1] == "json":
        return json.loads(data)
    return msgpack.unpackb(data, raw=False, strict_map_key=False, timestamp=3)  # 3: times as such


class _Raw:
    """A serializer of bytes under the name of another one, to take a wrapping off."""

    def __init__(self, name: str) -> None:
        self.name = name

    def dumps(self, value: Any, context: object) -> bytes:
        """Return `value`."""
        return bytes(value)

    def loads(self, data: bytes, context: object) -> Any:
        """Return `data`."""
        return data
