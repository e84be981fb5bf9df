"""How long it takes to turn a request into its key, beside the ways others do it. `python -m benchmarks keys`

Most caches do what the base does: `json.dumps(sort_keys=True)` with SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import ormsgpack

from benchmarks.running import work
from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import interleaved, repeated
from cachecore.keys import KeySpace, encode
from cachecore.keys.hashers import blake2b, blake3, sha256, xxh3_128
from cachecore.keys.walker import walk

CALLS: Final = 200
BASE: Final = "json + sha256"


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
        BASE: partial(_json_sha256, request),
        "msgspec + sha256": lambda: hashlib.sha256(msgspec_encode(request)).hexdigest(),
        "sha256 alone": partial(hashlib.sha256, ormsgpack.packb(request)),
        "ormsgpack, unsafe, no hash": partial(ormsgpack.packb, request, None, ormsgpack.OPT_SORT_KEYS),
        "cachecore encode, no hash": partial(encode, request),
        "cachecore walker, no hash": partial(walk, request),
    }
    for name, space in spaces.items():
        timed[f"cachecore {name}"] = partial(space.key, request)
    return timed


async def measure() -> list[Table]:
    flat = flat_request()
    # As a server gets it: parsed from JSON, not built from constants.
    requests = {
        "chat 3 KB": json.loads(json.dumps(work.chat_request(1))),
        "flat 3 KB": json.loads(json.dumps(flat)),
        "chat 8 KB, 8 tools": json.loads(json.dumps(chat_request())),
    }
    tables = []
    for title, request in requests.items():
        timed = contenders(request)
        if title == "flat 3 KB":
            record, space = Request(**flat), KeySpace("cc", "faq/v3", sha256())
            timed["cachecore sha256, dataclass"] = partial(space.key, record)
        samples = await interleaved({name: repeated(call, CALLS) for name, call in timed.items()}, seconds=8)
        note = f"Encoded, the request has {len(encode(request)):,} bytes."
        tables.append(of_samples(title, samples, BASE, note))
    return tables


QUESTION = Question("keys", "The cost of the key of a request", measure, ["msgspec", "ormsgpack", "xxhash"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
