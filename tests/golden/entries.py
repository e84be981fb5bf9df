"""Entries as they were written once and are readable for ever: `python -m tests.golden.entries` adds missing ones.

Each case is a file of bytes in `entries/` that is never written again. To add one, add a case to `CASES` and run the
module; what exists is left alone. If a golden entry cannot be read any more, the change that did it needs a new
version of the envelope, or another name for its serializer. Never make the files anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cachecore.contract.protocols import Serializer
from cachecore.encoding import entry
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.serializers.typed import TypedSerializer
from tests.golden.shapes import GoldenAnswer, GoldenModel, GoldenUsage

FOLDER = Path(__file__).parent / "entries"
KEY = "golden:e:faq/v3:" + "0123456789abcdef" * 4
RING = {"2024": bytes(range(32)), "2023": bytes(range(32, 64))}
PLAIN = {
    "text": 'Returns are free for 30 days.\n\n- "Final sale" items are not.\n- \N{EURO SIGN}5 otherwise \U0001f600',
    "usage": {"prompt": 512, "completion": 301, "cost": 0.00125},
    "flags": [True, False, None, 0, -1, 2**63 - 1, -(2**63), 1e300, -0.0],
    "empty": [[], {}, ""],
}
ANSWER = GoldenAnswer("Sure.", GoldenUsage(1, 2), ("a", "b"))
MODEL = GoldenModel(text="Sure.", usage=GoldenUsage(1, 2))

COMMONEST = {"stamps": (("n", bytes(range(8))),), "metadata": None, "served_by": None}
DEEP = tuple(("n" + "/s" * depth, bytes([depth]) * 8) for depth in range(20))

MSGPACK = MsgpackSerializer()
JSON = JsonSerializer()
ZSTD = CompressedSerializer(min_bytes=0)


@dataclass(frozen=True)
class Case:
    """What an entry was made of."""

    name: str
    serializer: Serializer
    value: Any
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.name}.bin"

    @property
    def all_fields(self) -> dict[str, Any]:
        usual: dict[str, Any] = {
            "created": 1_700_000_000.25,
            "compute_time": 1.5,
            "fresh_until": 1_700_003_600.25,
            "dead_until": 1_700_007_200.25,
            "serializer": self.serializer.name,
            "stamps": (("n", bytes(range(8))), ("n/faq", b"f" * 8), ("t/doc:42", b"\xff" * 8)),
            "metadata": {"model": "gpt", "parts": [1, 2.5, None, b"\x00"]},
            "served_by": "provider",
            "tombstone": False,
        }
        return usual | self.fields


CASES = [
    Case("msgpack", MSGPACK, {**PLAIN, "bytes": bytes(range(256))}),
    Case("json", JSON, PLAIN),
    Case("zstd-msgpack", ZSTD, PLAIN),
    Case("zstd-stored", CompressedSerializer(), "short"),
    Case("aesgcm-msgpack", EncryptedSerializer(keys=RING), PLAIN),
    Case("chacha20poly1305-msgpack", EncryptedSerializer(keys=RING, algorithm="chacha20poly1305"), PLAIN),
    Case("aesgcm-zstd-msgpack", EncryptedSerializer(keys=RING, inner=ZSTD), PLAIN),
    Case("aesgcm-older-key", EncryptedSerializer(keys={"2023": RING["2023"]}), PLAIN),
    Case("typed-msgpack", TypedSerializer(value_type=GoldenAnswer), ANSWER),
    Case("typed-json", TypedSerializer(value_type=GoldenModel), MODEL),
    Case("commonest", MSGPACK, PLAIN, {**COMMONEST, "dead_until": 1_700_003_600.25}),
    Case("commonest-stale", MSGPACK, PLAIN, COMMONEST),
    Case("deep-namespace", MSGPACK, PLAIN, {"stamps": DEEP, "metadata": None, "served_by": None}),
    Case("for-ever", MSGPACK, None, {"fresh_until": None, "dead_until": None, "stamps": (), "metadata": None}),
    Case("never-dead", MSGPACK, [], {"dead_until": None, "served_by": None}),
    Case("stale-at-once", MSGPACK, 0, {"fresh_until": 1_700_000_000.25}),
    Case("large", MSGPACK, "x" * 70_000),
    Case("tombstone", MSGPACK, None, {"tombstone": True, "stamps": (), "metadata": None, "served_by": None}),
]


def add_missing() -> Iterator[Path]:
    """Write the entries that have no file yet; yield their paths."""
    for case in CASES:
        if not case.path.exists():
            made = entry.draft(KEY, **case.all_fields)
            with case.path.open("xb") as file:  # never over one that is there
                file.write(entry.seal(made, case.serializer.dumps(case.value, made)))
            yield case.path


if __name__ == "__main__":
    for added in add_missing():
        print(added)
