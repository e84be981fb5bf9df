"""The threads that read. On a full disk or in a read-only folder they read on, without SQLite's own files."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from cachecore.contract.clock import Clock
from cachecore_sqlite.file.database import Database, Frozen
from cachecore_sqlite.file.errors import concerns_one_call, is_busy, lacks_room
from cachecore_sqlite.table import rows
from cachecore_sqlite.worker import PAUSES, Job, Jobs, Worker, answer

_THAW_SECONDS: Final = 0.25


class Reader(Worker):
    """Reads; several share one queue."""

    def __init__(
        self,
        name: str,
        database: Database,
        clock: Clock,
        jobs: Jobs,
        repair: Callable[[list[str]], None],
        check: Callable[[], None],
    ) -> None:
        super().__init__(name, database, clock, jobs)
        self._repair = repair
        self._check = check
        self._frozen: Frozen | None = None  # how the file looked, where it is read without locks
        self._thaw = 0.0  # when (monotonic s) to try to open it properly again

    def work(self, waiting: deque[Job]) -> None:
        """Answer all that wait; reads of single keys share statements."""
        jobs = list(waiting)
        waiting.clear()
        limit = min(job.limit for job in jobs)
        while True:
            try:
                self._attempt(jobs)
            except Exception as error:  # noqa: BLE001 - every caller is told, and a bug must not end the thread
                if is_busy(error) and time.monotonic() < limit:
                    time.sleep(PAUSES[-1])
                    continue
                if concerns_one_call(error) and not isinstance(error, OSError) and len(jobs) > 1:
                    for job in jobs:  # one of them is at fault, and the others need not suffer for it
                        self.work(deque([job]))
                    return
                self.failed(jobs, error)
            else:
                self._check()
                answer(jobs)
            return

    def connection(self) -> sqlite3.Connection:
        """Return the connection, for reading only where SQLite cannot make the files it wants beside the database."""
        if self._frozen is not None and (time.monotonic() > self._thaw or self.database.frozen() != self._frozen):
            self.close()
        try:
            return self._connection if self._frozen and self._connection else super().connection()
        except sqlite3.Error as error:
            found = self.database.connect_frozen() if lacks_room(error) else None
            if found is None:
                raise
            self._connection, self._frozen = found
            self._thaw = time.monotonic() + _THAW_SECONDS
            return self._connection

    def close(self) -> None:
        """Close the connection, of either kind."""
        super().close()
        self._frozen = None

    def _attempt(self, jobs: list[Job]) -> None:
        while True:
            connection = self.connection()
            reads = [job for job in jobs if job.operation == "get_many"]
            if reads:
                self._read(connection, reads)
            for job in jobs:
                if job.operation != "get_many":
                    job.result = job.ask(connection, self.clock.time())
            if self._frozen is None or self.database.frozen() == self._frozen:
                return
            self.close()  # somebody wrote while we read: what we read may be half of each

    def _read(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        keys = jobs[0].ask if len(jobs) == 1 else [key for job in jobs for key in job.ask]
        found = rows.read(connection, list(dict.fromkeys(keys)), self.clock.time())
        if found.damaged:
            self._repair(found.damaged)
        get = found.values.get
        for job in jobs:
            job.result = [get(key) for key in job.ask]
