"""Why two requests have different keys: for the question "why did this miss?".

Both are encoded and decoded again, so what is compared is exactly what the key is made of: two requests differ here if
and only if their keys do.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from cachecore.keys.canonical import encode
from cachecore.keys.decoding import decode
from cachecore.keys.forms import Members
from cachecore.keys.walker import field_path

Kind = Literal["type", "value", "only in a", "only in b"]

_DIGEST_DIGITS: Final = 8
_CANONICAL_NAMES: Final = {"NoneType": "None", "Members": "set", "PurePosixPath": "Path"}


@dataclass(frozen=True, slots=True)
class Side:
    """What one request has at a place: enough to compare, not enough to read, unless the text was asked for."""

    type: str
    size: int
    """Characters of text, bytes of binary, members of anything else; bytes of the encoding of a number."""
    digest: str
    """The first 8 digits of the SHA-256. A short or guessable value can be guessed from it."""
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two requests differ. `path` is that of the field, such as `messages[2].content`."""

    path: str
    kind: Kind
    a: Side | None
    b: Side | None
    note: str = ""
    """What the difference comes down to, if it is a usual one: `differ by case only`."""

    def __str__(self) -> str:
        sides = " and ".join(_shown(side) for side in (self.a, self.b) if side is not None)
        return f"{self.path}: {self.kind}: {sides}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What makes two requests differ; nothing if they share a key. `str()` of it is one line per difference."""

    differences: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Return whether the two requests have one key (in the same namespace, with the same hasher)."""
        return not self.differences

    def __str__(self) -> str:
        return "\n".join(map(str, self.differences)) or "the requests are the same"

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain data, for JSON."""
        return {"same": self.same, "differences": [asdict(difference) for difference in self.differences]}


def explain(a: Any, b: Any, *, text: bool = False) -> Explanation:
    """Return where the requests `a` and `b` differ, and how.

    Args:
        a: one request: anything a cache takes as one.
        b: the other.
        text: whether to show the differing values themselves; they may be prompts, so not unless asked.

    Raises:
        UnkeyableError: one of them is no request.
    """
    return Explanation(tuple(_compare(decode(encode(a)), decode(encode(b)), "", text)))


def _compare(a: Any, b: Any, path: str, text: bool) -> Iterator[Difference]:
    if encode(a) == encode(b):
        return
    if type(a) is dict and type(b) is dict:
        for i, name in enumerate(sorted({*a, *b})):
            below = field_path(path, name, i)
            if name not in b:
                yield Difference(below, "only in a", _side(a[name], text), None)
            elif name not in a:
                yield Difference(below, "only in b", None, _side(b[name], text))
            else:
                yield from _compare(a[name], b[name], below, text)
    elif type(a) is list and type(b) is list:
        yield from _compare_lists(a, b, path, text)
    elif type(a) is Members and type(b) is Members:
        yield from _compare_sets(a, b, path, text)
    else:
        kind: Kind = "value" if type(a) is type(b) else "type"
        yield Difference(path or "request", kind, _side(a, text), _side(b, text), _note(a, b))


def _compare_lists(a: list[Any], b: list[Any], path: str, text: bool) -> Iterator[Difference]:
    shared = min(len(a), len(b))
    for i in range(shared):
        yield from _compare(a[i], b[i], f"{path}[{i}]", text)
    for i in range(shared, len(a)):
        yield Difference(f"{path}[{i}]", "only in a", _side(a[i], text), None)
    for i in range(shared, len(b)):
        yield Difference(f"{path}[{i}]", "only in b", None, _side(b[i], text))


def _compare_sets(a: Members, b: Members, path: str, text: bool) -> Iterator[Difference]:
    in_a, in_b = ({encode(item): item for item in members} for members in (a, b))
    for data in sorted(in_a.keys() - in_b.keys()):
        yield Difference(f"{path}{{item}}", "only in a", _side(in_a[data], text), None)
    for data in sorted(in_b.keys() - in_a.keys()):
        yield Difference(f"{path}{{item}}", "only in b", None, _side(in_b[data], text))


def _side(value: Any, text: bool) -> Side:
    kind = type(value).__name__
    data = encode(value)
    size = len(value) if hasattr(value, "__len__") else len(data)
    digest = hashlib.sha256(data).hexdigest()[:_DIGEST_DIGITS]
    return Side(_CANONICAL_NAMES.get(kind, kind), size, digest, repr(value) if text else None)


def _shown(side: Side) -> str:
    return side.text if side.text is not None else f"{side.type} of {side.size} ({side.digest})"


def _note(a: Any, b: Any) -> str:
    if type(a) is not type(b):
        return "equal but for their types" if a == b or str(a) == str(b) else ""
    if type(a) is not str:
        return ""
    if unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b):
        return "the same after Unicode normalisation"
    if a.split() == b.split():
        return "differ by white space only"
    if a.casefold() == b.casefold():
        return "differ by case only"
    first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return f"from character {first} on"
