"""Which values may be handed to several callers: immutable ones, which no caller can change for another."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Iterable
from typing import Any, Final

_ATOMS: Final = frozenset(
    {
        str, bytes, int, float, bool, complex, type(None), uuid.UUID, decimal.Decimal,
        datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
    }
)  # fmt: skip
_DEEPEST: Final = 8


def is_immutable(value: Any, _depth: int = 0) -> bool:
    """Return whether `value`, all through, cannot be changed. When in doubt: no.

    Exact types only: a subclass of `str` may carry a dict of its own. Frozen dataclasses count if all their fields do.
    """
    kind = type(value)
    if kind in _ATOMS or isinstance(value, enum.Enum):
        return True
    if _depth >= _DEEPEST:
        return False
    if kind is tuple or kind is frozenset:
        return _all_immutable(value, _depth)
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is not None and parameters.frozen and not hasattr(value, "__dict__"):
        return _all_immutable([getattr(value, field.name) for field in dataclasses.fields(value)], _depth)
    config = getattr(kind, "__struct_config__", None)
    if config is not None and config.frozen and not hasattr(value, "__dict__"):
        return _all_immutable([getattr(value, name) for name in kind.__struct_fields__], _depth)
    return False


def _all_immutable(parts: Iterable[Any], depth: int) -> bool:
    for part in parts:  # noqa: SIM110 - most are atoms, and a generator would cost more than all else here
        if type(part) not in _ATOMS and not is_immutable(part, depth + 1):
            return False
    return True
