"""`cachecore doctor URL`: whether a store works, what it can do, and what that means for a cache on it.

A backend may be able to do what this server or this user is not; so a feed and a clock are tried.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

import typer

from cachecore.contract import plugins, redaction
from cachecore.contract.errors import BackendError, CacheError
from cachecore.contract.protocols import (
    Alive,
    CacheBackend,
    StatesLimits,
    SupportsAbout,
    SupportsFeed,
    SupportsPartitions,
    SupportsScan,
    SupportsTime,
    SupportsTouch,
)

_PATIENCE = 5.0
_FEED_PATIENCE = 2.0
"""Seconds in which a feed must say that it can be trusted."""
_ABILITIES = {
    "scan": (
        SupportsScan,
        "invalidating a namespace gives memory back and counts",
        "it cannot count or give memory back",
    ),
    "feed": (SupportsFeed, "copies in memory are told of changes", "copies in memory live for l1_max_age"),
    "time": (SupportsTime, "one clock for all hosts", "the clocks of hosts are compared"),
    "touch": (SupportsTouch, "what memory answers for is not evicted as unused", "it does not evict by use"),
    "partitions": (SupportsPartitions, "several nodes, guarded one by one", "one node"),
}


def doctor(
    url: Annotated[str, typer.Argument(help="The store, such as redis://localhost:6379/0.", metavar="URL")],
    prefix: Annotated[str, typer.Option(help="The prefix of the cache's keys.")] = "cc",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask a store how it is and what it can do. Writes nothing.

    Exits with 0 if it answers, 1 if it does not, 2 if the URL is wrong.
    """
    try:
        backend = plugins.backend_from_url(url)
    except CacheError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    found = asyncio.run(_examine(backend, prefix))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _show(redaction.redact_url(url), found)
    raise typer.Exit(0 if found["answers"] else 1)


async def _examine(backend: CacheBackend, prefix: str) -> dict[str, Any]:
    abilities = {name: isinstance(backend, kind) for name, (kind, _, _) in _ABILITIES.items()}
    found: dict[str, Any] = {"answers": True}
    if isinstance(backend, StatesLimits):
        found["limits"] = list(backend.limits)
    try:
        async with asyncio.timeout(_PATIENCE):
            await backend.get_many([f"{prefix}:s:doctor"])  # connects
            began = time.perf_counter()
            await backend.get_many([f"{prefix}:s:doctor"])
            found["read_seconds"] = time.perf_counter() - began
            if isinstance(backend, SupportsTime):
                try:
                    found["clock_ahead_seconds"] = await backend.time() - time.time()
                except BackendError:
                    abilities["time"] = False  # it answers, so it is this that it refuses
            if isinstance(backend, SupportsFeed):
                abilities["feed"] = await _tells(backend, f"{prefix}:")
            if isinstance(backend, SupportsAbout):
                found["servers"] = {name: dict(said) for name, said in (await backend.about(f"{prefix}:")).items()}
                found["warnings"] = {
                    name: memory_warnings(said.get("maxmemory", ""), said.get("maxmemory_policy", ""))
                    for name, said in found["servers"].items()
                }
    except BackendError as error:
        found.update(answers=False, reason=error.reason)
    except TimeoutError:
        found.update(answers=False, reason="timeout")
    finally:
        await backend.aclose()
    found["abilities"] = abilities
    return found


def memory_warnings(maxmemory: str, policy: str) -> list[str]:
    """Return what a server's memory limit (bytes as text; "0": none) and its eviction policy cost a cache.

    Each is a line for people. Empty if they cost nothing, or the server did not tell them.
    """
    if not policy or maxmemory == "0":
        return []
    warnings = []
    if policy in ("allkeys-random", "volatile-random"):
        better = policy.replace("random", "lru")
        warnings.append(f"{policy} evicts what is used most as readily as what is used least: choose {better}")
    if policy == "noeviction":
        warnings.append("noeviction takes nothing new once memory is full: choose allkeys-lru")
    if policy.startswith("volatile-"):
        warnings.append(
            f"{policy} never evicts answers with ttl=None, and takes nothing new once they fill memory: "
            "give every answer a ttl, or choose allkeys-lru"
        )
    return warnings


async def _tells(backend: SupportsFeed, prefix: str) -> bool:
    """Return whether the feed says that it can be trusted."""
    try:
        async with asyncio.timeout(_FEED_PATIENCE):
            async for event in backend.feed(prefix):
                if isinstance(event, Alive):
                    return True
    except TimeoutError:
        pass
    return False


def _show(url: str, found: dict[str, Any]) -> None:
    typer.echo(url)
    if found["answers"]:
        typer.echo(f"  answers a read in {found['read_seconds'] * 1e3:.2f} ms")
    else:
        typer.echo(f"  does not answer: {found['reason']}")
    if "clock_ahead_seconds" in found:
        typer.echo(f"  its clock is {found['clock_ahead_seconds']:+.3f} s from this host's")
    for name, (_, there, absent) in _ABILITIES.items():
        has = found["abilities"][name]
        typer.echo(f"  {name}: {'yes' if has else 'no'}: {there if has else absent}")
    for limit in found.get("limits", ()):
        typer.echo(f"  limit: {limit}")
    for server, said in found.get("servers", {}).items():
        typer.echo(f"  {server}")
        for name, value in said.items():
            typer.echo(f"    {name}: {value}")
        for warning in found["warnings"][server]:
            typer.echo(f"    warning: {warning}")
