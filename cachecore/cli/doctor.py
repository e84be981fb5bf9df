"""`cachecore doctor URL`: whether a store works, what it can do, what that means for a cache on it, and the remedy."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from cachecore.cli import outcome
from cachecore.cli.examine import ABILITIES, examine, memory_warnings
from cachecore.cli.store import Json, Prefix, Url, address, opened
from cachecore.contract.errors import BackendError, CacheError
from cachecore.contract.protocols import StatesLimits
from cachecore.contract.redaction import redact_url


def doctor(
    url: Url = None,
    prefix: Prefix = None,
    sample: Annotated[int, typer.Option(min=0, help="How many answers to look at.")] = 1000,
    as_json: Json = False,
) -> None:
    """Ask a store how it is and what it can do, and say what needs attention. Writes and creates nothing.

    Exits with 0 if all is well or there is only advice, 1 if it does not answer or something does not work, 2 if the
    URL is wrong.
    """
    from cachecore.cli import versions

    found: dict[str, Any] = {"answers": False, "abilities": {}, "findings": [], "versions": versions()}
    try:
        place = redact_url(address(url))
    except CacheError as error:
        outcome.refuse(str(error), as_json=as_json)
    ended = outcome.run(_examine(found, url, prefix, sample))
    facts = {**found, "findings": [dataclasses.asdict(one) for one in found["findings"]]}
    outcome.conclude(ended, facts, lambda: _show(place, found), as_json=as_json)


async def _examine(found: dict[str, Any], url: str | None, prefix: str | None, sample: int) -> int:
    async with opened(url, prefix) as store:
        if isinstance(store.backend, StatesLimits):
            found["limits"] = list(store.backend.limits)
        try:
            found.update(await examine(store, sample))
        except BackendError as error:
            found.update(answers=False, reason=error.reason)
            return outcome.NO
    if "servers" in found:
        found["warnings"] = {
            name: memory_warnings(said.get("maxmemory", ""), said.get("maxmemory_policy", ""))
            for name, said in found["servers"].items()
        }
    return outcome.NO if any(one.level == "problem" for one in found["findings"]) else outcome.OK


def _show(place: str, found: dict[str, Any]) -> None:
    typer.echo(place)
    if not found["answers"]:
        if "reason" in found:
            typer.echo(f"  does not answer: {found['reason']}")
        return
    trip, deadline = found["read_seconds"], found["read_deadline_seconds"]
    typer.echo(f"  answers a read in {trip * 1e3:.2f} ms; the deadline of reads is {deadline * 1e3:.0f} ms")
    if "clock_ahead_seconds" in found:
        typer.echo(f"  its clock is {found['clock_ahead_seconds']:+.3f} s from this host's")
    for name, has in found["abilities"].items():
        there, absent = ABILITIES[name]
        said = "no" if has is False else "yes" if has else "yes, if this user may write (not tried)"
        typer.echo(f"  {name}: {said}: {absent if has is False else there}")
    for limit in found.get("limits", ()):
        typer.echo(f"  limit: {limit}")
    for server, told in found.get("servers", {}).items():
        typer.echo(f"  {server}")
        for name, value in told.items():
            typer.echo(f"    {name}: {value}")
    if "sample" in found:
        looked = found["sample"]["looked_at"]
        states = ", ".join(f"{number:,} {state}" for state, number in sorted(found["sample"]["states"].items()))
        typer.echo(f"  of {looked:,} answers looked at: {states or 'none'}")
    for name in found.get("other_prefixes", ()):
        typer.echo(f"  there are answers under --prefix {outcome.shown(name)}")
    for one in found["findings"]:
        typer.echo(f"  {one.level}: {one.what}: {one.remedy}")
    typer.echo("  " + ", ".join(f"{name} {number}" for name, number in found["versions"].items()))
