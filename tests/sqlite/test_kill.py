"""A process killed while writing loses no acknowledged write, and leaves no file behind."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cachecore_sqlite import SQLiteBackend
from tests.sqlite.children import KEYS, running, value_of, write_until_killed

State = dict[str, int | None]


def _drain(pipe: Connection, acknowledged: State, until: float) -> State:
    """Follow a writer until it is time to kill it; return the plan of its unfinished round."""
    plan: State = {}
    while (left := until - time.monotonic()) > 0 and pipe.poll(left):
        got = pipe.recv()
        if got is None:
            acknowledged.update(plan)
        plan = got or {}
    return plan


def _rest(pipe: Connection, acknowledged: State, plan: State) -> State:
    try:
        while pipe.poll(0):
            got = pipe.recv()
            if got is None:
                acknowledged.update(plan)
            plan = got or {}
    except (EOFError, OSError):
        pass  # killed in the middle of a message
    return plan


async def _rounds(folder: Path, rounds: int, seed: int) -> None:
    """Kill two writers per round at random moments, and compare the store with their acknowledged writes."""
    path = str(folder / "cache.db")
    chance = random.Random(seed)
    acknowledged: State = {}
    for round_ in range(rounds):
        durability = chance.choice(("process", "file", "power"))
        start = round_ * 1_000_000
        with (
            running(write_until_killed, path, "a", start, durability) as (first, from_first),
            running(write_until_killed, path, "b", start, durability) as (second, from_second),
        ):
            until = time.monotonic() + chance.uniform(0.03, 0.25)
            plan = _drain(from_first, acknowledged, until)
            first.kill()
            other = _drain(from_second, acknowledged, time.monotonic() + chance.uniform(0, 0.02))
            second.kill()
            first.join()
            second.join()
            under_way = [
                _rest(from_first, acknowledged, plan),
                _rest(from_second, acknowledged, other),
            ]
        backend = SQLiteBackend(path)
        keys = [f"{name}:{number}" for name in "ab" for number in range(KEYS)]
        found = dict(zip(keys, await backend.get_many(keys), strict=True))
        await backend.aclose()
        for key, value in found.items():
            made = acknowledged.get(key)
            allowed = {None if made is None else value_of(key, made)}
            for unfinished in under_way:
                if key in unfinished:
                    number = unfinished[key]
                    allowed.add(None if number is None else value_of(key, number))
            assert value in allowed, f"round {round_}: {key} was neither the acknowledged value nor the one under way"
            acknowledged[key] = None if value is None else int(value.split(b"/")[1])
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        assert sorted(os.listdir(folder)) == ["cache.db", "cache.db-reserve"]
    assert any(made is not None for made in acknowledged.values())


async def test_killed_writers_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """Fifty rounds of two writers killed at random: 0 wrong, 0 lost, sound, no orphan files."""
    await _rounds(tmp_path, 50, seed=1)


@pytest.mark.soak
async def test_killed_writers_lose_nothing_acknowledged_for_long(tmp_path: Path) -> None:
    """The same, two hundred times."""
    await _rounds(tmp_path, 200, seed=2)
