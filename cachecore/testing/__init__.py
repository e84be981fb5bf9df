"""Tools for plugin authors and this project's own tests: the conformance suite, real servers, faults."""

from typing import TYPE_CHECKING

from cachecore.contract.lazy import exports

if TYPE_CHECKING:
    from cachecore.testing.clocks import FakeClock
    from cachecore.testing.conformance import CHECKS, Harness
    from cachecore.testing.faulty import Fault, FaultyBackend
    from cachecore.testing.frozen import FrozenCache
    from cachecore.testing.proxy import Proxy
    from cachecore.testing.servers import Certificates, Server
    from cachecore.testing.simulation.run import simulate
    from cachecore.testing.virtual import VirtualClock, VirtualLoop

__all__ = [
    "CHECKS",
    "Certificates",
    "FakeClock",
    "Fault",
    "FaultyBackend",
    "FrozenCache",
    "Harness",
    "Proxy",
    "Server",
    "VirtualClock",
    "VirtualLoop",
    "simulate",
]

__getattr__ = exports(
    __name__,
    {
        "CHECKS": "conformance",
        "Certificates": "servers",
        "FakeClock": "clocks",
        "FaultyBackend": "faulty",
        "Fault": "faulty",
        "FrozenCache": "frozen",
        "Harness": "conformance",
        "Proxy": "proxy",
        "Server": "servers",
        "VirtualClock": "virtual",
        "VirtualLoop": "virtual",
        "simulate": "simulation.run",
    },
)
