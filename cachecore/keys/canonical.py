"""The canonical encoding `k2`: one byte string per request, and two requests share it only if they mean the same.

MessagePack with sorted map keys, written at C speed. A value that is not plain data is folded into plain data or has a
tagged form (`forms`). `walker` is the same encoding written out slowly. It encodes every request that the fast way
refuses, so the fast way needs to be right only when it succeeds:

- the nesting is bounded by ormsgpack's own limit, which is no deeper than the walker's;
- all NaNs are one, though ormsgpack keeps their bits.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any, Final, Protocol

import ormsgpack
from ormsgpack import MsgpackEncodeError, packb
from xxhash import xxh3_64_intdigest

from cachecore.keys.decoded import Members
from cachecore.keys.forms import SETS, form_of
from cachecore.keys.tags import SET_HEAD, Refused, Shape
from cachecore.keys.walker import MAX_DEPTH, walk

VERSION: Final = "k2"
"""Hashed together with every request. The bytes of a version never change; a change is a new version."""

_OPTIONS: Final = (
    ormsgpack.OPT_SORT_KEYS
    | ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
_SCALARS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_PLAIN: Final = _SCALARS | {list, tuple, dict}
_sortable: Final = (_SCALARS - {float}).issuperset  # two NaNs are two members of a set, and must become one

_WORTH_A_FACT: Final = 512
"""Bytes from which on a key is remembered: fewer are hashed as quickly as found."""
_FACT_BYTES: Final = 330
"""Bytes of a remembered key beside the request's own: measured."""
_SEED: Final = secrets.randbits(64)
"""Secret, or users could choose requests that push each other out of the memo."""

# Any NaN but the one that Python itself makes; no byte of it can be left out of the pattern's alternatives.
_ODD_NAN: Final = re.compile(
    rb"\xcb(?:\x7f(?!\xf8\0{6}|\xf0\0{6})[\xf0-\xff]|\xff(?!\xf0\0{6})[\xf0-\xff])",
    re.DOTALL,
)


def _unfold(value: Any) -> Any:
    """Return a value that ormsgpack can write in the place of `value`. Raises Refused: the walker then writes it."""
    kind = type(value)
    if kind in SETS:
        if kind is Members or not _sortable(map(type, value)):
            raise Refused
        return [SET_HEAD, *sorted(value, key=packb)]
    form = form_of(kind)
    made = form.make(value)
    if form.shape is Shape.FOLDED and type(made) not in _PLAIN:
        raise Refused
    return made


def _native_depth() -> int:
    """Return how deep lists may nest before ormsgpack itself refuses; 0 if it would take thousands."""
    value: list[Any] = []
    for depth in range(1, 4096):
        try:
            packb(value)
        except MsgpackEncodeError:
            return depth - 1
        value = [value]
    return 0


_PACKS: Final = 0 < _native_depth() <= MAX_DEPTH
"""Whether ormsgpack may write what holds more: a version of it that went deeper would key what the walker refuses."""


def _part(value: Any, depth: int) -> bytes | None:
    """Return the bytes of a part of a request, `depth` containers deep; None if it takes the walker to write them."""
    if not _PACKS:
        return None
    outer = value
    for _ in range(depth):
        outer = [outer]
    try:
        data = packb(outer, _unfold, _OPTIONS)[depth:]
    except MsgpackEncodeError:
        return None
    return None if _ODD_NAN.search(data) else data


def encode(value: Any) -> bytes:
    """Return the canonical `k2` bytes of `value`.

    Costs about 0.4 µs for a flat dict of 3 KB and 4 µs for a chat request of 9 KB with 8 tools.

    Raises:
        UnkeyableError: something in it has no canonical form; names the path and the type, never the value.
    """
    if not _PACKS:
        return walk(value)
    try:
        data = packb(value, _unfold, _OPTIONS)
    except MsgpackEncodeError:
        return walk(value, _part)
    # Finding one byte is much cheaper than a pattern, and text holds neither of them.
    if (255 in data or 127 in data) and _ODD_NAN.search(data):
        return walk(value, _part)
    return data


def digester(key_of_bytes: Callable[[bytes], str]) -> Callable[[Any], str]:
    """Return a function of a request that returns `key_of_bytes(encode(request))`, with `encode` in place."""

    def key(request: Any) -> str:
        try:
            data = packb(request, _unfold, _OPTIONS)
        except MsgpackEncodeError:
            data = walk(request, _part)
        else:
            if (255 in data or 127 in data) and _ODD_NAN.search(data):
                data = walk(request, _part)
        return key_of_bytes(data)

    return key if _PACKS else lambda request: key_of_bytes(walk(request))


class Facts(Protocol):
    """A memo: facts under keys, each a tuple that begins with its bytes."""

    @property
    def young(self) -> dict[Any, tuple[Any, ...]]:
        """The facts that came or were found lately."""

    def find_old(self, key: Any) -> tuple[Any, ...] | None:
        """Return another fact."""


def recalling(
    header: bytes,
    key_of_bytes: Callable[[bytes], str],
    facts: Facts,
    remember: Callable[[Any, tuple[Any, ...]], None],
    wanted: Callable[[str], bool],
) -> Callable[[Any], str]:
    """Return the same function as `digester`, with a memo of canonical bytes and their keys.

    A fact is found by a seeded XXH3 and holds only if `header` and all the bytes are equal, so two requests are taken
    for one no more often than without it. `wanted` tells which keys are worth a fact. Short requests are hashed.
    """
    if not _PACKS:
        return digester(key_of_bytes)
    # Of its own for each header: else one request in two namespaces would take turns.
    seed = _SEED ^ xxh3_64_intdigest(header)

    def key(request: Any) -> str:
        try:
            data = packb(request, _unfold, _OPTIONS)
        except MsgpackEncodeError:
            return key_of_bytes(walk(request, _part))
        if len(data) < _WORTH_A_FACT:
            if (255 in data or 127 in data) and _ODD_NAN.search(data):
                data = walk(request, _part)
            return key_of_bytes(data)
        place = xxh3_64_intdigest(data, seed)
        fact = facts.young.get(place) or facts.find_old(place)
        if fact is not None and fact[2] == data and fact[1] == header:
            known: str = fact[3]
            return known
        if (255 in data or 127 in data) and _ODD_NAN.search(data):
            return key_of_bytes(walk(request, _part))
        made = key_of_bytes(data)
        if wanted(made):
            # Copied, because the buffer that ormsgpack wrote is larger than the bytes in it.
            remember(place, (len(data) + _FACT_BYTES, header, memoryview(data).tobytes(), made))
        return made

    return key
