"""The meaning of error replies: no server needed."""

from __future__ import annotations

import pytest

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
