"""Every way in which a Redis server, or the network before it, is made to misbehave: real servers, real faults.

Each fault is a context manager: ill inside, well again after it. It may yield something to do again and again.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

from redis import Redis, RedisError

from cachecore.testing.proxy import Link, Proxy
from cachecore.testing.servers import Server, free_port

Again = Callable[[], object]
Evidence = Literal["errors", "rejected", "computed", "connects"]
"""How it shows that the fault struck: errors of the store, rejected bytes, answers that were gone, new connections."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A server, the network before it, and a way to tell the server things."""

    server: Server
    link: Proxy
    chance: random.Random

    @property
    def admin(self) -> Redis:
        return Redis(unix_socket_path=str(self.server.socket_path))

    def tell(self, *words: str | int) -> None:
        with self.admin as admin:
            admin.execute_command(*words)

    def kick(self) -> None:
        """Close all connections but the one that asks."""
        with self.admin as admin:
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def rewrite(self, change: Callable[[str, bytes, Redis], None]) -> None:
        """Do something to each stored entry; its ttl stays."""
        with self.admin as admin:
            for key in list(admin.scan_iter("cc:e:*", count=1000)):
                with contextlib.suppress(RedisError):  # of another type by now
                    value = admin.get(key)
                    if isinstance(value, bytes):
                        change(key.decode(), value, admin)


Fault = Callable[[Scene], AbstractContextManager["Again | None"]]
FAULTS: dict[str, tuple[Fault, Evidence]] = {}


def _fault(evidence: Evidence) -> Callable[[Callable[[Scene], Iterator[Again | None]]], Fault]:
    def register(function: Callable[[Scene], Iterator[Again | None]]) -> Fault:
        made = contextmanager(function)
        FAULTS[function.__name__.strip("_").replace("_", " ")] = (made, evidence)
        return made

    return register


def _network(
    name: str, set_in: Callable[[Proxy], object], *, again: bool = False, evidence: Evidence = "errors"
) -> None:
    @contextmanager
    def fault(scene: Scene) -> Iterator[Again | None]:
        set_in(scene.link)
        yield (lambda: set_in(scene.link)) if again else None
        scene.link.heal()

    FAULTS[name] = (fault, evidence)


def _replies(name: str, alter: Callable[[Link, bytes], Iterable[tuple[Link, bytes]]]) -> None:
    def set_in(proxy: Proxy) -> None:
        proxy.alter_replies(alter)
        proxy.reset()

    _network(name, set_in)


_network("refused", Proxy.refuse)
_network("silent network", Proxy.blackhole)
_network("replies 600 ms late", lambda proxy: proxy.slow(0.6, jitter=0.1))  # later than any read waits
_network("replies that trickle", lambda proxy: proxy.slow(bytes_per_second=20))
_network("cut in the middle of replies", lambda proxy: proxy.cut(after_bytes=40))
_network("cut at once", lambda proxy: proxy.cut(after_bytes=0))
_network("half-open connections", Proxy.lose, again=True)
_network("connections reset", Proxy.reset, again=True, evidence="connects")  # between two calls it costs no error
_replies("garbage for replies", lambda link, piece: [(link, b"HTTP/1.1 400 Bad Request\r\n\r\n")])
_replies("replies that claim a terabyte", lambda link, piece: [(link, b"$999999999999\r\nxx")])
_replies("replies nested without end", lambda link, piece: [(link, b"*1\r\n" * 50_000)])
_replies("numbers for replies", lambda link, piece: [(link, b":5\r\n")])
_replies("replies said twice", lambda link, piece: [(link, piece), (link, piece)])


def _forgetful() -> Callable[[Link, bytes], Iterable[tuple[Link, bytes]]]:
    count = 0

    def alter(link: Link, piece: bytes) -> Iterable[tuple[Link, bytes]]:
        nonlocal count
        count += 1
        return [] if count > 10 and count % 7 == 0 else [(link, piece)]

    return alter


_network("replies lost", lambda proxy: proxy.alter_replies(_forgetful()))


@_fault("errors")
def _killed(scene: Scene) -> Iterator[Again | None]:
    scene.server.kill()
    yield None
    scene.server.start()


