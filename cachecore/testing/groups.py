"""Several real servers together: a primary and a replica under three Sentinels; a cluster.

As small as they can be and still fail over. Everything is on loopback, everything is stopped by process id.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from cachecore.testing.servers import Server

_READY_SECONDS = 60.0
SERVICE = "main"


def ask(server: Server, *words: str) -> Any:
    """Return the reply to a command, as RESP2 says it; None if there was an error or no answer within a second."""
    import hiredis

    reader = hiredis.Reader(notEnoughData=Ellipsis, encoding="utf-8")
    command = b"".join(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1) as link:
        link.sendall(b"*%d\r\n" % len(words) + command)
        while (reply := reader.gets()) is Ellipsis:
            received = link.recv(65536)
            if not received:
                return None
            reader.feed(received)
        return None if isinstance(reply, hiredis.ReplyError) else reply
    return None


def _wait(condition: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + _READY_SECONDS
    while not condition():
        if time.monotonic() > limit:
            raise RuntimeError(f"{what} within {_READY_SECONDS} s")
        time.sleep(0.02)


class _Group:
    """Servers that begin and end together."""

    def __init__(self) -> None:
        self._all: list[Server] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start all and return once they work together."""
        raise NotImplementedError

    def close(self) -> None:
        """End every process, frozen ones too."""
        for server in self._all:
            server.close()


class _Sentinel(Server):
    """One Sentinel process; its configuration is a file that it rewrites."""

    def __init__(self, program: str, primary: Server, down_after_ms: int) -> None:
        super().__init__(program)
        self._lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 2000",
        ]

    def _command(self) -> list[str]:
        path = self.folder / "sentinel.conf"
        if not path.exists():
            path.write_text("\n".join(self._lines) + "\n")
        return [self.program, str(path), "--sentinel"]

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
            link.sendall(b"PING\r\n")
            return link.recv(1) == b"+"
        return False


def _each(replies: list[list[str]] | None) -> list[dict[str, str]]:
    """Return a Sentinel's reply on several servers."""
    return [dict(zip(fields[::2], fields[1::2], strict=True)) for fields in replies or ()]


class SentinelGroup(_Group):
    """A primary, a replica and three Sentinels that take a primary for dead after `down_after_ms`."""

    def __init__(self, program: str, *, down_after_ms: int = 500) -> None:
        super().__init__()
        at_once = ["--repl-diskless-sync-delay", "0"]  # the one that is copied waits for more replicas otherwise
        self.nodes = [Server(program, at_once), Server(program, at_once)]
        self.nodes[1].arguments += ["--replicaof", "127.0.0.1", str(self.nodes[0].port)]
        self.sentinels = [_Sentinel(program, self.nodes[0], down_after_ms) for _ in range(3)]
        self._all = [*self.nodes, *self.sentinels]

    @property
    def url(self) -> str:
        """The address of the group."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def start(self) -> None:
        """Start all and return once a failover could succeed."""
        for server in self._all:
            server.start()
        self._greet_every("100")
        _wait(self._settled, "the Sentinels did not find each other and the replica")
        self._greet_every("2000")

    def _greet_every(self, milliseconds: str) -> None:
        # How long Sentinels take to find each other. Redis 6 has no word for it and keeps to two seconds.
        for sentinel in self.sentinels:
            ask(sentinel, "SENTINEL", "DEBUG", "PUBLISH-PERIOD", milliseconds)

    def _settled(self) -> bool:
        for sentinel in self.sentinels:
            replicas = _each(ask(sentinel, "SENTINEL", "REPLICAS", SERVICE))
            others = _each(ask(sentinel, "SENTINEL", "SENTINELS", SERVICE))
            if [(one["flags"], one["master-link-status"]) for one in replicas] != [("slave", "ok")]:
                return False
            if [one["flags"] for one in others] != ["sentinel", "sentinel"]:
                return False
        return "master_link_status:up" in (ask(self.nodes[1], "INFO", "replication") or "")

    def primary(self) -> Server:
        """The server that most Sentinels call the primary."""
        ports = [ask(s, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE) for s in self.sentinels]
        named = [int(address[1]) for address in ports if address]
        port = max(set(named), key=named.count)
        return next(node for node in self.nodes if node.port == port)


class Cluster(_Group):
    """Three primaries with a replica each; a primary is taken for dead after `timeout_ms`."""

    def __init__(self, program: str, *, timeout_ms: int = 1000) -> None:
        super().__init__()
        arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(timeout_ms)]
        arguments += ["--cluster-require-full-coverage", "no", "--cluster-config-file", "nodes.conf"]
        arguments += ["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"]
        self.nodes = [Server(program, arguments) for _ in range(6)]
        self._all = self.nodes

    @property
    def url(self) -> str:
        """The address of the cluster: two of its nodes."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}"

    def start(self) -> None:
        """Start all, join them, and return once every slot is served and every replica follows."""
        for server in self.nodes:
            server.start()
        first = self.nodes[0]
        for server in self.nodes[1:]:
            ask(first, "CLUSTER", "MEET", "127.0.0.1", str(server.port))
        bounds = [0, 5461, 10923, 16384]
        for server, begin, end in zip(self.nodes, bounds, bounds[1:], strict=False):
            ask(server, "CLUSTER", "ADDSLOTS", *map(str, range(begin, end)))
        _wait(lambda: all(self._knows_all(server) for server in self.nodes), "the nodes did not meet")
        for replica, primary in zip(self.nodes[3:], self.nodes, strict=False):
            follow = ("CLUSTER", "REPLICATE", self.name(primary))
            _wait(lambda r=replica, f=follow: ask(r, *f) == "OK", "a replica did not find its primary")  # type: ignore[misc]
        _wait(lambda: all(self._ok(server) for server in self.nodes), "the cluster did not settle")

    def name(self, server: Server) -> str:
        """The cluster's own name of a node."""
        return str(ask(server, "CLUSTER", "MYID"))

    def owner(self, slot: int) -> Server:
        """The node that serves `slot`, as most living nodes see it."""
        seen: list[int] = []
        for server in self.nodes:
            for line in self._view(server):
                words = line.split()
                if "master" in words[2] and "fail" not in words[2].replace("fail?", "") and _serves(words[8:], slot):
                    seen.append(int(words[1].split("@")[0].rsplit(":", 1)[1]))
        port = max(set(seen), key=seen.count)
        return next(node for node in self.nodes if node.port == port)

    def _view(self, server: Server) -> list[str]:
        if not server.running:
            return []
        return (ask(server, "CLUSTER", "NODES") or "").splitlines()

    def _knows_all(self, server: Server) -> bool:
        lines = self._view(server)
        return len(lines) == len(self.nodes) and not any("handshake" in line for line in lines)

    def _ok(self, server: Server) -> bool:
        said = (ask(server, "CLUSTER", "INFO") or "").splitlines()
        # `cluster_state:ok` is not enough: a node may not know yet which node serves the slots of another.
        if "cluster_state:ok" not in said or "cluster_slots_ok:16384" not in said:
            return False
        lines = self._view(server)
        if sum("slave" in line for line in lines) != 3:
            return False
        return server in self.nodes[:3] or "master_link_status:up" in (ask(server, "INFO", "replication") or "")


def _serves(ranges: list[str], slot: int) -> bool:
    for part in ranges:
        begin, _, end = part.partition("-")
        if begin.isdecimal() and int(begin) <= slot <= int(end or begin):
            return True
    return False
