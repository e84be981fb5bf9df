"""What a store refuses although it answers is one line as it begins and one as it ends, with reason and remedy."""

from __future__ import annotations

import logging

import pytest

from cachecore.contract.errors import BackendError
from tests.unit.store.guarded import Guarded


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cachecore.store")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "cachecore.store"]


async def write(made: Guarded, times: int = 1) -> None:
    for number in range(times):
        await made.guard.set_many({f"k{number}": b"v"}, ttl=60)


@pytest.mark.parametrize(
    ("reason", "transient", "begins", "remedy", "ends"),
    [
        ("full", False, "takes nothing new (full)", "allkeys-lru", "takes new answers again after 12.0 s"),
        ("readonly", True, "refuses writes (readonly)", "point to the primary", "takes writes again after 12.0 s"),
        ("foreign", False, "no store of this library", "path of its own", "of this library again after 12.0 s"),
        ("newer", False, "by a newer version (newer)", "install that version", "this version again after 12.0 s"),
        ("schema", False, "no such schema", "check its name", "finds the schema after 12.0 s"),
        ("no_bucket", False, "no such bucket", "check its name", "finds the bucket after 12.0 s"),
        ("no_swap", False, "(no_swap)", "use a store that does", "writes on conditions after 12.0 s"),
        ("forked", False, "was forked", "use `spawn`", "answers in this process after 12.0 s"),
        ("auth", False, "refuses set_many (auth)", "never delivered", "no longer refuses set_many after 12.0 s"),
    ],
)
async def test_refusal_is_two_lines(
    caplog: pytest.LogCaptureFixture, reason: str, transient: bool, begins: str, remedy: str, ends: str
) -> None:
    made = Guarded()
    made.store.fail("set_many", lambda operation: BackendError(operation, transient=transient, reason=reason))
    for _ in range(100):
        with pytest.raises(BackendError):
            await write(made)
        assert await made.guard.get_many(["k"]) == [None]  # reads are answered meanwhile, and end nothing
    made.clock.advance(12)
    made.store.heal()
    await write(made, 5)
    (level, said), (level_over, over) = lines(caplog)
    assert (level, level_over) == (logging.WARNING, logging.INFO)
    assert begins in said
    assert remedy in said
    assert ends in over


async def test_rights_that_lack_for_two_operations_are_two_states(caplog: pytest.LogCaptureFixture) -> None:
    made = Guarded()
    made.store.fail(None, lambda operation: BackendError(operation, transient=False, reason="auth"))
    for _ in range(3):
        with pytest.raises(BackendError):
            await made.guard.get_many(["k"])
        with pytest.raises(BackendError):
            await write(made)
    assert ["get_many" in said or "set_many" in said for _, said in lines(caplog)] == [True, True]


async def test_wrong_password_is_no_missing_right(caplog: pytest.LogCaptureFixture) -> None:
    """The store is away for this user: the breaker opens, and its log says so."""
    made = Guarded()
    made.store.fail(None, lambda operation: BackendError(operation, transient=True, reason="auth"))
    for _ in range(10):
        with pytest.raises(BackendError):
            await write(made)
    ((_, said),) = lines(caplog)
    assert "is away (auth)" in said
