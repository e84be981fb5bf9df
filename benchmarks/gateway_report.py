"""The tables of `benchmarks.gateway`."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.running.results import Table

NAMES: Final = {
    "gateway": "cachecore's gateway",
    "gateway, asyncio": "cachecore's gateway, without uvloop",
    "upstream": "the provider itself",
    "constant": "a constant answer, bare Starlette",
    "constant, asyncio": "a constant answer, bare Starlette, without uvloop",
    "relay": "a bare relay, Starlette and httpx2",
    "fan_out": "a bare fan-out of bytes",
}
WHOLE: Final = ("per second", "processor us", "end ms", "upstream calls", "streams")
NOTE: Final = (
    "Ratios are to the constant answer on the same event loop: by the clock, and by the processor time of the server."
)


def tables(found: dict[str, Any], litellm: str) -> list[Table]:
    """Return the tables of the figures; `litellm` is the version of its proxy."""
    names = {**NAMES, "LiteLLM": f"LiteLLM {litellm}"}

    def named(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
        return {
            names[name]: {column: round(value) if column in WHOLE else round(value, 2) for column, value in row.items()}
            for name, row in rows.items()
        }

    made = [
        Table(f"hits by {connections} connections", "per second", named(rows), lower_is_better=False, note=NOTE)
        for connections, rows in found["hits"].items()
    ]
    made.append(Table("misses, of a provider that answers after 200 ms", "added ms", named(found["misses"])))
    made.append(Table("streams of one prompt that begin at once", "first content, p50 ms", named(found["streams"])))
    sizes = {name: {"MiB": size} for name, size in found["resident MiB"].items()}
    made.append(Table("the memory of each server", "MiB", named(sizes)))
    return made
