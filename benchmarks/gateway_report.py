"""What `benchmarks.gateway` prints, and what is wanted of it."""

from __future__ import annotations

from typing import Any, Final

WANTED: Final = {"1": 1.6, "16": 1.4, "of LiteLLM": 20.0, "miss ms": 2.0, "upstream calls": 1, "first content": 2.0}


def report(found: dict[str, Any]) -> None:
    for connections, rows in found["hits"].items():
        print(
            f"hits, {connections} connections".ljust(26) + "  per s   p50 ms   p99 ms  processor µs   of the constant"
        )
        for name, row in rows.items():
            print(
                f"  {name:24}{row['per second']:7.0f}{row['p50 ms']:9.2f}{row['p99 ms']:9.2f}"
                f"{row['processor us']:14.0f}"
                f"{row['of the constant, clock']:18.2f}{row['of the constant, processor']:11.2f}"
            )
    print("misses".ljust(26) + "p50 ms  added ms  processor ms")
    for name, row in found["misses"].items():
        print(f"  {name:22}{row['p50 ms']:8.1f}{row['added ms']:10.2f}{row['processor ms']:14.2f}")
    print("streams of one prompt".ljust(26) + "  number  calls  first p50  first last     end   processor ms  KiB each")
    for name, row in found["streams"].items():
        print(
            f"  {name:24}{row['streams']:8}{row['upstream calls']:7}{row['first content, p50 ms']:11.0f}"
            f"{row['first content, last ms']:12.0f}{row['end ms']:8.0f}{row['processor ms']:15.0f}"
            f"{row['KiB per stream']:10.1f}"
        )


def wanted(found: dict[str, Any]) -> dict[str, tuple[float, float, bool]]:
    """Return what is wanted: the figure, its bound, and whether it is kept."""
    told: dict[str, tuple[float, float, bool]] = {}
    for connections in ("1", "16"):
        row = found["hits"][connections]["gateway"]
        for by in ("clock", "processor"):
            value = row[f"of the constant, {by}"]
            told[f"hit, {connections} connections, {by}"] = (value, WANTED[connections], value <= WANTED[connections])
        if "LiteLLM" in found["hits"][connections]:
            times = row["per second"] / found["hits"][connections]["LiteLLM"]["per second"]
            told[f"times LiteLLM's hits, {connections} connections"] = (
                times, WANTED["of LiteLLM"], times >= WANTED["of LiteLLM"],
            )  # fmt: skip
    added = found["misses"]["gateway"]["added ms"]
    told["a miss adds, ms"] = (added, WANTED["miss ms"], added <= WANTED["miss ms"])
    ours, bare = found["streams"]["gateway"], found["streams"]["fan_out"]
    told["upstream calls"] = (ours["upstream calls"], 1, ours["upstream calls"] == 1)
    for which in ("p50", "last"):
        ratio = ours[f"first content, {which} ms"] / bare[f"first content, {which} ms"]
        told[f"first content of a fan-out's, {which}"] = (
            ratio,
            WANTED["first content"],
            ratio <= WANTED["first content"],
        )
    return told
