"""The bounds that every serializer holds to before it spends memory."""

from __future__ import annotations

from typing import Any

from cachecore.contract.errors import OptionsError, TooLargeError


def check_limit(name: str, limit: Any, least: int = 1) -> int:
    """Return `limit` if it is a whole number of at least `least`. Raises `OptionsError`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < least:
        raise OptionsError(f"{name} must be a whole number of at least {least}, not {limit!r}")
    return limit


def check_size(data: bytes, max_bytes: int) -> None:
    """Return if `data` has at most `max_bytes`. Raises `TooLargeError`."""
    if len(data) > max_bytes:
        raise TooLargeError(
            f"a payload of {len(data)} bytes, at most {max_bytes} are allowed: raise max_bytes of the serializer and "
            "max_value_bytes of the cache, or use the serializer `compressed`",
            "size",
        )
