"""Peers: one file each, found by itself. A file defines `PEERS`, a list of `Peer`; nothing else names it.

A peer that is not installed is left out, and the result says so by its versions.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator

from benchmarks.peers.interface import Peer


def files() -> list[str]:
    """Return the names of the files of peers, that of this project first."""
    names = [one.name for one in pkgutil.iter_modules(__path__) if one.name not in ("__main__", "interface")]
    return sorted(names, key=lambda name: (name != "cachecore_", name))


def of_file(name: str) -> Iterator[Peer]:
    """Yield the peers of a file that are installed."""
    for peer in importlib.import_module(f"{__name__}.{name}").PEERS:
        if importlib.util.find_spec(peer.module) is not None:
            yield peer


def found() -> Iterator[Peer]:
    """Yield all peers that are installed."""
    for name in files():
        yield from of_file(name)
