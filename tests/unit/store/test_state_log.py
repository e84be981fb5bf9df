"""The log of a store that goes away and comes back: each change once, never each call."""

from __future__ import annotations

import asyncio
import logging

import pytest

from cachecore.contract.errors import BackendError, BackendUnavailable
from cachecore.store.state_log import CALM, StateLog
from cachecore.testing.virtual import VirtualClock
from tests.unit.store.guarded import Guarded, until


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "cachecore.store"]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cachecore.store")


async def test_outage_is_two_lines_however_many_ask(caplog: pytest.LogCaptureFixture) -> None:
    """It is away, why, and what to do; it is back, and after how long."""
    made = Guarded()
    made.store.fail(None, lambda operation: BackendUnavailable(operation, reason="refused"))
    for _ in range(500):
        with pytest.raises(BackendError):
            await made.guard.get_many(["k"])
    made.store.heal()
    made.clock.advance(12)
    with pytest.raises(BackendError):
        await made.guard.get_many(["k"])
    await until(lambda: made.guard.states() == {"": "closed"})
    (level, away), (level_back, back) = lines(caplog)
    assert (level, level_back) == (logging.WARNING, logging.INFO)
    assert "FaultyBackend is away (refused)" in away
    assert "check that a server listens" in away
    assert "is back after 12.0 s" in back


def test_store_that_flaps_is_one_line_a_minute_and_its_last_state_is_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()

    async def main() -> None:
        log = StateLog("store", clock.monotonic)
        for _ in range(600):
            log.changed("open", "timeout")
            log.changed("half_open", "timeout")
            await asyncio.sleep(0.25)
            log.changed("closed", "timeout")
            await asyncio.sleep(0.25)
        assert len(lines(caplog)) <= 2 + 600 * 0.5 / CALM
        log.changed("open", "refused")
        await asyncio.sleep(2 * CALM)
        assert "is away (refused)" in lines(caplog)[-1][1]
        log.changed("closed", "refused")
        assert "is back after 120.0 s" in lines(caplog)[-1][1]

    clock.run(main())


def test_outages_with_calm_between_them_are_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = VirtualClock()

    async def main() -> None:
        log = StateLog("store", clock.monotonic)
        for _ in range(3):
            log.changed("open", "dns")
            await asyncio.sleep(5)
            log.changed("closed", "dns")
            await asyncio.sleep(CALM + 1)

    clock.run(main())
    assert [level for level, _ in lines(caplog)] == [logging.WARNING, logging.INFO] * 3
