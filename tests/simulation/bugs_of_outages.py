"""Bugs of invalidations while the store is away, each put back by a patch."""

from __future__ import annotations

import pytest

from cachecore.engine import ending
from cachecore.engine.engine import Engine
from cachecore.invalidation.outbox.backlog import Backlog
from cachecore.invalidation.outbox.outbox import Outbox
from cachecore.invalidation.rewind import Marks
from tests.simulation import checks
from tests.simulation.bugs import bug


@bug("all peers: an invalidation during an outage is lost")
def pending_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "_add", lambda self, items: None)


@bug("bounded queues everywhere: what does not fit is dropped")
def overflow_dropped(patch: pytest.MonkeyPatch) -> None:
    def drop(self: Backlog) -> bool:
        del self.items[next(iter(self.items))]
        return True

    patch.setattr(Backlog, "_collapse", drop)


@bug("all peers: what a failover has undone stays undone")
def not_sent_again_after_a_failover(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "send_again", lambda self: None)
    patch.setattr(Outbox, "lost", lambda self, items: None)
    patch.setattr(Marks, "judge", lambda self, marks, values, spawn: True)


@bug(
    "all peers: a store that is restored from a snapshot serves what was invalidated since",
    checks.restored_snapshot_brings_nothing_back,
)
def mark_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Marks, "judge", lambda self, marks, values, spawn: True)


@bug("FusionCache auto-recovery: reads trust a store that has yet to hear of what pends")
def pending_not_heeded(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "covers", lambda self, key, names, asked_at: False)
    patch.setattr(Outbox, "withholds", lambda self, name: False)


@bug("many: closing leaves tasks behind")
def background_work_left_over(patch: pytest.MonkeyPatch) -> None:
    async def leave(engine: Engine) -> None:
        engine.closed = True

    patch.setattr(ending, "close", leave)
