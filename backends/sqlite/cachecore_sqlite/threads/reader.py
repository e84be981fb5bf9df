"""The threads that read. On a full disk or in a read-only folder they read without the files SQLite would create."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from cachecore.contract import Clock
from cachecore_sqlite.file.database import Database, Fingerprint
from cachecore_sqlite.file.errors import concerns_one_call, is_busy, lacks_space
from cachecore_sqlite.file.locks import PAUSES, FolderRemovedError
from cachecore_sqlite.table import rows
from cachecore_sqlite.threads.jobs import Job, JobQueue, answer
from cachecore_sqlite.threads.worker import Worker

_REOPEN_SECONDS: Final = 0.25


class Reader(Worker):
    """One reading thread; all readers of a backend share one queue."""

    def __init__(
        self,
        name: str,
        database: Database,
        clock: Clock,
        jobs: JobQueue,
        repair: Callable[[list[str]], None],
        check: Callable[[], None],
        tend: Callable[[], None],
    ) -> None:
        super().__init__(name, database, clock, jobs)
        self._repair = repair
        self._check = check
        self._tend = tend
        self._fingerprint: Fingerprint | None = None  # of the file while it is read without locks
        self._reopen_at = 0.0  # monotonic s; try a usual connection again then

    def work(self, waiting: deque[Job]) -> None:
        """Answer all jobs of `waiting`; `get_many` jobs share statements."""
        jobs = list(waiting)
        waiting.clear()
        self._work(jobs)
        self._tend()  # after the answers: it may open a connection

    def _work(self, jobs: list[Job]) -> None:
        while True:
            try:
                self._attempt(jobs)
            except Exception as error:  # noqa: BLE001 - each caller gets it, and a bug must not end the thread
                opened = self.opened_at or 0.0  # the time for locks of a job that waited for the file begins here
                if is_busy(error) and time.monotonic() < min(max(job.limit, opened + job.timeout) for job in jobs):
                    time.sleep(PAUSES[-1])
                    continue
                if concerns_one_call(error) and not isinstance(error, OSError) and len(jobs) > 1:
                    for job in jobs:  # one at a time, so that only the faulty job fails
                        self._work([job])
                    return
                self.fail(jobs, error)
            else:
                self._check()
                answer(jobs)
            return

    def connection(self) -> sqlite3.Connection:
        """Return the connection; a read-only one without locks where SQLite cannot create its files."""
        if self._fingerprint is not None and (
            time.monotonic() > self._reopen_at or self.database.fingerprint() != self._fingerprint
        ):
            self.close()
        try:
            return self._connection if self._fingerprint and self._connection else super().connection()
        except sqlite3.Error as error:
            immutable = self.database.connect_immutable() if lacks_space(error) else None
            if immutable is None:
                raise
            self._connection, self._fingerprint = immutable
            self._reopen_at = time.monotonic() + _REOPEN_SECONDS
            return self._connection

    def close(self) -> None:
        """Close the connection, of either kind."""
        super().close()
        self._fingerprint = None

    def _attempt(self, jobs: list[Job]) -> None:
        while True:
            try:
                connection = self.connection()
            except FolderRemovedError:  # the folder was removed: there is nothing, until something is written
                with contextlib.closing(self.database.empty()) as connection:
                    self._answer(connection, jobs)
                return
            self._answer(connection, jobs)
            if self._fingerprint is None or self.database.fingerprint() == self._fingerprint:
                return
            self.close()  # the file changed during the read, so the values may be half old and half new

    def _answer(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        gets = [job for job in jobs if job.operation == "get_many"]
        if gets:
            self._read(connection, gets)
        for job in jobs:
            if job.operation != "get_many":
                job.result = job.call(connection, self.clock.time())

    def _read(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        keys = jobs[0].arguments[0] if len(jobs) == 1 else [key for job in jobs for key in job.arguments[0]]
        result = rows.read(connection, list(dict.fromkeys(keys)), self.clock.time())
        if result.damaged:
            self._repair(result.damaged)
        get = result.values.get
        for job in jobs:
            job.result = [get(key) for key in job.arguments[0]]
