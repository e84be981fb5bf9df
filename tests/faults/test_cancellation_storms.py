"""C6: callers that are cancelled anywhere, while the process forks and while event loops come and go."""

from __future__ import annotations

from tests.conftest import Record
from tests.faults.callers import sizes
from tests.faults.test_process_life import run

_PATIENT = "?timeout=5s"
"""Two processes that write to one file, or to one server on a busy machine, may wait longer than they do by default."""
_stormed = {"forks": 0, "loops": 0, "calls": 0}


def _note(record: Record, calls: int, **more: int) -> None:
    for name, count in more.items():
        _stormed[name] += count
    _stormed["calls"] += calls
    size = f"{_stormed['calls']:,} calls, {_stormed['forks']} forks, {_stormed['loops']} loops"
    record("C6", "0 wrong, 0 swallowed, 0 left over", met=True, size=size)


@sizes(4, 120)
def test_c6_forks(size: int, store: str, record: Record) -> None:
    """Parent and children storm on one cache object: every value is right, and every child says that all was well."""
    told = run("forks", f"{store}{_PATIENT}", size, seconds=60 + 4 * size, module="storms")
    assert told["problems"] == []
    assert told["waves"] >= size
    assert told["cancelled"] > 5 * told["waves"]
    _note(record, 100 * (told["waves"] + 3 * size), forks=size)


@sizes(10, 400)
def test_c6_event_loops(size: int, store: str, record: Record) -> None:
    """Loops that end over calls, and one in a thread that goes on meanwhile: what nobody cancelled is right."""
    told = run("loops", f"{store}{_PATIENT}", size, seconds=60 + 2 * size, module="storms")
    assert told["problems"] == []
    assert told["waves"] == size
    assert told["waves_in_thread"] > 0
    assert 0 < told["cancelled"] < told["left_over"], "some of the calls left over were done, and others were not"
    assert told["open_sockets"] == 0
    _note(record, 50 * (size + told["waves_in_thread"]) + told["left_over"], loops=size)
