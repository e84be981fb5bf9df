"""The canonical encoding written out node by node: `encode` must agree with it, and errors get their path here.

About a hundred times slower than ormsgpack. It runs when ormsgpack refused a request, to say where and why, and for the
few values that ormsgpack cannot write by itself (dicts with keys other than text, text with lone surrogates, sets of
tuples, keys that are subclasses of str, odd NaNs). The parts of such a request without one of these are still packed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final

from ormsgpack import Ext, MsgpackEncodeError, packb, unpackb

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import tags
from cachecore.keys.decoded import Pairs
from cachecore.keys.forms import SETS, form_of
from cachecore.keys.tags import Refused, Shape, name_of

Pack = Callable[[Any, int], bytes | None]
"""Returns the bytes of a value that is so many containers deep, or None if it cannot write them."""

Step = Generator["Step", Any, bytes]
"""Yields steps for the values inside of a value, is sent the bytes of each, and returns those of the value."""

MAX_DEPTH: Final = 255
"""How deep lists, dicts, sets and records may nest: as deep as ormsgpack writes them by itself."""

_NAN: Final = b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_ATOMS: Final = frozenset({type(None), bool, float, bytes, bytearray})
_LEAST, _MOST = -(1 << 63), 1 << 64
_TEXT_HEADS: Final = frozenset({*range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB})
"""The first bytes of text in MessagePack."""


def _head(few: int, many: int, length: int) -> bytes:
    """Return the head of an array or map of `length`: `few` is its form up to 15, `many` the form of 16 bits."""
    if length < 16:
        return bytes((few | length,))
    if length < 1 << 16:
        return bytes((many,)) + length.to_bytes(2, "big")
    return bytes((many + 1,)) + length.to_bytes(4, "big")


def _array(parts: list[bytes]) -> bytes:
    return _head(0x90, 0xDC, len(parts)) + b"".join(parts)


def field_path(path: str, name: str | None, position: int) -> str:
    """Return the path of a field; `position` is its place among its siblings in their order."""
    # Other text than a name may be a user's, and errors are logged.
    shown = name if name is not None and _NAME.fullmatch(name) else f"<key {position}>"
    return f"{path}.{shown}" if path else shown


def _text(value: str) -> bytes:
    try:
        return packb(value)
    except MsgpackEncodeError:
        return packb(Ext(tags.TEXT, tags.text_bytes(value)))


def _scalar(value: Any) -> bytes | None:
    """Return the bytes of text, a number or another plain value without members; None for any other value."""
    kind = type(value)
    if kind is str:
        return _text(value)
    if kind in _ATOMS:
        return _NAN if kind is float and value != value else packb(value)
    return packb(value) if kind is int and _LEAST <= value < _MOST else None


def walk(value: Any, pack: Pack | None = None) -> bytes:
    """Return the canonical bytes of `value`.

    `pack` writes the containers inside of it that ormsgpack can write: then only the others are walked.

    Raises:
        UnkeyableError: something in it has no canonical form; names its path.
    """
    return _run(_Walker(pack).encode(value, "", 0))


def _run(step: Step) -> bytes:
    """Run a step and those that it asks for, on a stack of their own: Python's is not deep enough for `MAX_DEPTH`."""
    steps, data = [step], None
    while True:
        try:
            asked = steps[-1].send(data)
        except StopIteration as ended:
            steps.pop()
            data = ended.value
            if not steps:
                result: bytes = data
                return result
        else:
            steps.append(asked)
            data = None


class _Walker:
    """One walk: remembers the containers it is inside of, so that a cycle is named as one."""

    def __init__(self, pack: Pack | None) -> None:
        self._pack = pack
        self._inside: set[int] = set()

    def encode(self, value: Any, path: str, depth: int, folds: int = 0) -> Step:
        """Return the bytes of `value`, `depth` containers deep, reached by `folds` foldings of one value."""
        data = _scalar(value)
        if data is not None:
            return data
        kind = type(value)
        try:
            if kind in (list, tuple, dict, Pairs) or kind in SETS:
                return (yield from self._container(value, path, depth))
            form = form_of(kind)
            if form.shape is Shape.PARTS:
                return (yield from self._container(value, path, depth))
            made = form.make(value)
        except Refused as refused:
            raise UnkeyableError(path or "request", refused.args[0]) from None
        if form.shape is Shape.LEAF:
            return packb(made)
        if folds >= MAX_DEPTH:
            reason = (
                f"{name_of(kind)} stands for another such value for ever; let its __cachecore_key__ return plain data"
            )
            raise UnkeyableError(path or "request", reason)
        folded: bytes = yield self.encode(made, path, depth, folds + 1)
        return folded

    def _container(self, value: Any, path: str, depth: int) -> Step:
        if self._pack is not None and depth:
            data = self._pack(value, depth)
            if data is not None:
                return data
        kind = name_of(type(value))
        if id(value) in self._inside:
            raise UnkeyableError(
                path or "request", f"{kind} that holds itself; leave out the place where it comes back"
            )
        if depth >= MAX_DEPTH:
            raise UnkeyableError(path or "request", f"{kind} nested deeper than {MAX_DEPTH}; flatten it")
        self._inside.add(id(value))
        try:
            return (yield from self._inner(value, path, depth + 1))
        finally:
            self._inside.discard(id(value))

    def _inner(self, value: Any, path: str, depth: int) -> Step:
        kind = type(value)
        if kind is dict:
            return (yield from self._dict(value.items(), path, depth))
        if kind is Pairs:
            return (yield from self._dict(value.items, path, depth))
        parts: list[bytes] = []
        if kind in SETS:
            for item in value:
                parts.append(_scalar(item) or (yield self.encode(item, f"{path}{{item}}", depth)))  # noqa: PERF401 - it yields
            # Members that are equal only here, such as a text and a subclass of it, are one.
            return _array([packb(tags.SET_HEAD), *sorted(set(parts))])
        if kind is list or kind is tuple:
            for i, item in enumerate(value):
                parts.append(_scalar(item) or (yield self.encode(item, f"{path}[{i}]", depth)))
            return _array(parts)
        head, *fields = form_of(kind).make(value)
        written = packb(head)
        parts.append(written)
        names = unpackb(written, ext_hook=lambda _, data: tags.names_unpacked(data))[2:]
        paths = (field_path(path, name, i) for i, name in enumerate(names))
        for field, below in zip(fields, paths, strict=True):
            parts.append(_scalar(field) or (yield self.encode(field, below, depth)))
        return _array(parts)

    def _dict(self, items: Iterable[tuple[Any, Any]], path: str, depth: int) -> Step:
        fields: dict[bytes, Any] = {}
        for key, item in items:
            name = _scalar(key) or (yield self.encode(key, f"{path}{{key}}", depth))
            if name in fields:
                raise UnkeyableError(path or "request", "dict with two keys that are the same here; leave out one")
            fields[name] = item
        parts: list[bytes] = []
        if not all(name[0] in _TEXT_HEADS for name in fields):
            parts.append(packb(tags.PAIRS_HEAD))
            for i, name in enumerate(sorted(fields)):
                text = unpackb(name) if name[0] in _TEXT_HEADS else None
                field = fields[name]
                parts += (name, _scalar(field) or (yield self.encode(field, field_path(path, text, i), depth)))
            return _array(parts)
        for i, name in enumerate(sorted(fields, key=unpackb)):
            field = fields[name]
            parts += (name, _scalar(field) or (yield self.encode(field, field_path(path, unpackb(name), i), depth)))
        return _head(0x80, 0xDE, len(fields)) + b"".join(parts)
