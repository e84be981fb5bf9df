"""The canonical encoding written out node by node: what `encode` must agree with, and where errors get their path.

About a hundred times slower than ormsgpack. It runs when that refused a request, to say where and why, and for the few
values that ormsgpack cannot write by itself (sets of tuples, keys that are subclasses of str, odd NaNs).
"""

from __future__ import annotations

import re
from typing import Any, Final

from ormsgpack import MsgpackEncodeError, packb

from cachecore.contract.errors import UnkeyableError
from cachecore.keys.forms import SET_MARK, SETS, Refused, form_of, name_of

MAX_DEPTH: Final = 64
"""How deep lists, dicts, sets and records may nest."""

_NAN: Final = b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"
_SET_MARK: Final = packb(form_of(type(SET_MARK)).make(SET_MARK))
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_ATOMS: Final = frozenset({type(None), bool, float, bytes, bytearray})
_LEAST, _MOST = -(1 << 63), 1 << 64


def _head(few: int, many: int, length: int) -> bytes:
    """Return the head of an array or map of `length`: `few` is its form up to 15, `many` the form of 16 bits."""
    if length < 16:
        return bytes((few | length,))
    if length < 1 << 16:
        return bytes((many,)) + length.to_bytes(2, "big")
    return bytes((many + 1,)) + length.to_bytes(4, "big")


def field_path(path: str, name: str, position: int) -> str:
    """Return the path of a field; `position` is its place among its siblings in their order."""
    # Other text than a name may be a user's, and errors are logged.
    shown = name if _NAME.fullmatch(name) else f"<key {position}>"
    return f"{path}.{shown}" if path else shown


def _text(value: str, path: str, what: str) -> bytes:
    try:
        return packb(value)
    except MsgpackEncodeError:
        raise UnkeyableError(path or "request", f"{what} with a lone surrogate has no UTF-8 form") from None


def walk(value: Any) -> bytes:
    """Return the canonical bytes of `value`. Raises `UnkeyableError` naming the path of what has none."""
    return _Walker().encode(value, "", 0)


class _Walker:
    """One walk: remembers the containers it is inside of, so that a cycle is named as one."""

    def __init__(self) -> None:
        self._inside: set[int] = set()

    def encode(self, value: Any, path: str, depth: int, steps: int = 0) -> bytes:
        """Return the bytes of `value`, `depth` containers deep, reached by `steps` foldings of one value."""
        kind = type(value)
        if kind is str:
            return _text(value, path, "text")
        try:
            if kind in _ATOMS:
                return _NAN if kind is float and value != value else packb(value)
            if kind is int and _LEAST <= value < _MOST:
                return packb(value)
            if kind in (list, tuple) or kind is dict or kind in SETS:
                return self._container(value, path, depth)
            form = form_of(kind)
            made = form.make(value)
            if form.tagged:
                return packb(made)
        except Refused as refused:
            raise UnkeyableError(path or "request", refused.args[0]) from None
        if steps >= MAX_DEPTH:
            raise UnkeyableError(path or "request", f"{name_of(kind)} stands for ever another value")
        return self.encode(made, path, depth, steps + 1)

    def _container(self, value: Any, path: str, depth: int) -> bytes:
        if id(value) in self._inside:
            raise UnkeyableError(path or "request", f"{name_of(type(value))} that holds itself")
        if depth >= MAX_DEPTH:
            raise UnkeyableError(path or "request", f"nested deeper than {MAX_DEPTH}")
        self._inside.add(id(value))
        try:
            if type(value) is dict:
                return self._dict(value, path, depth + 1)
            if type(value) in SETS:
                return self._set(value, path, depth + 1)
            parts = [self.encode(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
            return _head(0x90, 0xDC, len(parts)) + b"".join(parts)
        finally:
            self._inside.discard(id(value))

    def _set(self, value: Any, path: str, depth: int) -> bytes:
        # Members that are equal only here, such as an enum and its value, are one.
        members = sorted({self.encode(item, f"{path}{{item}}", depth) for item in value})
        return _head(0x90, 0xDC, len(members) + 1) + _SET_MARK + b"".join(members)

    def _dict(self, value: dict[Any, Any], path: str, depth: int) -> bytes:
        fields: dict[str, Any] = {}
        for key, item in value.items():
            name = key
            if type(key) is not str:
                name = self._key(key, path)
            fields[name] = item
        if len(fields) != len(value):
            raise UnkeyableError(path or "request", "a dict with two keys that are the same text")
        parts = []
        for i, name in enumerate(sorted(fields)):
            parts.append(_text(name, path, "a key"))
            parts.append(self.encode(fields[name], field_path(path, name, i), depth))
        return _head(0x80, 0xDE, len(fields)) + b"".join(parts)

    def _key(self, key: Any, path: str) -> str:
        """Return the text of a key that is an enum or a subclass of str."""
        folded = key
        for _ in range(2):  # an enum, and then its value
            if type(folded) is not str and isinstance(folded, str):
                folded = form_of(type(folded)).make(folded)
        if type(folded) is not str:
            raise UnkeyableError(path or "request", f"a dict with a key of type {name_of(type(key))}; keys must be str")
        return folded
