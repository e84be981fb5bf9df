"""Starting the processes of a test and talking to them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0
"""Seconds after which a process that says nothing fails the test."""


class Child:
    """One process that runs a module of the tests."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """Return the next line it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            return (await self.process.stdout.readline()).decode().strip()

    async def until(self, wanted: str) -> None:
        """Wait for a line."""
        while (line := await self.line()) != wanted:
            assert line, f"the process ended without saying {wanted!r}"

    async def result(self) -> dict[str, Any]:
        """Return the object it prints at its end."""
        while not (line := await self.line()).startswith("{"):
            assert line, "the process ended without a result"
        result: dict[str, Any] = json.loads(line)
        return result

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")


@asynccontextmanager
async def children(number: int, *arguments: str) -> AsyncIterator[list[Child]]:
    """Run `number` processes and kill what is left of them."""
    made: list[Child] = []
    try:
        for _ in range(number):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *arguments,
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            made.append(Child(process))
        yield made
    finally:
        for child in made:
            if child.process.returncode is None:
                child.process.kill()
            await child.process.wait()
