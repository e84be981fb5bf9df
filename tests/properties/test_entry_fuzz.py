"""Mutated entries by the ten thousand: no crash, no damage served, no forgery accepted, memory bounded."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from cachecore.options import MIB
from cachecore.protocols import Serializer
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.testing.fuzz import fuzz_entries, fuzz_one

PLAIN: list[Serializer] = [MsgpackSerializer(), JsonSerializer(), CompressedSerializer(min_bytes=0)]
SEALED: list[Serializer] = [
    EncryptedSerializer(keys={"k1": bytes(range(32))}),
    EncryptedSerializer(keys={"k1": bytes(range(32))}, algorithm="chacha20poly1305", inner=PLAIN[2]),
]


def fuzz(rounds: int, seed: int) -> None:
    outcomes = fuzz_entries(rounds, seed, PLAIN, SEALED)
    assert outcomes.total() == rounds
    # Each stage was reached, or the run proved nothing about it.
    reached = {"magic", "version", "length", "checksum", "header", "key", "flags", "payload", "serializer", "accepted"}
    assert set(outcomes) == reached


def test_fifty_thousand_mutated_entries() -> None:
    fuzz(50_000, seed=1)


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


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
def test_a_million_mutated_entries(seed: int) -> None:
    fuzz(100_000, seed=1000 + seed)
