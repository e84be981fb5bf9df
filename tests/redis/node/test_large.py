"""The keys that are remembered to have large values: no server needed."""

from __future__ import annotations

import pytest

from cachecore_redis.node import large as large_keys
from cachecore_redis.node.large import LargeKeys


def test_large_keys_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory is bounded: at its bound, made small here, the least recently used key is forgotten."""
    monkeypatch.setattr(large_keys, "_MAX_LARGE", 3)
    large = LargeKeys(10)
    for key in ("a", "b", "c", "b"):
        assert large.record(key, 10)
    assert list(large.keys) == ["a", "c", "b"]  # known before, so nobody had to go
    assert large.record("d", 10)
    assert list(large.keys) == ["c", "b", "d"]
    assert not large.record("b", 9)
    assert list(large.keys) == ["c", "d"]
