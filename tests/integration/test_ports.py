"""Ports for the servers of tests: test runs beside each other get different ones."""

from __future__ import annotations

import socket
import sys

import pytest

from cachecore.testing.servers import Server, free_port, installed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ports are reserved on Linux only")


def bound(port: int) -> bool:
    """Whether `port` is refused to a process that asks for it as `free_port` does."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_a_port_is_reserved_until_its_server_is_closed() -> None:
    """Also while the server is down: it comes back on the same port."""
    programs = installed()
    port = free_port()
    assert bound(port)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with Server(programs[max(programs)], port=port) as server:
        socket.create_connection(("127.0.0.1", port)).close()
        server.kill()
        assert bound(port)
        server.start()
    assert not bound(port)
