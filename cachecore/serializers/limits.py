"""The bounds that every serializer holds to before it spends memory."""

from __future__ import annotations

from typing import Any

from cachecore.contract.errors import EncodingError, OptionsError


def check_limit(name: str, limit: Any, least: int = 1) -> int:
    """Return `limit` if it is a whole number of at least `least`. Raises `OptionsError`."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < least:
        raise OptionsError(f"{name} must be a whole number of at least {least}, not {limit!r}")
    return limit


def check_size(data: bytes, max_bytes: int) -> None:
    """Return if `data` has at most `max_bytes`. Raises `EncodingError`."""
    if len(data) > max_bytes:
        raise EncodingError(f"a payload of {len(data)} bytes, at most {max_bytes} are allowed")
