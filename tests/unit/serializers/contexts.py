"""The contexts in which serializers are tested, and a measure of what refusing costs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from cachecore.contract.errors import EncodingError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext
from cachecore.encoding.entry import Draft, draft

KEY = "p:e:faq:" + "ab" * 32
OTHER_KEY = "p:e:faq:" + "cd" * 32


def context(key: str = KEY, **fields: Any) -> Draft:
    given: dict[str, Any] = {"created": 1.7e9, "fresh_until": None, "dead_until": None, "serializer": "s", **fields}
    return draft(key, **given)


def assert_refused_cheaply(loads: Callable[[bytes, EntryContext], Any], data: bytes) -> None:
    """Refused with at most 16 MiB taken meanwhile: what is never made takes no time either."""
    tracemalloc.start()
    try:
        with pytest.raises(EncodingError):
            loads(data, context())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB
