"""The cost of an entry beside its JSON: envelope and serializers, writing and reading, with every check.

    python -m benchmarks entries

The base is what a plain cache does: `json.dumps` and `json.loads` of the response, without metadata, checksum, tags or
any check at all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Final

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import interleaved, repeated
from cachecore.contract.protocols import Serializer
from cachecore.encoding import entry
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer

CALLS: Final = 300
BASE: Final = "json.dumps + json.loads"

KEY = "cc:e:faq/v3:" + "0123456789abcdef" * 4
STAMPS = (("n", bytes(range(8))), ("n/faq", bytes(range(8, 16))), ("n/faq/v3", bytes(range(16, 24))))
TEXT = """You can return most items within **30 days** of delivery. Here's how it works:

1. Sign in and open *Orders*, then choose the item you'd like to send back.
2. Pick a reason. If the item arrived damaged, attach a photo and we'll cover the postage.
3. Print the label and hand the parcel in at any shop within 7 days.

Refunds go back to the original payment method:

- Cards: 3 to 5 working days after we receive the parcel
- PayPal: usually within 24 hours
- Gift cards: immediately, as store credit

"Final sale" items, opened cosmetics and licence keys that have been shown can't be returned. If more than 30 days \
have passed, you may still be covered by the two-year warranty; reply with the order number and what went wrong.

For exchanges it's quickest to order the new size straight away and to return the old one, because stock can't be
reserved while a parcel is on its way back to us. Orders sent abroad may take up to 14 days longer, and customs duties
are refunded by the carrier, not by us. Is there anything else you'd like to know?"""

RESPONSE: dict[str, Any] = {
    "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
    "object": "chat.completion",
    "created": 1741570283,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 1117,
        "completion_tokens": 231,
        "total_tokens": 1348,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
    "service_tier": "default",
    "system_fingerprint": "fp_fc9f1d7035",
}
"""A chat completion as OpenAI documents it, with an answer that makes it 1.7 KB of JSON."""

Rows = dict[str, Callable[[], object]]


def rows() -> Rows:
    """Return what is measured, the yardstick first."""
    text = json.dumps(RESPONSE)
    plain = MsgpackSerializer()
    made = _draft(plain)
    payload = plain.dumps(RESPONSE, made)
    text_serializer = JsonSerializer()
    checked_text = text_serializer.dumps(RESPONSE, made)
    data = entry.seal(made, payload)
    found: Rows = {
        BASE: lambda: json.loads(json.dumps(RESPONSE)),
        "json.loads": lambda: json.loads(text),
        "entry, written and read, msgpack": lambda: _there_and_back(plain),
        "envelope alone: draft, seal, decode": lambda: entry.decode(entry.seal(_draft(plain), payload), KEY),
        "draft": lambda: _draft(plain),
        "seal": lambda: entry.seal(made, payload),
        "decode": lambda: entry.decode(data, KEY),
        "read hit, msgpack": lambda: _read(plain, data),
        "json.dumps": lambda: json.dumps(RESPONSE),
        "json dumps, checked": lambda: text_serializer.dumps(RESPONSE, made),
        "json loads, checked": lambda: text_serializer.loads(checked_text, made),
        "msgpack dumps": lambda: plain.dumps(RESPONSE, made),
        "msgpack loads": lambda: plain.loads(payload, made),
    }
    ring = {"k1": bytes(range(32))}
    others: list[Serializer] = [
        JsonSerializer(),
        CompressedSerializer(),
        EncryptedSerializer(keys=ring),
        EncryptedSerializer(keys=ring, algorithm="chacha20poly1305"),
        EncryptedSerializer(keys=ring, inner=CompressedSerializer()),
    ]
    for other in others:
        stored = entry.seal(_draft(other), other.dumps(RESPONSE, _draft(other)))
        found[f"entry, written and read, {other.name}"] = lambda other=other: _there_and_back(other)  # type: ignore[misc]  # mypy cannot type a default of a lambda
        found[f"read hit, {other.name}"] = lambda other=other, stored=stored: _read(other, stored)  # type: ignore[misc]  # as above
    return found


def _draft(serializer: Serializer) -> entry.Draft:
    return entry.draft(
        KEY,
        created=1_700_000_000.25,
        compute_time=1.5,
        fresh_until=1_700_003_600.25,
        dead_until=1_700_007_200.25,
        serializer=serializer.name,
        stamps=STAMPS,
        served_by="openai",
    )


def _there_and_back(serializer: Serializer) -> Any:
    made = _draft(serializer)
    return _read(serializer, entry.seal(made, serializer.dumps(RESPONSE, made)))


def _read(serializer: Serializer, data: bytes) -> Any:
    found = entry.decode(data, KEY)
    if isinstance(found, entry.Rejected) or found.serializer != serializer.name:
        raise AssertionError("not an entry")
    return serializer.loads(found.payload, found)


async def measure() -> list[Table]:
    samples = await interleaved({name: repeated(call, CALLS) for name, call in rows().items()}, seconds=15)
    return [of_samples(f"an answer of {len(json.dumps(RESPONSE)):,} bytes of JSON", samples, BASE)]


QUESTION = Question(
    "entries",
    "The cost of envelope and serializers",
    measure,
    ["ormsgpack", "cryptography", "zstandard", "xxhash"],
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