@_fault("computed")
def _killed_and_back_again_and_again(scene: Scene) -> Iterator[Again | None]:
    def again() -> None:
        scene.server.kill()
        scene.server.start()

    yield again


@_fault("errors")
def _frozen(scene: Scene) -> Iterator[Again | None]:
    with scene.server.paused():
        yield None


@_fault("errors")
def _frozen_and_thawed_again_and_again(scene: Scene) -> Iterator[Again | None]:
    frozen = False

    def again() -> None:
        nonlocal frozen
        frozen = not frozen
        scene.server.pause() if frozen else scene.server.resume()

    again()
    yield again
    scene.server.resume()


@_fault("errors")
def _full(scene: Scene) -> Iterator[Again | None]:
    scene.tell("CONFIG", "SET", "maxmemory-policy", "noeviction")
    scene.tell("CONFIG", "SET", "maxmemory", "1")
    yield None
    scene.tell("CONFIG", "SET", "maxmemory", "0")


@_fault("computed")
def _evicting(scene: Scene) -> Iterator[Again | None]:
    scene.tell("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
    with scene.admin as admin:
        used = admin.info("memory")["used_memory"]
    scene.tell("CONFIG", "SET", "maxmemory", used - 20_000)
    yield None
    scene.tell("CONFIG", "SET", "maxmemory", "0")


@_fault("computed")
def _flushed_again_and_again(scene: Scene) -> Iterator[Again | None]:
    scene.tell("FLUSHALL")
    yield lambda: scene.tell("FLUSHALL")


@_fault("errors")
def _read_only(scene: Scene) -> Iterator[Again | None]:
    scene.tell("REPLICAOF", "127.0.0.1", free_port())
    yield None
    scene.tell("REPLICAOF", "NO", "ONE")


@_fault("errors")
def _replica_without_primary(scene: Scene) -> Iterator[Again | None]:
    scene.tell("CONFIG", "SET", "replica-serve-stale-data", "no")
    scene.tell("REPLICAOF", "127.0.0.1", free_port())
    yield None
    scene.tell("REPLICAOF", "NO", "ONE")


@_fault("errors")
def _password_demanded(scene: Scene) -> Iterator[Again | None]:
    with scene.admin as admin:
        admin.execute_command("CONFIG", "SET", "requirepass", "another")
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield None
        admin.execute_command("CONFIG", "SET", "requirepass", "")


@_fault("errors")
def _rights_taken_away(scene: Scene) -> Iterator[Again | None]:
    taken = ("get", "mget", "set", "unlink", "del", "eval", "evalsha", "watch")
    scene.tell("ACL", "SETUSER", "default", *(f"-{command}" for command in taken))
    yield None
    scene.tell("ACL", "SETUSER", "default", "+@all")


@_fault("errors")
def _out_of_clients(scene: Scene) -> Iterator[Again | None]:
    with scene.admin as admin:
        admin.execute_command("CONFIG", "SET", "maxclients", "1")
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        yield None
        admin.execute_command("CONFIG", "SET", "maxclients", "1000")


@_fault("connects")  # as with connections that are reset
def _clients_killed(scene: Scene) -> Iterator[Again | None]:
    scene.kick()
    yield scene.kick


@_fault("errors")
def _writes_paused(scene: Scene) -> Iterator[Again | None]:
    scene.tell("CLIENT", "PAUSE", 100_000, "WRITE")
    yield None
    scene.tell("CLIENT", "UNPAUSE")


@_fault("errors")
def _loading(scene: Scene) -> Iterator[Again | None]:
    with scene.admin as admin:
        admin.mset({f"ballast {number}": "x" for number in range(20_000)})  # twenty seconds of loading
        admin.save()
    arguments, server = scene.server.arguments, scene.server
    server.kill()
    server.arguments = [*arguments, "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"]
    server.start()
    yield None
    server.kill()
    server.arguments = arguments
    server.start()


@_fault("errors")
def _unable_to_save(scene: Scene) -> Iterator[Again | None]:
    (scene.server.folder / "dump.rdb").mkdir()
    with scene.admin as admin:
        admin.config_set("save", "3600 1")
        admin.bgsave()
        limit = time.monotonic() + 30
        while admin.info("persistence")["rdb_last_bgsave_status"] != "err":
            assert time.monotonic() < limit
            time.sleep(0.01)
    yield None
    scene.tell("CONFIG", "SET", "save", "")


def _busy(scene: Scene) -> bool:
    try:
        scene.tell("PING")
    except RedisError as error:
        return "BUSY" in str(error)
    return False


@_fault("errors")
def _busy_with_a_script(scene: Scene) -> Iterator[Again | None]:
    scene.tell("CONFIG", "SET", "busy-reply-threshold", "10")

    def run() -> None:
        with contextlib.suppress(RedisError):  # it is killed in the end
            scene.tell("EVAL", "while true do end", 0)

    script = threading.Thread(target=run)
    script.start()
    limit = time.monotonic() + 30
    while not _busy(scene):
        assert time.monotonic() < limit
    yield None
    scene.tell("SCRIPT", "KILL")
    script.join(30)


@_fault("rejected")
def _flipped_bits(scene: Scene) -> Iterator[Again | None]:
    def flip(key: str, value: bytes, admin: Redis) -> None:
        bit = scene.chance.randrange(len(value) * 8)
        damaged = bytearray(value)
        damaged[bit // 8] ^= 1 << bit % 8
        admin.set(key, bytes(damaged), keepttl=True)

    scene.rewrite(flip)
    yield lambda: scene.rewrite(flip)


@_fault("rejected")
def _cut_entries(scene: Scene) -> Iterator[Again | None]:
    def cut(key: str, value: bytes, admin: Redis) -> None:
        admin.set(key, value[: scene.chance.randrange(len(value) or 1)], keepttl=True)

    scene.rewrite(cut)
    yield lambda: scene.rewrite(cut)


@_fault("rejected")
def _foreign_text(scene: Scene) -> Iterator[Again | None]:
    def replace(key: str, value: bytes, admin: Redis) -> None:
        admin.set(key, '{"value": "somebody else\'s"}', keepttl=True)

    scene.rewrite(replace)
    yield lambda: scene.rewrite(replace)


@_fault("computed")
def _keys_of_another_type(scene: Scene) -> Iterator[Again | None]:
    def replace(key: str, value: bytes, admin: Redis) -> None:
        admin.delete(key)
        admin.rpush(key, "a list")

    scene.rewrite(replace)
    yield lambda: scene.rewrite(replace)
    with scene.admin as admin:
        for key in list(admin.scan_iter("cc:e:*", count=1000, _type="LIST")):
            admin.delete(key)


@_fault("rejected")
def _newer_versions(scene: Scene) -> Iterator[Again | None]:
    def age(key: str, value: bytes, admin: Redis) -> None:
        admin.set(key, value[:1] + bytes([value[1] + 16]) + value[2:], keepttl=True)  # the high half: the version

    scene.rewrite(age)
    yield lambda: scene.rewrite(age)


@_fault("rejected")
def _entries_under_each_others_keys(scene: Scene) -> Iterator[Again | None]:
    last = [b""]

    def move(key: str, value: bytes, admin: Redis) -> None:
        if last[0]:
            admin.set(key, last[0], keepttl=True)
        last[0] = value

    scene.rewrite(move)
    yield lambda: scene.rewrite(move)


@_fault("computed")
def _stamps_lost(scene: Scene) -> Iterator[Again | None]:
    def lose() -> None:
        with scene.admin as admin:
            for key in list(admin.scan_iter("cc:s:*", count=1000)):
                admin.delete(key)

    lose()
    yield lose


@_fault("computed")
def _stamps_that_are_not_stamps(scene: Scene) -> Iterator[Again | None]:
    def spoil() -> None:
        with scene.admin as admin:
            for number, key in enumerate(list(admin.scan_iter("cc:s:*", count=1000))):
                admin.set(key, ["", "x" * 100_000, "sixteen bytes xx"][number % 3])

    spoil()
    yield spoil


@_fault("errors")
def _loop_stalled(scene: Scene) -> Iterator[Again | None]:
    # The process's own fault: calls whose answers lie in the socket while the loop stands still.
    scene.server.pause()

    def again() -> None:
        time.sleep(0.12)

    yield again
    scene.server.resume()
