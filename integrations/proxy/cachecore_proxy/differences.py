"""Which fields tell a request apart from the most alike of those before it: why a cache has no answer to it.

Of each request that missed, digests of its fields and messages are kept: 8 bytes each, keyed with random bytes of this
process, so that no text can be guessed from them elsewhere. Bounded; the oldest are forgotten.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict, deque
from collections.abc import Hashable, Mapping
from typing import Any, Final

_MOST_GROUPS: Final = 500
_MOST_OF_A_GROUP: Final = 20
_MOST_PARTS: Final = 64
_MOST_SHOWN: Final = 4
_MOST_NAME: Final = 40

_Parts = dict[str, bytes]


class Differences:
    """The last requests of each group, as digests of their parts."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._groups: OrderedDict[Hashable, deque[_Parts]] = OrderedDict()

    def seen(self, group: Hashable, request: Mapping[str, Any]) -> str:
        """Remember `request`; return the names of the parts in which it differs from the most alike one of its group.

        Empty if it is the first one, or one of the same parts was there. Most of a request's cost is that of its
        digests, about as long as to write it as JSON.
        """
        parts = self._parts(request)
        others = self._groups.get(group)
        if others is None:
            others = self._groups[group] = deque(maxlen=_MOST_OF_A_GROUP)
            if len(self._groups) > _MOST_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        nearest: list[str] | None = None
        for other in others:
            differing = [name for name in parts if other.get(name) != parts[name]]
            differing += [name for name in other if name not in parts]
            if nearest is None or len(differing) < len(nearest):
                nearest = differing
        if nearest is None:
            others.append(parts)
            return ""
        if nearest:
            others.append(parts)
        shown = [name[:_MOST_NAME] for name in nearest[:_MOST_SHOWN]]
        more = len(nearest) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more else "")

    def _parts(self, request: Mapping[str, Any]) -> _Parts:
        parts: _Parts = {}
        for name, value in request.items():
            if isinstance(value, list) and name in ("messages", "input"):
                for number, item in enumerate(value[:_MOST_PARTS]):
                    parts[f"{name}[{number}]"] = self._digest(item)
                parts[f"number of {name}"] = self._digest(len(value))
                if len(value) > _MOST_PARTS:
                    parts[f"{name}[{_MOST_PARTS}] and further"] = self._digest(value[_MOST_PARTS:])
            elif len(parts) < 2 * _MOST_PARTS:
                parts[str(name)] = self._digest(value)
        return parts

    def _digest(self, value: object) -> bytes:
        text = json.dumps(value, sort_keys=True, default=repr).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=8, key=self._secret).digest()
