"""What each call does while a Redis server is sick: a table of faults and calls, of which every cell is tested.

A row is one fault, a column one call; `cells` says what the words mean. Stores of several nodes are in
`test_table_groups`, files in `test_table_sqlite`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from cachecore.testing.proxy import Link, Proxy
from cachecore.testing.servers import Certificates, Server, free_port, speaks_tls
from cachecore_redis import RedisBackend
from cachecore_redis.wire.connection import Connection
from tests.conftest import SERVERS
from tests.faults.callers import PATIENT, until
from tests.faults.cells import Cell, Row, outcomes, row
from tests.faults.kinds import FAULTS, Scene

Fault = Callable[[Scene], AbstractContextManager[object]]

HEALTHY = row(
    reads="served", asks="served", new="stores", sets="works", deletes="works", expire="works", invalidates="works"
)
AWAY = row(
    reads="default",
    asks="computes",
    new="computes",
    sets="not stored",
    deletes="raises",
    expire="raises",
    invalidates="raises",
)
"""Nothing is read and nothing written."""
READ_ONLY = row(
    reads="served",
    asks="served",
    new="computes",
    sets="not stored",
    deletes="raises",
    expire="raises",
    invalidates="raises",
)
"""A server that takes no writes, but answers reads: what it has is served."""
FULL = row(
    reads="served",
    asks="served",
    new="computes",
    sets="not stored",
    deletes="works",
    expire="works",
    invalidates="works",
)
"""There is no room for anything new, and what makes room works."""
WORTHLESS = row(
    reads="default",
    asks="stores",
    new="stores",
    sets="works",
    deletes="finds nothing",
    expire="finds nothing",
    invalidates="works",
)
"""What is stored can't be served, and is replaced."""
NEWER = row(
    reads="default",
    asks="computes",
    new="stores",
    sets="works",
    deletes="finds nothing",
    expire="finds nothing",
    invalidates="works",
    refresh="computes",
)
"""What a newer version wrote is not served; no computation replaces it, and an explicit write does."""
FOREIGN_KEYS = row(
    reads="default",
    asks="computes",
    new="stores",
    sets="works",
    deletes="finds nothing",
    expire="finds nothing",
    invalidates="works",
    refresh="computes",
    invalidate_prefix="finds nothing",
    invalidate_all="finds nothing",
)
"""Lists where entries were: somebody else's. Neither replaced by what is computed nor swept away, but by explicit
writes of just these keys."""
FOREIGN_STAMPS = row(
    reads="default",
    asks="computes",
    new="computes",
    sets="not stored",
    deletes="finds nothing",
    expire="finds nothing",
    invalidates="works",
)
"""Lists where stamps were: nothing can be stored that an invalidation would reach, so nothing is."""


def _rewritten(change: Callable[[bytes], bytes]) -> Fault:
    """Change each entry in the same way."""

    @contextmanager
    def fault(scene: Scene) -> Iterator[None]:
        def write(key: str, value: bytes, admin: Redis) -> None:
            admin.set(key, change(value), keepttl=True)

        scene.rewrite(write)
        yield

    return fault


def _flipped(value: bytes) -> bytes:
    middle = len(value) // 2
    return value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]


@contextmanager
def _moved(scene: Scene) -> Iterator[None]:
    """Put each entry under the next one's key."""
    entries: dict[str, bytes] = {}
    scene.rewrite(lambda key, value, admin: entries.update({key: value}))
    with scene.admin as admin:
        for key, value in zip(entries, [*list(entries.values())[1:], next(iter(entries.values()))], strict=True):
            admin.set(key, value, keepttl=True)
    yield


@contextmanager
def _stamps_of_another_type(scene: Scene) -> Iterator[None]:
    with scene.admin as admin:
        stamps = list(admin.scan_iter("cc:s:*", count=1000))
        for key in stamps:
            admin.delete(key)
            admin.rpush(key, "a list")
        yield
        admin.delete(*stamps)


@contextmanager
def _reset_under_calls(scene: Scene) -> Iterator[None]:
    """Reset each connection instead of letting a reply through."""

    def reset(link: Link, piece: bytes) -> Iterable[tuple[Link, bytes]]:
        link.end(reset=True)
        return []

    scene.link.alter_replies(reset)
    yield
    scene.link.heal()


