"""Mutated entries by the ten thousand: no crash, no damage served, no forgery accepted, memory bounded."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from cachecore.contract.options import MIB
from cachecore.contract.protocols import Serializer
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.testing.fuzz import corpus, fuzz_entries, fuzz_one
from tests.conftest import Record
from tests.faults.callers import sizes

PLAIN: list[Serializer] = [MsgpackSerializer(), JsonSerializer(), CompressedSerializer(min_bytes=0)]
SEALED: list[Serializer] = [
    EncryptedSerializer(keys={"k1": bytes(range(32))}),
    EncryptedSerializer(keys={"k1": bytes(range(32))}, algorithm="chacha20poly1305", inner=PLAIN[2]),
]


@sizes(50_000, 1_000_000)
def test_d1_mutated_entries(size: int, record: Record) -> None:
    outcomes = fuzz_entries(size, 1, PLAIN, SEALED)
    assert outcomes.total() == size
    # Each stage was reached, or the run proved nothing about it.
    reached = {"magic", "version", "length", "checksum", "header", "key", "flags", "payload", "serializer", "accepted"}
    assert set(outcomes) == reached
    refused = size - outcomes["accepted"]
    record("D1", "0 wrong, 0 raised", met=True, size=f"{size:,} mutated entries, {refused:,} refused")


def test_memory_stays_bounded_while_mutated_entries_are_read() -> None:
    tracemalloc.start()
    try:
        fuzz_entries(5_000, 2, PLAIN, SEALED)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB


def test_arbitrary_bytes_as_payloads() -> None:
    chance = random.Random(3)
    for _ in range(10_000):
        fuzz_one(chance.randbytes(chance.randrange(100)), [*PLAIN, *SEALED])


@pytest.mark.parametrize("serializer", [*PLAIN, *SEALED], ids=lambda serializer: serializer.name)
def test_what_a_fuzzer_makes_gets_past_the_checks(serializer: Serializer) -> None:
    """A changed header and another key are put right: else a fuzzer would never see what lies behind the checksum."""
    for data in corpus([serializer])[1:]:
        name = serializer.name
        assert name in fuzz_one(data, [serializer])
        assert name in fuzz_one(data[:-1] + bytes([data[-1] ^ 1]), [serializer])
        assert name in fuzz_one(data[:3] + bytes(2) + data[5:], [serializer])
        older = data[:5] + bytes(8) + data[13:]
        assert (name in fuzz_one(older, [serializer])) is (serializer in PLAIN)
