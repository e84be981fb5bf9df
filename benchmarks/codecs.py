"""The cost of writing and reading a value: the serializers here beside the codecs that caches use.

    python -m benchmarks codecs

The codecs of others check nothing beyond their own form. Serializers of cachecore check types, depth and sizes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

import msgspec
import ormsgpack

from benchmarks.entries import RESPONSE
from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import interleaved, repeated
from cachecore.contract.protocols import Serializer
from cachecore.encoding.entry import Draft
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer

BASE: Final = "json"
META: Final = Draft("k", b"")
VALUES: Final[dict[str, tuple[Any, int]]] = {
    "a chat completion of 1.7 KB": (RESPONSE, 300),
    "a vector of 1,536 floats": ([Random(1).uniform(-1, 1) for _ in range(1536)], 30),
}
"""Each with how many calls a turn makes."""

Codec = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def ours(serializer: Serializer) -> Codec:
    return lambda value: serializer.dumps(value, META), lambda data: serializer.loads(data, META)


def codecs() -> dict[str, Codec]:
    """Return how each codec writes and reads, by name."""
    found: dict[str, Codec] = {
        BASE: (lambda value: json.dumps(value).encode(), json.loads),
        "msgspec, json": (msgspec.json.encode, msgspec.json.decode),
        "msgspec, msgpack": (msgspec.msgpack.encode, msgspec.msgpack.decode),
        "ormsgpack": (ormsgpack.packb, ormsgpack.unpackb),
    }
    try:
        import orjson
    except ImportError:
        pass
    else:
        found["orjson"] = (orjson.dumps, orjson.loads)
    for serializer in (JsonSerializer(), MsgpackSerializer(), CompressedSerializer()):
        found[f"cachecore {serializer.name}"] = ours(serializer)
    return found


async def measure() -> list[Table]:
    tables = []
    for name, (value, calls) in VALUES.items():
        written = {codec: dumps(value) for codec, (dumps, _) in codecs().items()}
        writes = {codec: repeated(partial(dumps, value), calls) for codec, (dumps, _) in codecs().items()}
        reads = {codec: repeated(partial(loads, written[codec]), calls) for codec, (_, loads) in codecs().items()}
        for word, turns in (("write", writes), ("read", reads)):
            table = of_samples(f"{word}, {name}", await interleaved(turns, seconds=6), BASE)
            for codec, row in table.rows.items():
                row["bytes"] = len(written[codec])
            tables.append(table)
    return tables


QUESTION = Question(
    "codecs", "The cost of writing and reading a value", measure, ["ormsgpack", "msgspec", "orjson", "zstandard"]
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
