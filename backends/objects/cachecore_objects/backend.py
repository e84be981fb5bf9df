"""ObjectBackend: CacheBackend on any store of obstore that can write on a condition, and on a folder of files."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import hashlib
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import HTTPStore, LocalStore

from cachecore.contract import BackendError, BackendUnavailable, Clock, LoopLocal, OptionsError, SystemClock
from cachecore.contract.forks import in_child
from cachecore_objects.errors import translated
from cachecore_objects.records import ENDED, HEAD_BYTES, Record, decode, encode, ends, folder_of, key_of, path_of

T = TypeVar("T")

_TURNS: Final = 16
"""How often a write on a condition is tried against others of one key."""
_LOCKS: Final = 64
_PROBE: Final = "conditional-writes"
_NEVER: Final[Any] = {"e_tag": '"no object has this one"', "version": "1"}
_LAST_WORDS: Final = 0.05
_threads: Final = {"started": False, "lost": False}
"""Of obstore in this process: a forked child has none of its parent's, and waits for them for ever."""
open_folder: Final = functools.partial(LocalStore, mkdir=True, automatic_cleanup=True)
"""A folder in it goes with its last file: each system prompt of an LLM has one."""


class _Found(NamedTuple):
    record: Record | None
    condition: Any
    """As obstore's `mode`: the object is still the one that was read, or still absent."""


