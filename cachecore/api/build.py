"""How the arguments of a cache become its parts; wrong ones fail here, by name, before anything is opened."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from cachecore.contract import plugins
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import (
    MEMORY_FIELDS,
    POLICY_FIELDS,
    STORE_FIELDS,
    Duration,
    MemoryOptions,
    Policy,
    StoreOptions,
)
from cachecore.contract.protocols import KeyHasher, Serializer, WrapsSerializer
from cachecore.serializers.fallback import FallbackSerializer
from cachecore.serializers.msgpack import MsgpackSerializer


def split_options(ttl: Duration | None, options: Mapping[str, Any]) -> tuple[Policy, StoreOptions, MemoryOptions]:
    """Return the options of a cache as policy, store and memory options. Raises OptionsError for an unknown one."""
    known = POLICY_FIELDS | STORE_FIELDS | MEMORY_FIELDS
    for name in options:
        if name not in known:
            raise OptionsError(f"there is no option {name!r}; {suggestion(name, known)}")

    def of(fields: frozenset[str]) -> dict[str, Any]:
        return {name: value for name, value in options.items() if name in fields}

    return (
        Policy(ttl=cast("float | None", ttl), **of(POLICY_FIELDS - {"ttl"})),
        StoreOptions(**of(STORE_FIELDS)),
        MemoryOptions(**of(MEMORY_FIELDS)),
    )


def chosen_serializer(serializer: str | Serializer | None, value_type: Any) -> Serializer:
    """Return the serializer that the arguments of a cache mean."""
    if serializer is None:
        serializer = "msgpack" if value_type is None else "typed"
    if isinstance(serializer, str):
        return plugins.serializer(serializer, **({} if value_type is None else {"value_type": value_type}))
    if value_type is not None:
        raise OptionsError("value_type goes to a serializer given by name; a serializer object has its own")
    return serializer


def typed_like(serializer: Serializer, value_type: Any) -> Serializer:
    """Return the serializer of values of `value_type`, compressed and encrypted as `serializer` is.

    Raises:
        OptionsError: `serializer` is not one of ours, so it cannot be given a value type.
    """
    if isinstance(serializer, WrapsSerializer):
        return serializer.around(typed_like(serializer.inner, value_type))
    if type(serializer) in (MsgpackSerializer, FallbackSerializer) or _is_text_or_typed(serializer):
        return plugins.serializer("typed", value_type=value_type)
    raise OptionsError(
        f"value_type here would replace the cache's own {type(serializer).__name__}: give serializer= as well"
    )


def _is_text_or_typed(serializer: Serializer) -> bool:
    from cachecore.serializers.json import JsonSerializer  # like the next one, not needed by most programs
    from cachecore.serializers.typed import TypedSerializer

    return type(serializer) in (JsonSerializer, TypedSerializer)


def suggestion(name: str, known: Collection[str]) -> str:
    """Return the hint for the unknown name `name`."""
    import difflib  # needed for an error alone

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"


def check_parts(hasher: object, serializer: object, admit: object, rescue_if: object, clock: object) -> None:
    """Return if each of these has the methods of its role. Raises OptionsError."""
    if not all(callable(getattr(clock, method, None)) for method in ("monotonic", "time")):
        raise OptionsError(f"clock must have the methods monotonic and time, not be {clock!r}")
    if not isinstance(hasher, KeyHasher):
        raise OptionsError(f"hasher must be a name or have the methods of KeyHasher, not {type(hasher).__name__}")
    if not isinstance(serializer, Serializer):
        kind = type(serializer).__name__
        raise OptionsError(f"serializer must be a name or have the methods of Serializer, not {kind}")
    if admit is not None and not callable(admit):
        raise OptionsError(f"admit must be callable, or None, not {type(admit).__name__}")
    if rescue_if is not None and not callable(rescue_if):
        raise OptionsError(f"rescue_if must be callable, or None, not {type(rescue_if).__name__}")
