"""A Postgres server of the tests' own, from the programs that this machine has, and a pgbouncer before it."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from cachecore.testing.servers import Certificates, free_port, give_back

PASSWORD = "pass/word"
_PATIENCE = 60.0
"""Seconds that a server has to start or to end."""
_QUICK = {  # a server that lives for a test run has nothing to lose
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "128MB",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum_naptime": "5s",
    "log_min_messages": "fatal",
}


def program(name: str) -> str | None:
    """Return the path of a program of Postgres; Debian keeps each version's in a folder of its own."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, reversed(folders)), "/usr/sbin"])
    return shutil.which(name, path=path)


def missing() -> str:
    """Return why no server can be started here; empty if one can."""
    return "" if program("initdb") and program("postgres") else "Postgres (initdb, postgres) is not installed"


def _as_user() -> dict[str, Any]:
    """Return for `subprocess` a user that Postgres accepts: it refuses root."""
    if os.geteuid():
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    found = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def make_folder() -> Path:
    """Return a new folder that belongs to the server's user."""
    folder = Path(tempfile.mkdtemp(prefix="cachecore-postgres-"))
    user = _as_user()
    if user:
        os.chown(folder, user["user"], user["group"])
    return folder


def wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once something listens at `port`."""
    limit = time.monotonic() + _PATIENCE
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)  # the server's own start has no signal to wait for
        else:
            return
    raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")


@functools.cache
def _template() -> Path:
    """Return a folder with data and certificates as `initdb` makes them; it goes with the process."""
    folder = make_folder()
    atexit.register(_remove, folder, os.getpid())
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    command = [program("initdb") or "", "-D", str(folder / "data"), "-U", "owner", "-A", "scram-sha-256"]
    command += [
        "--pwfile",
        str(secret),
        "--no-sync",
        "--no-instructions",
        "--wal-segsize=1",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, **_as_user())
    assert done.returncode == 0, done.stderr
    made = Certificates(folder)
    user = _as_user()
    for file in folder.glob("*.*"):
        file.chmod(0o600)
        if user:
            os.chown(file, user["user"], user["group"])
    made.certificate.with_name("ca.pem").chmod(0o644)
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child leaves it
        shutil.rmtree(folder, ignore_errors=True)


class Server:
    """A server on a free port of 127.0.0.1, with its data in a folder of its own; a context manager."""

    def __init__(self, settings: dict[str, str] | None = None, folder: Path | None = None) -> None:
        self.folder = folder or make_folder()
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.port = free_port()
        self.settings = _QUICK | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", query: str = "", user: str = "owner") -> str:
        """Return the address of a database, as a superuser unless `user` is another; TLS only if `query` says so."""
        tls = "" if "sslmode" in query else "sslmode=disable&"
        return f"postgres://{user}:pass%2Fword@127.0.0.1:{self.port}/{database}?{tls}{query}"

    @property
    def verified(self) -> str:
        """Return the query that asks for TLS and checks the server's certificate."""
        return f"sslmode=verify-full&sslrootcert={self.folder / 'ca.pem'}"

    @property
    def pid(self) -> int:
        """Return the process that started the others."""
        assert self._process is not None
        return self._process.pid

    def initialise(self) -> None:
        """Make the data folder: a copy of one that this process has made before, which takes a tenth of the time."""
        template = _template()
        copying = ["cp", "-Rp", *(str(template / name) for name in ("data", "ca.pem", "server.pem", "server.key"))]
        subprocess.run([*copying, str(self.folder)], check=True, cwd=self.folder, **_as_user())

    def start(self) -> None:
        """Start it, and return once it listens."""
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        for name, file in (("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")):
            options += ["-c", f"{name}={self.folder / file}"]
        options += ["-c", "ssl=on"]
        command = [program("postgres") or "", "-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "-k", str(self.folder), *options], stdout=log, stderr=log, cwd=self.folder, **_as_user()
            )
        wait_for_port(self.port, self._process, self.log)
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        limit = time.monotonic() + _PATIENCE
        while True:  # a server that listens may still be starting, or replaying its log
            try:
                psycopg.connect(self.url()).close()
            except psycopg.OperationalError:
                if time.monotonic() > limit:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop it: `SIGINT` at once and in order, `SIGQUIT` as a crash, `SIGKILL` for the first process alone."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_PATIENCE)
            self._process = None

    def signal_all(self, how: int) -> None:
        """Send a signal to every process of the server; each is a process group of its own."""
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(status.read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):  # it has ended
                continue
            if parent == self.pid:
                os.kill(int(status.parent.name), how)
        os.kill(self.pid, how)

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Return the rows of a statement of the superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop(signal.SIGQUIT)
        give_back(self.port)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.initialise()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Bouncer:
    """pgbouncer in transaction mode before a server; a context manager."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.folder = make_folder()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database behind it."""
        return f"postgres://owner:pass%2Fword@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        users, settings, log = self.folder / "users", self.folder / "settings", self.folder / "log"
        users.write_text(f'"owner" "{PASSWORD}"\n')
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={self.server.port}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
            f"listen_port={self.port}\nauth_type=scram-sha-256\nauth_file={users}\npool_mode=transaction\n"
            f"unix_socket_dir={self.folder}\ndefault_pool_size=3\n"
        )
        log.touch()
        for file in (users, settings, log):
            file.chmod(0o666)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [program("pgbouncer") or "", str(settings)], stdout=out, stderr=out, cwd=self.folder, **_as_user()
            )
        wait_for_port(self.port, self._process, log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(_PATIENCE)
        give_back(self.port)
        shutil.rmtree(self.folder, ignore_errors=True)


_MOVED_CLOCK = """
CREATE SCHEMA moved;
CREATE TABLE moved.clock (ahead interval NOT NULL);
INSERT INTO moved.clock VALUES ('0');
CREATE FUNCTION moved.now() RETURNS timestamptz STABLE LANGUAGE sql
    AS 'SELECT pg_catalog.now() + ahead FROM moved.clock';
CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql
    AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM moved.clock';
ALTER DATABASE moved SET search_path = moved, pg_catalog;
"""


def make_moved_database(server: Server) -> None:
    """Make the database `moved`: its functions `now` and `clock_timestamp` run ahead by what `moved.clock` says."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE moved")
    with psycopg.connect(server.url("moved"), autocommit=True) as connection:
        connection.execute(_MOVED_CLOCK)
