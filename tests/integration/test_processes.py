"""Real processes on a real store: one computation for all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .children import children

ASKER = "tests.integration.asker"


async def _one_call_in_four_processes(url: str) -> None:
    async with children(4, ASKER, url, "200", "0.5", "30") as processes:
        for child in processes:
            await child.until("ready")
        for child in processes:
            child.go()
        results = await asyncio.gather(*(child.result() for child in processes))
    assert [result["answers"] for result in results] == [["answer"]] * 4
    assert sum(result["calls"] for result in results) == 1


async def test_two_hundred_callers_in_four_processes_are_one_call(redis_url: str) -> None:
    await _one_call_in_four_processes(redis_url)


async def test_processes_that_share_a_file_share_a_computation(tmp_path: Path) -> None:
    await _one_call_in_four_processes(f"sqlite:///{tmp_path / 'cache.db'}?timeout=5s")


@pytest.mark.parametrize("waiting", [3])
async def test_killed_holder_costs_one_more_call(redis_url: str, waiting: int) -> None:
    """The holder gets SIGKILL while it computes; of those who wait one computes, and the others wait for it."""
    async with children(1 + waiting, ASKER, redis_url, "25", "0.5", "1") as processes:
        for child in processes:
            await child.until("ready")
        holder, *others = processes
        holder.go()
        await holder.until("computing")
        for child in others:
            child.go()
        loop = asyncio.get_running_loop()
        killed_at = loop.time()
        holder.process.kill()
        results = await asyncio.gather(*(child.result() for child in others))
        took = loop.time() - killed_at
    assert [result["answers"] for result in results] == [["answer"]] * waiting
    assert sum(result["calls"] for result in results) == 1
    assert took < 120  # a lease and a computation; that it is not `factory_timeout` is what counts
