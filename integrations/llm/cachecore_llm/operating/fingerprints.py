"""A request as numbers: a keyed digest for each field, and what it would be without times, ids, order or spelling.

Two requests have one key where the digests of all fields are equal. A field is left out by leaving out its digest; that
costs no second reading of the log, and no prompt has to be kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from cachecore.keys import encode
from cachecore_llm.flow.fields import fields_of
from cachecore_llm.key import RULES, normalised_text
from cachecore_llm.wire import JsonObject

VARIANTS: Final = ("times", "ids", "order", "spelling", "all")
"""What may vary without meaning; `all`: none of them counts."""

Prints = dict[str, tuple[int, ...]]
"""By field: its digest, then its digest under each of `VARIANTS`."""

SYSTEM: Final = "system prompt"
_SYSTEM_FIELDS: Final = frozenset({"system", "system_prompt", "instructions"})
_ROLES: Final = frozenset({"system", "developer"})
_DATE: Final = r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
_CLOCK: Final = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s?[AaPp]\.?[Mm]\.?)?(?:\s?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"
_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DAY: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+"
_TIMES: Final = re.compile(
    rf"(?:{_DATE})(?:[T\s]\s?{_CLOCK})?|(?:{_DAY})?(?:\d{{1,2}}\s{_MONTH}|{_MONTH}\s\d{{1,2}}),?\s\d{{4}}(?:,?\s{_CLOCK})?"
    rf"|\b{_CLOCK}|\b1[6-9]\d{{8}}(?:\d{{3}})?(?:\.\d+)?\b"
)
_IDS: Final = re.compile(
    r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b|\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{16,}\b"
    r"|\b(?:req|trace|span|session|sess|conv|run|call|msg|user|id|txn)[_-][A-Za-z0-9]{6,}\b"
)
_RULES: Final = frozenset(RULES)
_TYPED_BY_PEOPLE: Final = frozenset({"messages", "input", "user_message", "context"})
"""Fields in which typing may vary without meaning."""
_MOST_KNOWN: Final = 50_000


class Fingerprinter:
    """Makes the prints of requests. Two of one `secret` are comparable; without it, no value can be guessed."""

    def __init__(self, secret: bytes = b"") -> None:
        self._keyed = hashlib.blake2b(key=hashlib.sha256(secret).digest(), digest_size=8)
        self._known: dict[int, tuple[int, ...]] = {}

    def prints(self, request: JsonObject) -> Prints:
        """Return the prints of a request, given as the value that is keyed. O(size of the request)."""
        return {name: self._of(name, value) for name, value in parts_of(request)}

    def digest(self, name: str, value: Any) -> int:
        """Return the digest of one value, below 2 ** 64."""
        return self._digest(name, encode(value))

    def _of(self, name: str, value: Any) -> tuple[int, ...]:
        data = encode(value)
        exact = self._digest(name, data)
        known = self._known.get(exact)
        if known is None:
            changes = _OF_PEOPLE if name in _TYPED_BY_PEOPLE else _OF_PROGRAMS
            known = (exact, *(self._varied(name, value, data, change) for change in changes))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[exact] = known
        return known

    def _varied(self, name: str, value: Any, data: bytes, change: Callable[[Any], Any]) -> int:
        varied = encode(change(value))
        return self._digest(name, data if varied == data else varied)

    def _digest(self, name: str, data: bytes) -> int:
        state = self._keyed.copy()
        state.update(name.encode() + b"\0")
        state.update(data)
        return int.from_bytes(state.digest(), "big")


def parts_of(request: JsonObject) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a keyed request by name, the system prompt by itself."""
    for name in ("protocol", "tenant"):
        if request.get(name):
            yield name, request[name]
    for name, value in fields_of(request):
        if name.endswith("[]"):
            turns = list(value)
            leading = 0
            while leading < len(turns) and turns[leading].get("role") in _ROLES:
                leading += 1
            if leading:
                yield SYSTEM, turns[:leading]
            if turns[leading:]:
                yield name.removesuffix("[]"), turns[leading:]
        elif name in _SYSTEM_FIELDS:
            yield SYSTEM, value
        else:
            yield name, value


def without_times(text: str) -> str:
    """Return `text` with a mark in the place of each date and time."""
    return _TIMES.sub("⌚", text)


def without_ids(text: str) -> str:
    """Return `text` with a mark in the place of each random id."""
    return _IDS.sub("#", text)


def _texts(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """Return a function that applies `change` to every text in a value."""

    def all_in(value: Any) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, list):
            return [all_in(one) for one in value]
        if isinstance(value, Mapping):
            return {name: all_in(one) for name, one in value.items()}
        return value

    return all_in


def _sorted(value: Any) -> Any:
    """Return a value whose lists of objects or texts are in one order, but for turns of a conversation."""
    if isinstance(value, Mapping):
        return {name: _sorted(one) for name, one in value.items()}
    if isinstance(value, list):
        members = [_sorted(one) for one in value]
        turns = any(isinstance(one, Mapping) and "role" in one for one in members)
        return members if turns else sorted(members, key=encode)
    return value


def _spelled(text: str) -> str:
    return normalised_text(text, _RULES)


def _impersonal(text: str) -> str:
    return without_ids(without_times(text))


def _nothing(value: Any) -> Any:
    return value


_OF_PEOPLE: Final = (
    _texts(without_times),
    _texts(without_ids),
    _sorted,
    _texts(_spelled),
    lambda value: _sorted(_texts(lambda text: _spelled(_impersonal(text)))(value)),
)
_OF_PROGRAMS: Final = (
    _texts(without_times),
    _texts(without_ids),
    _sorted,
    _nothing,
    lambda value: _sorted(_texts(_impersonal)(value)),
)
"""The effect of each of `VARIANTS` on a field that people type, and on any other."""
