"""Which values may be handed to several callers: immutable ones, which no caller can change for another."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
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
        return all(is_immutable(item, _depth + 1) for item in value)
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is not None and parameters.frozen and not hasattr(value, "__dict__"):
        return all(is_immutable(getattr(value, field.name), _depth + 1) for field in dataclasses.fields(value))
    config = getattr(kind, "__struct_config__", None)
    if config is not None and config.frozen and not hasattr(value, "__dict__"):
        return all(is_immutable(getattr(value, name), _depth + 1) for name in kind.__struct_fields__)
    return False
