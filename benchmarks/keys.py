"""How long it takes to turn a request into its key, beside the ways others do it.

    python -m benchmarks.keys        # prints a table, writes benchmarks/results/keys.json

Every contender is timed in turn, round after round, so that a busy machine slows all of them alike; the figures are
medians, and the ratios are medians of those within a round, to `json.dumps(sort_keys=True)` with SHA-256, which most
caches do.
"""

from __future__ import annotations

import hashlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import truediv
from pathlib import Path
from typing import Any

import msgspec
import ormsgpack

from cachecore.keys import KeySpace, encode
from cachecore.keys.hashers import blake2b, blake3, sha256, xxh3_128
from cachecore.keys.walker import walk

RESULTS = Path(__file__).parent / "results" / "keys.json"
ROUNDS = 101
SECONDS_PER_TURN = 0.002

GOALS = {
    ("flat 3 KB", "cachecore sha256"): 0.30,
    ("flat 3 KB", "cachecore xxh3_128"): 0.08,
    ("chat 8 KB, 8 tools", "cachecore sha256"): 0.25,
}


def flat_request() -> dict[str, Any]:
    """Return a request of nine scalar fields and 3 KB of text."""
    return {
        "model": "gpt-4o-mini",
        "system_prompt": "You answer questions about banking, briefly and in the customer's language. " * 10,
        "user_message": "My card payment was declined twice although there is money on the account. " * 27,
        "temperature": 0.2,
        "max_tokens": 512,
        "top_p": 1.0,
        "tenant": "acme",
        "seed": None,
        "json_mode": False,
    }


def chat_request() -> dict[str, Any]:
    """Return a chat request with nine messages and eight tools, about 8.6 KB."""
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"lookup_{i}",
                "description": "Look up one record of the customer by its identifier and return it as JSON. " * 2,
                "parameters": {
                    "type": "object",
                    "properties": {
                        f"field_{j}": {
                            "type": "string",
                            "description": "What to look for, as it was said.",
                            "enum": ["a", "b", "c"],
                        }
                        for j in range(4)
                    },
                    "required": ["field_0", "field_1"],
                    "additionalProperties": False,
                },
            },
        }
        for i in range(8)
    ]
    turns = [
        {"role": ("user", "assistant")[i % 2], "content": "Where is the card I ordered last week? " * 5}
        for i in range(8)
    ]
    system = {"role": "system", "content": "You answer questions about banking, briefly. " * 25}
    return {"model": "gpt-4o", "messages": [system, *turns], "tools": tools, "temperature": 0.0, "max_tokens": 1024}


@dataclass(frozen=True)
class Request:
    """The flat request as a class of its own."""

    model: str
    system_prompt: str
    user_message: str
    temperature: float
    max_tokens: int
    top_p: float
    tenant: str
    seed: int | None
    json_mode: bool


def _json_sha256(request: Any) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def contenders(request: Any) -> dict[str, Callable[[], object]]:
    """Return what is timed on `request`, by name."""
    spaces = {
        hasher.name: KeySpace("cc", "faq/v3", hasher)
        for hasher in (sha256(), xxh3_128(), blake2b(secret=b"0123456789abcdef"), blake3())
    }
    msgspec_encode = msgspec.msgpack.Encoder(order="sorted").encode
    timed: dict[str, Callable[[], object]] = {
        "json + sha256": partial(_json_sha256, request),
        "msgspec + sha256": lambda: hashlib.sha256(msgspec_encode(request)).hexdigest(),
        "ormsgpack, unsafe, no hash": partial(ormsgpack.packb, request, None, ormsgpack.OPT_SORT_KEYS),
        "cachecore encode, no hash": partial(encode, request),
        "cachecore walker, no hash": partial(walk, request),
    }
    for name, space in spaces.items():
        timed[f"cachecore {name}"] = partial(space.key, request)
    return timed


def measure(timed: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Return of each contender the median microseconds per call and the median ratio to the first, timed in turns."""
    counts: dict[str, int] = {}
    for name, call in timed.items():
        count, spent = 1, 0.0
        while spent < SECONDS_PER_TURN:
            count *= 2
            spent = _turn(call, count)
        counts[name] = count
    samples: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(ROUNDS):
        for name, call in timed.items():
            samples[name].append(_turn(call, counts[name]) / counts[name] * 1e6)
    yardstick = next(iter(samples.values()))
    return {
        name: (statistics.median(times), statistics.median(map(truediv, times, yardstick)))
        for name, times in samples.items()
    }


def _turn(call: Callable[[], object], count: int) -> float:
    repeat = range(count)
    start = time.perf_counter()
    for _ in repeat:
        call()
    return time.perf_counter() - start


def main() -> int:
    """Measure, print, write the results; return how many goals were missed."""
    flat = flat_request()
    # As a server gets it: parsed from JSON, not built from constants.
    requests = {
        "flat 3 KB": json.loads(json.dumps(flat)),
        "chat 8 KB, 8 tools": json.loads(json.dumps(chat_request())),
    }
    results: dict[str, Any] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "unit": "µs",
        "requests": {},
    }
    missed = 0
    for title, request in requests.items():
        timed = contenders(request)
        if title == "flat 3 KB":
            record, space = Request(**flat), KeySpace("cc", "faq/v3", sha256())
            timed["cachecore sha256, dataclass"] = partial(space.key, record)
        medians = measure(timed)
        rows = {name: {"median": round(us, 3), "ratio": round(ratio, 4)} for name, (us, ratio) in medians.items()}
        results["requests"][title] = {"encoded_bytes": len(encode(request)), "contenders": rows}
        print(f"\n{title}: {len(encode(request))} bytes encoded")
        for name, (us, ratio) in medians.items():
            goal = GOALS.get((title, name))
            late = goal is not None and ratio > goal
            missed += late
            verdict = "" if goal is None else f"  goal {goal:.2f} {'missed' if late else 'reached'}"
            print(f"  {name:30} {us:8.3f} µs  {ratio:6.3f}{verdict}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    return missed


if __name__ == "__main__":
    sys.exit(main())
