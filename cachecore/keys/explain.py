"""Why two requests have different keys: for the question "why did this miss?".

Both requests are encoded and decoded again, and the decoded values are compared. So two requests differ here if and
only if their keys do.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from cachecore.keys.canonical import encode
from cachecore.keys.decoded import ClassSchema, Members, Numpy, Pairs, Pandas, Record
from cachecore.keys.decoding import decode
from cachecore.keys.tags import MEMBER, RECORD
from cachecore.keys.walker import field_path

Kind = Literal["type", "class", "value", "only in a", "only in b"]

_DIGEST_DIGITS: Final = 8
_CANONICAL_NAMES: Final = {"NoneType": "None", "Members": "set", "Pairs": "dict", "PurePosixPath": "Path"}


@dataclass(frozen=True, slots=True)
class Side:
    """The value of one request at a place: enough to compare, not enough to read, unless the text was asked for."""

    type: str
    """The type of the value; of a record or a member of an Enum, the name of its class."""
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
    """The usual kind of difference that it is, if any: `differ by case only`."""

    def __str__(self) -> str:
        if self.kind == "class" and self.a is not None and self.b is not None:
            return f"{self.path}: class: {self.a.type} / {self.b.type}"
        sides = " and ".join(_shown(side) for side in (self.a, self.b) if side is not None)
        return f"{self.path}: {self.kind}: {sides}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Explanation:
    """The differences of two requests; none if they share a key. `str()` of it is one line per difference."""

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
    if type(a) is list and type(b) is list:
        yield from _compare_lists(a, b, path, text)
    elif type(a) is Members and type(b) is Members:
        yield from _compare_sets(a, b, path, text)
    elif type(a) is ClassSchema and type(b) is ClassSchema:
        if _class_of(a) != _class_of(b):
            yield _different(a, b, path, text)
        yield from _compare(a.schema, b.schema, field_path(path, "schema", 0), text)
    elif _has_fields(a) and _has_fields(b):
        if _class_of(a) != _class_of(b):
            yield _different(a, b, path, text)
        yield from _compare_fields(_fields_of(a), _fields_of(b), path, text)
    else:
        yield _different(a, b, path, text)


def _different(a: Any, b: Any, path: str, text: bool) -> Difference:
    """Return the difference between two values that have no fields or members in common."""
    first, second = _class_of(a), _class_of(b)
    kind: Kind = "class" if first != second else "value" if type(a) is type(b) else "type"
    # Two classes of one name are told apart by their modules.
    full = first is not None and second is not None and first != second and first[1] == second[1]
    return Difference(path or "request", kind, _side(a, text, full), _side(b, text, full), _note(a, b))


def _class_of(value: Any) -> tuple[str, str] | None:
    return (value.module, value.name) if type(value) in (Record, ClassSchema) else None


def _has_fields(value: Any) -> bool:
    return type(value) in (dict, Pairs) or (type(value) is Record and value.tag == RECORD)


def _fields_of(value: Any) -> dict[bytes, tuple[str | None, Any]]:
    """Return the fields of a dict or a record by their encoded names, with the name itself where it is text."""
    items = value.items if type(value) is Pairs else (value.fields if type(value) is Record else value).items()
    return {encode(key): (key if type(key) is str else None, field) for key, field in items}


def _compare_fields(
    a: dict[bytes, tuple[str | None, Any]], b: dict[bytes, tuple[str | None, Any]], path: str, text: bool
) -> Iterator[Difference]:
    names = {key: name for key, (name, _) in (*a.items(), *b.items())}
    for i, key in enumerate(sorted(names, key=lambda key: (names[key] is None, names[key] or "", key))):
        below = field_path(path, names[key], i)
        if key not in b:
            yield Difference(below, "only in a", _side(a[key][1], text), None)
        elif key not in a:
            yield Difference(below, "only in b", None, _side(b[key][1], text))
        else:
            yield from _compare(a[key][1], b[key][1], below, text)


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


def _side(value: Any, text: bool, full: bool = False) -> Side:
    data = encode(value)
    size = len(value) if hasattr(value, "__len__") else len(data)
    digest = hashlib.sha256(data).hexdigest()[:_DIGEST_DIGITS]
    return Side(_type_name(value, full), size, digest, repr(value) if text else None)


def _type_name(value: Any, full: bool) -> str:
    kind = type(value)
    owner = _class_of(value)
    if owner is not None:
        name = ".".join(owner) if full else owner[1]
        return name if kind is Record else f"class {name}"
    if kind is Numpy:
        return f"numpy {value.dtype}"
    if kind is Pandas:
        return f"pandas {value.kind}"
    return _CANONICAL_NAMES.get(kind.__name__, kind.__name__)


def _shown(side: Side) -> str:
    return side.text if side.text is not None else f"{side.type} of {side.size} ({side.digest})"


def _note(a: Any, b: Any) -> str:
    if type(a) is not type(b):
        return "equal but for their types" if a == b or str(a) == str(b) else ""
    if type(a) is Record and a.tag == b.tag == MEMBER:
        names = a.fields["name"], b.fields["name"]
        return f"{names[0]} and {names[1]}" if names[0] != names[1] else f"another value of {names[0]}"
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