class ObjectBackend:
    """CacheBackend in objects of one store, one for each key.

    `store` is obstore's, made and configured by the caller or by `from_url`, or the path of a folder, which the first
    call makes. Deadlines are of this host's clock. A swap is a write on the condition that the object is the one that
    was read; in a folder of files, it locks the key. A forked child can use a backend only if its parent never did.
    """

    def __init__(self, store: Any, *, concurrency: int = 64, clock: Clock | None = None) -> None:
        if isinstance(store, HTTPStore):
            raise OptionsError("a plain HTTP store cannot write on a condition: use s3, gs, az or file")
        if type(concurrency) is not int or concurrency < 1:
            raise OptionsError(f"concurrency must be a whole number of at least 1, not {concurrency!r}")
        self._given = store
        self._locks: Path | None = None
        if isinstance(store, LocalStore | Path):
            if os.name == "nt":
                raise OptionsError("file:// needs locks of files that Windows does not have: use sqlite:// there")
            self._locks = (store if isinstance(store, Path) else Path(str(store.prefix))) / ".locks"
        self._clock, self._concurrency = clock or SystemClock(), concurrency
        self._slots: LoopLocal[asyncio.Semaphore] = LoopLocal()
        self._writes: set[asyncio.Task[Any]] = set()
        self._closed, self._proved = False, self._locks is not None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`: a request for each, at most `concurrency` at once."""
        unique = dict.fromkeys(keys)
        found = dict(zip(unique, await self._each("get_many", self._read, unique), strict=True))
        return [None if (record := found[key].record) is None else record.value for key in keys]

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key, one request for each; it lives `ttl` seconds of this host's clock."""
        deadline = self._deadline(ttl)

        async def put(key: str) -> None:
            async with self._locked(key):
                await self._put(key, Record(items[key], deadline), "overwrite")

        await self._each("set_many", put, items, write=True)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many were alive: two requests for each."""

        async def delete(key: str) -> bool:
            async with self._locked(key):
                alive = await self._alive(path_of(key))
                if alive is not None:
                    with contextlib.suppress(FileNotFoundError):
                        await obstore.delete_async(self._store, path_of(key))
                return bool(alive)

        return sum(await self._each("delete_many", delete, dict.fromkeys(keys), write=True))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Set the value to `new` if it is `old` now; return whether it was: a read, and a write on a condition."""
        deadline = self._deadline(ttl)

        def change(found: Record | None) -> Record | bool:
            if (None if found is None else found.value) != old:
                return False
            return Record(new, deadline) if new is not None else old is None or Record(b"", ENDED)

        return (await self._each("swap", lambda key: self._change(key, change), [key], write=True))[0]

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it."""
        deadline = self._deadline(ttl)

        async def extend(key: str) -> bool:
            def change(found: Record | None) -> Record | bool:
                if found is None or found.value != items[key]:
                    return False
                return True if found.deadline >= deadline else Record(found.value, deadline)

            return await self._change(key, change)

        return await self._each("extend", extend, items, write=True)

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`: a listing of its folder, and a small read for each object."""
        folder = folder_of(prefix.rpartition(":")[0]) if ":" in prefix else None
        async for page in self._listed("scan", folder):
            keys = [key for path in page if (key := key_of(path)) is not None and key.startswith(prefix)]
            alive = await self._each("scan", lambda key: self._alive(path_of(key)), keys)
            if found := [key for key, lives in zip(keys, alive, strict=True) if lives]:
                yield found

    async def prune(self) -> int:
        """Delete every object with an expired value, and return how many: for folders, which have no lifecycle rule."""

        async def prune(key: str) -> bool:
            async with self._locked(key):
                found = await self._alive(path_of(key))
                if found is False:
                    with contextlib.suppress(FileNotFoundError):
                        await obstore.delete_async(self._store, path_of(key))
                return found is False

        deleted = 0
        async for page in self._listed("prune", None):
            keys = [key for path in page if (key := key_of(path)) is not None]
            deleted += sum(await self._each("prune", prune, keys, write=True))
        return deleted

    def absence(self) -> str | None:
        """Return why there is no cache in the folder, in words for people; None if there is one. Makes nothing."""
        absent = self._locks is not None and not self._locks.parent.is_dir()
        return "there is no such folder; the first call makes it" if absent else None

    async def about(self, prefix: str) -> Mapping[str, Mapping[str, str]]:
        """Return the kind and abilities of the store, in words. Writes no object."""
        swap = "a lock of each key's file" if self._locks else "writes on a condition"
        proved = "" if self._locks else ", proved" if self._proved else ", to be proved by the first one"
        facts = {"swap": swap + proved, "feed": "none: copies in memory live for l1_max_age only"}
        return {type(self._store).__name__: {**facts, "expiry": "by its own records; see docs/objects.md for a rule"}}

    async def aclose(self) -> None:
        """Let writes under way end, and refuse later calls. Idempotent."""
        self._closed = True
        here = [task for task in self._writes if task.get_loop() is asyncio.get_running_loop()]
        await asyncio.gather(*here, return_exceptions=True)

    def _deadline(self, ttl: float | None) -> float:
        return math.inf if ttl is None else self._clock.time() + ttl

    async def _each(
        self, operation: str, call: Callable[[str], Awaitable[T]], keys: Iterable[str], *, write: bool = False
    ) -> list[T]:
        """Return the results of `call` for each key, at most `concurrency` of them at once. Raises `BackendError`."""
        self._check(operation)
        slots = self._slots.get(asyncio.get_running_loop())
        if slots is None:
            slots = asyncio.Semaphore(self._concurrency)
            self._slots.set(asyncio.get_running_loop(), slots)

        async def one(key: str) -> T:
            async with slots:
                with translated(operation):
                    return await call(key)

        tasks = [asyncio.ensure_future(one(key)) for key in keys]
        if write:  # goes on to its end even if its caller leaves: another may follow under the same lock
            self._writes.update(tasks)
            for task in tasks:
                task.add_done_callback(self._writes.discard)
            written = asyncio.gather(*tasks)
            written.add_done_callback(lambda done: done.cancelled() or done.exception())  # retrieved
            return list(await asyncio.shield(written))
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    @functools.cached_property
    def _store(self) -> Any:
        with translated("open"):
            return open_folder(self._given) if isinstance(self._given, Path) else self._given

    def _check(self, operation: str) -> None:
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")
        if _threads["lost"]:
            raise BackendUnavailable(operation, transient=False, reason="forked")
        _threads["started"] = True

    async def _read(self, key: str) -> _Found:
        try:
            answer = await obstore.get_async(self._store, path_of(key))
            data = bytes(await answer.bytes_async())
        except FileNotFoundError:
            return _Found(None, "create")
        record = decode(key, data)
        alive = record is not None and record.deadline > self._clock.time()
        known: dict[str, Any] = dict(answer.meta)
        condition = {name: known[name] for name in ("e_tag", "version") if known.get(name)}
        return _Found(record if alive else None, condition)

    async def _alive(self, path: str) -> bool | None:
        """Return whether the object at `path` is a live record; None if there is no object."""
        try:
            head = await obstore.get_range_async(self._store, path, start=0, length=HEAD_BYTES)
        except FileNotFoundError:
            return None
        return (ends(bytes(head)) or ENDED) > self._clock.time()

    async def _put(self, key: str, record: Record, mode: Any) -> None:
        await obstore.put_async(self._store, path_of(key), encode(key, record), mode=mode, use_multipart=False)

    async def _change(self, key: str, change: Callable[[Record | None], Record | bool]) -> bool:
        """Replace the record of `key` by `change(record)`, in one step; a bool is an answer without a write."""
        async with self._locked(key):
            for _ in range(_TURNS):
                found, _ = await asyncio.gather(self._read(key), self._prove())
                changed = change(found.record)
                if isinstance(changed, bool):
                    return changed
                try:
                    await self._put(key, changed, "overwrite" if self._locks else found.condition)
                except (AlreadyExistsError, PreconditionError):
                    continue  # another write came between
                return True
        raise BackendError("swap", transient=True, reason="conflict")

    async def _prove(self) -> None:
        """Refuse a store that takes a write with an untrue condition: without conditions there is no swap."""
        if self._proved:
            return
        for _ in range(2):  # the first may make the object
            try:
                await obstore.put_async(self._store, _PROBE, b"?", mode="create", use_multipart=False)
            except AlreadyExistsError:
                try:
                    await obstore.put_async(self._store, _PROBE, b"?", mode=_NEVER)
                except PreconditionError:
                    self._proved = True
                    return
                break
        raise BackendError("swap", transient=False, reason="no_swap")

    @contextlib.asynccontextmanager
    async def _locked(self, key: str) -> AsyncIterator[None]:
        """Keep other processes of this machine from writing `key` meanwhile, in a folder; elsewhere nothing."""
        if self._locks is None:
            yield
            return
        import fcntl

        self._locks.mkdir(parents=True, exist_ok=True)
        number = hashlib.blake2b(key.encode(), digest_size=8).digest()[0] % _LOCKS
        descriptor = os.open(self._locks / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    async def _listed(self, operation: str, folder: str | None) -> AsyncIterator[list[str]]:
        self._check(operation)
        # What is done with a page is a round trip or two: a batch of any size would miss the deadline of a call.
        pages = obstore.list(self._store, prefix=folder, chunk_size=self._concurrency)
        while True:
            with translated(operation):
                page = await anext(aiter(pages), None)
            if page is None:
                return
            yield [found["path"] for found in page]


in_child(lambda: _threads.update(lost=_threads["started"]))
# A thread of obstore takes the interpreter's lock once more after it has handed over an answer. An interpreter that has
# ended by then lets it abort the whole process, which a busy machine shows by an exit status of 134.
atexit.register(lambda: time.sleep(_LAST_WORDS if _threads["started"] and not _threads["lost"] else 0.0))