ROWS: dict[str, tuple[Fault, Row, set[str]]] = {
    # fault: (what makes it, what each call does, the reasons that are counted)
    "refused": (FAULTS["refused"][0], AWAY, {"refused"}),
    "killed": (FAULTS["killed"][0], AWAY, {"reset"}),  # what is before it accepts connections and ends them
    "connections reset while idle": (FAULTS["connections reset"][0], HEALTHY, set()),
    "connections reset under calls": (_reset_under_calls, AWAY, {"reset"}),
    "closed instead of replies": (FAULTS["cut at once"][0], AWAY, {"reset"}),
    "password demanded": (FAULTS["password demanded"][0], AWAY, {"auth"}),
    "rights taken away": (FAULTS["rights taken away"][0], AWAY, {"auth"}),
    "out of clients": (FAULTS["out of clients"][0], AWAY, {"max_clients"}),
    "loading": (FAULTS["loading"][0], AWAY, {"loading"}),
    "busy with a script": (FAULTS["busy with a script"][0], AWAY, {"loading"}),
    "frozen": (FAULTS["frozen"][0], AWAY, {"timeout", "connect_timeout"}),
    "silent network": (FAULTS["silent network"][0], AWAY, {"timeout", "connect_timeout"}),
    "half-open connections": (FAULTS["half-open connections"][0], AWAY, {"timeout"}),
    "garbage for replies": (FAULTS["garbage for replies"][0], AWAY, {"protocol"}),
    "writes paused": (FAULTS["writes paused"][0], READ_ONLY, {"timeout"}),
    "read only": (FAULTS["read only"][0], READ_ONLY, {"readonly"}),
    "replica without primary": (FAULTS["replica without primary"][0], AWAY, {"readonly"}),
    "full": (FAULTS["full"][0], FULL, {"full"}),
    "unable to save": (FAULTS["unable to save"][0], READ_ONLY, {"full"}),
    "flipped bit": (_rewritten(_flipped), WORTHLESS, {"checksum"}),
    "cut entries": (_rewritten(lambda value: value[:20]), WORTHLESS, {"length"}),
    "foreign text": (FAULTS["foreign text"][0], WORTHLESS, {"magic"}),
    "newer versions": (FAULTS["newer versions"][0], NEWER, {"version"}),
    "entries under each other's keys": (_moved, WORTHLESS, {"key"}),
    "keys of another type": (FAULTS["keys of another type"][0], FOREIGN_KEYS, {"wrongtype"}),
    "stamps lost": (FAULTS["stamps lost"][0], WORTHLESS, set()),
    "stamps that are not stamps": (FAULTS["stamps that are not stamps"][0], WORTHLESS, set()),
    "stamps of another type": (_stamps_of_another_type, FOREIGN_STAMPS, set()),
}
CLOSES = frozenset(
    {"refused", "killed", "connections reset while idle", "password demanded", "out of clients", "loading"}
)
"""Faults that begin with the end of every connection: the calls are made once it was heard of."""


def _connections(cells: list[Cell]) -> list[Connection]:
    backends = [cell.cache._engine.raw for cell in cells]
    connections = [backend._nodes.get("test").main.current for backend in backends if isinstance(backend, RedisBackend)]
    return [connection for connection in connections if connection is not None]


@pytest.mark.parametrize("name", ROWS)
async def test_row(name: str, any_server: Server, link: Proxy) -> None:
    """Each call does exactly what the table says, for the reason that the fault is."""
    fault, wanted, reasons = ROWS[name]
    before: list[Connection] = []

    def begin(cells: list[Cell]) -> AbstractContextManager[object]:
        before.extend(_connections(cells))
        return fault(Scene(any_server, link, random.Random(1)))

    async def settled() -> None:
        assert len(before) == len(wanted)
        if name in CLOSES:
            await until(lambda: not any(connection.alive for connection in before))

    # Where nothing is silent, what a busy machine delays is waited for.
    patient = {} if reasons & {"timeout", "connect_timeout"} else PATIENT
    seen = await outcomes(link.url, wanted, begin, settled=settled, **patient)
    assert seen.did == wanted
    # Whether another connection was tried before the store was well again is a matter of time.
    assert seen.reasons in (reasons, reasons - {"connect_timeout"})


UNREACHABLE = {
    # address: the reasons that are counted
    "DNS failure": ("redis://no-such-host.invalid:6379/0", {"dns"}),
    "nobody listens": (f"redis://127.0.0.1:{free_port()}/0", {"refused"}),
    "no such socket": ("unix:///no/such/socket", {"refused"}),
    "no password": ("redis://127.0.0.1:{port}/0", {"auth"}),
    "wrong password": ("redis://:wrong@127.0.0.1:{port}/0", {"auth"}),
    "no such user": ("redis://nobody:wrong@127.0.0.1:{port}/0", {"auth"}),
    "plain server asked for TLS": ("rediss://127.0.0.1:{port}/0", {"connect_timeout"}),  # each waits for the other
}


@pytest.mark.parametrize("name", UNREACHABLE)
async def test_store_that_was_never_reached(name: str, any_server: Server) -> None:
    url, reasons = UNREACHABLE[name]
    with Redis(unix_socket_path=str(any_server.socket_path)) as admin:
        admin.config_set("requirepass", "right")
    patient: dict[str, Any] = {} if "connect_timeout" in reasons else {"connect_timeout": 30, "backend_timeout": 30}
    url = url.format(port=any_server.port)
    seen = await outcomes(url, AWAY, lambda cells: nullcontext(), heals=False, **patient)
    assert seen.did == AWAY
    assert seen.reasons == reasons


async def test_certificate_error(tmp_path: Path) -> None:
    """A server whose certificate nobody vouches for is no store."""
    made = Certificates(tmp_path)
    programs = [program for program in SERVERS.values() if speaks_tls(program)]
    if not programs:
        pytest.skip("no server here speaks TLS")
    port = free_port()
    with Server(programs[0], made.arguments(port)):
        url = f"rediss://127.0.0.1:{port}/0"
        seen = await outcomes(url, AWAY, lambda cells: nullcontext(), heals=False, connect_timeout=30)
        assert seen.did == AWAY
        trusting = await outcomes(
            f"{url}?ssl_ca_certs={made.authority}", HEALTHY, lambda cells: nullcontext(), **PATIENT
        )
        assert trusting.did == HEALTHY, "the same server, vouched for"
