"""Programs for other processes of these tests; each function runs in its own process and answers through a pipe."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - a child without rights cannot import it any more
import contextlib
import multiprocessing
import os
import random
import resource
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from cachecore.contract import BackendError
from cachecore_sqlite import SQLiteBackend, SQLiteOptions

KEYS = 150

# A server that forks from a clean process: children start in milliseconds and inherit no threads.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


@contextlib.contextmanager
def running(program: Callable[..., None], *arguments: Any) -> Iterator[tuple[ForkServerProcess, Connection]]:
    """Run `program(pipe, *arguments)` in another process; it is killed at the end, if it still runs."""
    ours, theirs = _context.Pipe()
    process = _context.Process(target=program, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()


def value_of(key: str, number: int) -> bytes:
    """Return the value of write `number` to `key`; sizes differ, and no two writes have the same value."""
    chance = random.Random(f"{key}/{number}")
    return f"{key}/{number}/".encode() + chance.randbytes(chance.choice((0, 40, 900, 1800, 6000, 40_000)))


def write_until_killed(pipe: Connection, path: str, name: str, start: int, durability: str) -> None:
    """Set and delete keys of its own; send the plan of each round before it, and None when it is acknowledged."""

    async def main() -> None:
        backend = SQLiteBackend(path, options=SQLiteOptions(timeout=20.0, durability=durability))  # type: ignore[arg-type]  # checked at run time
        chance = random.Random(f"{name}{start}")
        number = start
        while True:
            plan: dict[str, int | None] = {}
            for _ in range(chance.randint(1, 12)):
                number += 1
                plan[f"{name}:{chance.randrange(KEYS)}"] = None if chance.random() < 0.2 else number
            pipe.send(plan)
            await asyncio.gather(
                *(
                    backend.delete_many([key])
                    if made is None
                    else backend.set_many({key: value_of(key, made)}, ttl=3600)
                    for key, made in plan.items()
                )
            )
            pipe.send(None)

    asyncio.run(main())


def hold_lock(pipe: Connection, path: str, kind: str) -> None:
    """Lock the file until a message comes: `write` locks writers out, `all` readers and openers too."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    if kind == "all":
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("INSERT INTO changes(keys) VALUES ('')")
    pipe.send("locked")
    pipe.recv()
    connection.rollback()
    connection.close()
    pipe.send("released")


