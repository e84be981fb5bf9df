"""What an error reply means, and which keys are remembered to have large values: no server needed."""

from __future__ import annotations

import pytest

from cachecore_redis.node import large as large_keys
from cachecore_redis.node.large import LargeKeys
from cachecore_redis.wire.errors import reply_reason

IN_SCRIPT = "ERR Error running script (call to f_dfd3336d): @user_script:4: @user_script: 4: -{} "


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (IN_SCRIPT.format("OOM") + "command not allowed when used memory > 'maxmemory'.", ("full", False)),
        (IN_SCRIPT.format("READONLY") + "You can't write against a read only replica.", ("readonly", True)),
        (IN_SCRIPT.format("STRANGE") + "nobody knows.", ("error", False)),
        (
            "ERR Error running script (call to f_d): @user_script:4: attempt to index nil",
            ("error", False),
        ),
        ("OOM command not allowed", ("full", False)),
    ],
)
def test_what_stopped_a_script_of_redis_6_is_told(message: str, reason: tuple[str, bool]) -> None:
    assert reply_reason(message) == reason


def test_large_keys_used_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_keys, "_MAX_LARGE", 3)
    large = LargeKeys(10)
    for key in ("a", "b", "c", "b"):
        assert large.record(key, 10)
    assert list(large.keys) == ["a", "c", "b"]  # known before, so nobody had to go
    assert large.record("d", 10)
    assert list(large.keys) == ["c", "b", "d"]
    assert not large.record("b", 9)
    assert list(large.keys) == ["c", "d"]
