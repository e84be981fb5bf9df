"""Functions that run in processes of their own and talk through a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
from collections.abc import AsyncIterator, Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

# A server that forks from a clean process: children start in milliseconds and inherit no threads.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.members"])


async def told(pipe: Connection, seconds: float = 60) -> Any:
    """Return the next message; the loop goes on meanwhile. Raises EOFError if the other side has ended."""
    await arrived(pipe, seconds)
    return pipe.recv()


async def arrived(pipe: Connection, seconds: float = 60) -> None:
    """Return once there is something to receive."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(pipe.fileno(), ready.set)
    try:
        async with asyncio.timeout(seconds):
            while not pipe.poll():
                ready.clear()
                await ready.wait()
    finally:
        loop.remove_reader(pipe.fileno())


class Member:
    """One process and the pipe to it."""

    def __init__(self, process: ForkServerProcess, pipe: Connection) -> None:
        self.process = process
        self.pipe = pipe

    def tell(self, message: object) -> None:
        self.pipe.send(message)

    async def told(self, seconds: float = 60) -> Any:
        return await told(self.pipe, seconds)

    async def ask(self, message: object, seconds: float = 60) -> Any:
        self.tell(message)
        return await self.told(seconds)


@contextlib.asynccontextmanager
async def members(program: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> AsyncIterator[list[Member]]:
    """Run `program(pipe, *arguments)` in a process for each tuple of arguments; in the end they are killed."""
    made: list[Member] = []
    try:
        for own in arguments:
            ours, theirs = _context.Pipe()
            process = _context.Process(target=program, args=(theirs, *own), daemon=True)
            process.start()
            theirs.close()
            made.append(Member(process, ours))
        yield made
    finally:
        for member in made:
            member.process.kill()
            member.process.join()
            member.process.close()
            member.pipe.close()
