"""Which fields tell a request apart from the most alike of those before it: why a cache has no answer to it.

Of each request that missed, digests of its fields and messages are kept: 8 bytes each, keyed with random bytes of this
process, so that no text can be guessed from them elsewhere. Bounded; the oldest are forgotten.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final

from cachecore_llm.key import Verdict
from cachecore_llm.key.fields import named
from cachecore_llm.wire import Call

_MOST_GROUPS: Final = 500
_MOST_OF_A_GROUP: Final = 20
_MOST_PARTS: Final = 128
_MOST_MESSAGES: Final = 64
_MOST_CHARACTERS: Final = 256 * 1024
_MOST_SHOWN: Final = 4
_MOST_NAME: Final = 40

_Parts = dict[str, bytes]


def parts_of(call: Call) -> dict[str, Any] | None:
    """Return those parts of a call that may keep it from being a hit, for `Differences.seen`.

    None if it is very large or nested very deeply. O(number of its values), not of their lengths.
    """
    try:
        if _size(call.body, _MOST_CHARACTERS) < 0:
            return None
    except RecursionError:
        return None
    left_out = named(call.protocol, Verdict.NOT_KEYED)
    body = {name: value for name, value in call.body.items() if name not in left_out}
    return {"body": body, "headers": call.headers, "scope": call.scope, "endpoint": call.endpoint}


def _size(value: object, left: int) -> int:
    """Return the characters left of `left` when `value` is written; below 0 as soon as there are none."""
    if isinstance(value, str):
        return left - len(value)
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for item in items:
        left = _size(item, left - 1)
        if left < 0:
            break
    return left


class Differences:
    """The last requests of each group, as digests of their parts."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._groups: OrderedDict[Hashable, deque[_Parts]] = OrderedDict()

    def seen(self, group: Hashable, request: Mapping[str, Any]) -> str:
        """Remember `request`; return the names of the parts in which it differs from the most alike one of its group.

        Empty if it is the first one, if one of the same parts was there, or if it is no JSON. Takes about as long as to
        write the request as JSON.
        """
        try:
            parts = self._parts(request)
        except (TypeError, ValueError, RecursionError):
            return ""
        others = self._groups.get(group)
        if others is None:
            others = self._groups[group] = deque(maxlen=_MOST_OF_A_GROUP)
            if len(self._groups) > _MOST_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        nearest = min((_differing(parts, other) for other in others), key=len, default=None)
        if nearest is None or nearest:
            others.append(parts)
        if not nearest:
            return ""
        shown = [name[:_MOST_NAME] for name in nearest[:_MOST_SHOWN]]
        more = len(nearest) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")

    def _parts(self, request: Mapping[str, Any]) -> _Parts:
        """Return the digests of the parts of a request; the fields of its body go by their own names."""
        parts: _Parts = {}
        for name, value in _named(request):
            if len(parts) == _MOST_PARTS:
                break
            text = json.dumps(value, sort_keys=True, default=repr).encode("utf-8", "surrogatepass")
            parts[name] = hashlib.blake2b(text, digest_size=8, key=self._secret).digest()
        return parts


def _named(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping) and name in ("body", "params"):
            yield from _named(value)
        elif isinstance(value, Mapping) and name == "headers":
            yield from ((f"header {header}", text) for header, text in value.items())
        elif isinstance(value, list) and name in ("messages", "input"):
            yield from ((f"{name}[{number}]", item) for number, item in enumerate(value[:_MOST_MESSAGES]))
            if len(value) > _MOST_MESSAGES:
                yield f"{name}[{_MOST_MESSAGES}] and further", value[_MOST_MESSAGES:]
        else:
            yield name, value


def _differing(parts: _Parts, other: _Parts) -> list[str]:
    return [name for name, digest in parts.items() if other.get(name) != digest] + [
        name for name in other if name not in parts
    ]