def keep_open(pipe: Connection, path: str) -> None:
    """Keep the file open as another program, which reads and waits."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.execute("SELECT count(*) FROM mark").fetchone()
    pipe.send("open")
    pipe.recv()


def write_much(pipe: Connection, path: str, name: str, count: int) -> None:
    """Write keys one by one and in fours; send the number of errors."""

    async def main() -> int:
        # Patient, because a busy machine may put the holder of the lock to sleep for longer than the usual deadline.
        backend = SQLiteBackend(path, options=SQLiteOptions(timeout=20.0))
        errors = 0
        for number in range(count):
            calls = [
                backend.set_many({f"{name}:{number}:{i}": value_of(name, number)}, ttl=60)
                for i in range(4 if number % 2 else 1)
            ]
            results = await asyncio.gather(*calls, return_exceptions=True)
            errors += sum(result is not None for result in results)
        await backend.aclose()
        return errors

    pipe.recv()
    pipe.send(asyncio.run(main()))


def count_up(pipe: Connection, path: str, key: str, count: int) -> None:
    """Add one to a number `count` times by swap."""

    async def main() -> None:
        backend = SQLiteBackend(path, options=SQLiteOptions(timeout=20.0))
        for _ in range(count):
            while True:
                (old,) = await backend.get_many([key])
                new = b"%d" % (int(old or b"0") + 1)
                if await backend.swap(key, old, new, ttl=None):
                    break
        await backend.aclose()

    pipe.recv()
    asyncio.run(main())
    pipe.send("done")


def run_out_of_room(pipe: Connection, path: str, limit: int) -> None:
    """Write under a limit on the size of files; send the reasons of errors, then continue without the limit."""

    async def main() -> None:
        backend = SQLiteBackend(path)
        value = bytes(range(256)) * 16
        await backend.set_many({"before": b"kept"}, ttl=60)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        reasons, wrong, stored = [], 0, {"before"}
        for number in range(1500):
            try:
                await backend.set_many({f"k{number}": value}, ttl=60)
                stored.add(f"k{number}")
            except BackendError as error:
                reasons.append(error.reason)
            (before,) = await backend.get_many(["before"])
            wrong += before != b"kept"
            if len(reasons) > 20:
                break
        wrong += sum(found is None for found in await backend.get_many(sorted(stored)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await backend.set_many({"after": b"room"}, ttl=60)
        (after,) = await backend.get_many(["after"])
        await backend.aclose()
        pipe.send((reasons, wrong, after))

    asyncio.run(main())


def read_only_folder(pipe: Connection, path: str) -> None:
    """Read and write as a user with read permission only.

    Send the values, the reason of the error, and the names in the folder.
    """

    async def main() -> None:
        backend = SQLiteBackend(path)
        found = await backend.get_many(["k", "none"])
        try:
            await backend.set_many({"k": b"new"}, ttl=60)
        except BackendError as error:
            reason = error.reason
        else:
            reason = "it was written"
        await backend.aclose()
        pipe.send((found, reason, sorted(os.listdir(os.path.dirname(path)))))

    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    asyncio.run(main())


def fill_folder(ballast: Path) -> None:
    """Fill the disk of `ballast` to the last byte."""
    with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def write_and_wait(pipe: Connection, path: str, keys: list[str]) -> None:
    """Write three generations of `keys` and wait to be killed, with all of it in the log."""

    async def main() -> None:
        backend = SQLiteBackend(path)
        for generation in range(3):
            for start in range(0, len(keys), 20):
                chunk = keys[start : start + 20]
                await backend.set_many({key: value_of(key, generation) for key in chunk}, ttl=3600)
        await backend.set_many({"last": bytes(60_000)}, ttl=60)
        pipe.send("written")
        pipe.recv()

    asyncio.run(main())


def fork_many(pipe: Connection, path: str, forks: int) -> None:
    """Fork during traffic; parent and children read and write.

    Send the number of reads of the children, and the number of wrong ones of all.
    """
    backend = SQLiteBackend(path, options=SQLiteOptions(timeout=20.0))
    keys = {f"k{number}": value_of(f"k{number}", 1) for number in range(50)}
    reads = wrong = 0

    async def read(count: int) -> int:
        bad = 0
        for _ in range(count):
            found = await backend.get_many(list(keys))
            bad += found != list(keys.values())
        return bad

    async def child(number: int) -> int:
        await backend.set_many({f"child{number}": b"was here"}, ttl=60)
        return await read(100)

    async def parent() -> None:
        nonlocal reads, wrong
        await backend.set_many(keys, ttl=600)
        traffic = [asyncio.ensure_future(_keep_writing(backend, name)) for name in "ab"]
        for number in range(forks):
            await asyncio.sleep(0.002)
            pid = os.fork()
            if not pid:
                code = 99
                try:
                    # The parent's event loop is unusable here: run one in a new thread.
                    with ThreadPoolExecutor(1) as pool:
                        code = pool.submit(asyncio.run, child(number)).result()
                finally:
                    os._exit(code)
            wrong += await read(20)
            _, status = await asyncio.to_thread(os.waitpid, pid, 0)
            wrong += os.waitstatus_to_exitcode(status)
            reads += 100
            (mark,) = await backend.get_many([f"child{number}"])
            wrong += mark != b"was here"
        for task in traffic:
            task.cancel()
            (end,) = await asyncio.gather(task, return_exceptions=True)
            wrong += not isinstance(end, asyncio.CancelledError)
        await backend.aclose()

    asyncio.run(parent())
    pipe.send((reads, wrong))


async def _keep_writing(backend: SQLiteBackend, name: str) -> None:
    number = 0
    while True:
        number += 1
        await backend.set_many({f"{name}{number % 20}": value_of(name, number)}, ttl=60)


def write_when_told(pipe: Connection, path: str) -> None:
    """Write each key that comes through the pipe."""

    async def main() -> None:
        backend = SQLiteBackend(path, options=SQLiteOptions(timeout=20.0))
        while True:
            await backend.set_many({await asyncio.to_thread(pipe.recv): b"v"}, ttl=60)

    with contextlib.suppress(EOFError):
        asyncio.run(main())


def call_when_told(pipe: Connection, path: str) -> None:
    """Make each call that comes through the pipe; send its result, or the reason of its error."""

    async def main() -> None:
        # Patient, because a disk or a core may be slow here.
        backend = SQLiteBackend(path, options=SQLiteOptions(timeout=2.0))
        while True:
            name, arguments, keywords = await asyncio.to_thread(pipe.recv)
            try:
                found = await getattr(backend, name)(*arguments, **keywords)
            except BackendError as error:
                found = error.reason
            pipe.send(found)

    with contextlib.suppress(EOFError):
        asyncio.run(main())
