"""Settings written as text or TOML: durations, sizes, numbers, `forever`.

The kinds are read off the table of options, so that a new option is a new setting without a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args, get_type_hints

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import (
    FOREVER,
    POLICY_FIELDS,
    STORE_FIELDS,
    MemoryOptions,
    Policy,
    StoreOptions,
    parse_duration,
    size,
)

TEXTS: Final = frozenset({"backend", "namespace", "prefix"})
"""Settings that are text and no option."""
TABLES: Final = frozenset({"hasher", "serializer"})
"""Settings that name a plugin, or are a table that does."""

_RATIOS: Final = frozenset({"jitter", "refresh_ahead"})  # every other float is a duration
_HINTS: Final[Mapping[str, Any]] = {
    name: hint for options in (Policy, StoreOptions, MemoryOptions) for name, hint in get_type_hints(options).items()
}
SETTINGS: Final = frozenset({*TEXTS, *TABLES, "tags", *_HINTS})
"""The names of all settings."""

_SWITCHES: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def read_field(name: str, value: object, text: bool) -> object:
    """Return the value of the option `name` that `value` means; with `text`, plain numbers may be text too.

    Raises `OptionsError` if it means none, or one out of limits.
    """
    hint = _HINTS[name]
    kinds = {hint, *get_args(hint)}
    setting = value
    if isinstance(value, str) and str not in kinds:
        if type(None) in kinds and value.strip().lower() == (FOREVER if name == "ttl" else "none"):
            setting = None
        elif float in kinds and name not in _RATIOS:
            setting = parse_duration(name, value)
        elif name.endswith("_bytes"):
            setting = size(name, value)
        elif text:
            setting = _plain(name, value, kinds)
    if bool in kinds and not isinstance(setting, bool):
        raise OptionsError(f"{name} must be true or false, not {value!r}")
    if name in _RATIOS and (isinstance(setting, bool) or not isinstance(setting, int | float)):
        raise OptionsError(f"{name} must be a number, not {value!r}")
    if str in kinds and not isinstance(setting, str):
        raise OptionsError(f"{name} must be text, not {value!r}")
    _check(name, setting)
    return setting


def _plain(name: str, value: str, kinds: set[Any]) -> object:
    if bool in kinds:
        return _SWITCHES.get(value.strip().lower(), value)
    try:
        return float(value) if name in _RATIOS else int(value)
    except ValueError:
        return value  # refused below, where the kind is named


def _check(name: str, setting: object) -> None:
    """Let the table of options refuse values out of limits, here, where their source is known."""
    fields: dict[str, Any] = {name: setting}
    if name in POLICY_FIELDS:
        Policy(**{"ttl": None, **fields})
    elif name in STORE_FIELDS:
        StoreOptions(**fields)
    else:
        MemoryOptions(**fields)
