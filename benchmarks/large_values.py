"""The time that large values and texts take, while the event loop waits. `python -m benchmarks large_values`

Values are near the bounds of serializers (8 MiB, a quarter of a million elements); texts are questions to normalise and
answers to judge.
"""

from __future__ import annotations

import sys
from functools import partial
from random import Random
from typing import Any, Final

from benchmarks.entries import TEXT
from benchmarks.keys import chat_request
from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import interleaved, repeated
from cachecore.contract.protocols import Serializer
from cachecore.encoding.entry import Draft
from cachecore.keys import KeySpace
from cachecore.keys.hashers import sha256
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore_llm.key.normalise import RULES, normalised_text
from cachecore_llm.policy.admission import BUILT_IN

MIB: Final = 1 << 20
ELEMENTS: Final = 240_000
META: Final = Draft("k", b"")
WORDS: Final = "My card payment was declined twice although there is money on the account. "
CHINESE: Final = "您可以在应用程序的卡片页面订购新卡，通常五个工作日内送达。" * 24


def large() -> dict[str, tuple[Any, list[Serializer]]]:
    """Return values by name, each with the serializers that it is measured with."""
    plain: list[Serializer] = [MsgpackSerializer(), JsonSerializer()]
    sealed = EncryptedSerializer(keys={"k1": bytes(range(32))})
    chance = Random(1)
    return {
        "a text of nearly 8 MiB": (WORDS * (8 * MIB // len(WORDS) - 1), [*plain, CompressedSerializer(), sealed]),
        f"{ELEMENTS:,} small elements": ([{"id": n, "ok": True} for n in range(ELEMENTS // 5)], plain),
        f"{ELEMENTS:,} floats": ([chance.uniform(-1, 1) for _ in range(ELEMENTS)], plain),
    }


async def reads() -> Table:
    turns = {}
    for name, (value, serializers) in large().items():
        for serializer in serializers:
            data = serializer.dumps(value, META)
            turns[f"{name}, {serializer.name}"] = repeated(partial(serializer.loads, data, META), 1)
    table = of_samples("a large value is read", await interleaved(turns, seconds=12))
    rows = {
        name: {
            "processor ms": round(row["processor µs"] / 1000, 2),
            "wall ms": round(row["wall µs"] / 1000, 2),
            "± %": row["± %"],
        }
        for name, row in table.rows.items()
    }
    return Table(table.title, "processor ms", rows)


async def texts() -> Table:
    rules = frozenset(RULES)
    questions = {"40 characters": "Where is my  card, please ?", "60 KB": WORDS * (60_000 // len(WORDS))}
    answers = {"40 characters": TEXT[:40], "700 characters": TEXT[:700], "700 Chinese characters": CHINESE[:700]}
    turns = {
        **{
            f"normalise {name}": repeated(partial(normalised_text, text, rules), 20) for name, text in questions.items()
        },
        **{f"judge {name}": repeated(partial(BUILT_IN.dressed_text, text), 50) for name, text in answers.items()},
    }
    return of_samples("a text is normalised or judged", await interleaved(turns, seconds=4))


async def keys() -> Table:
    space = KeySpace("cc", "faq/v3", sha256())
    plain = chat_request()
    biased = {**plain, "logit_bias": {50256: -100}}
    base = "a chat request of 9 KB"
    turns = {
        base: repeated(partial(space.key, plain), 100),
        "the same with logit_bias={50256: -100}": repeated(partial(space.key, biased), 100),
    }
    return of_samples("a key with a part that is encoded in Python", await interleaved(turns, seconds=4), base)


async def measure() -> list[Table]:
    return [await reads(), await texts(), await keys()]


QUESTION = Question(
    "large_values", "The cost of large values and texts", measure, ["ormsgpack", "msgspec", "zstandard"]
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
