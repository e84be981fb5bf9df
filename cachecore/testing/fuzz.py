"""Random bytes, thrown at the envelope and the serializers.

`fuzz_entries` mutates real entries at random, reproducibly by its seed; `fuzz_one` takes one byte string from a
coverage-guided fuzzer. Both raise AssertionError as soon as something is accepted that must not be, and let every
other exception through: any error is a finding.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xxhash import xxh3_64_digest, xxh3_64_intdigest

from cachecore.contract.errors import EncodingError
from cachecore.contract.protocols import Serializer
from cachecore.encoding import entry

KEY = "fuzz:e:faq:" + "0123456789abcdef" * 4
OTHER_KEY = "fuzz:e:faq:" + "fedcba9876543210" * 4

# Where the envelope has its part of the digest of its key, and how many bytes its checksum has (see
# `cachecore.encoding.entry`).
_PART_AT, _PART_END, _CHECKSUM_BYTES = 3, 5, 8

VALUES: Sequence[Any] = (
    None,
    "",
    {"text": "Returns are free for 30 days.\n" * 20, "usage": {"total_tokens": 17}, "cost": 0.25, "cached": False},
    [0, -1, 2**63, 1.5, b"\x00\xff", "\N{GREEK SMALL LETTER ALPHA}", [], {}, [[["deep"]]]],
    [0.1 * i for i in range(64)],
)


def corpus(serializers: Sequence[Serializer]) -> list[bytes]:
    """Return entries of `KEY`, whole and right: each value through each serializer that takes it, and a tombstone."""
    entries = [entry.encode(KEY, b"", created=1.7e9, fresh_until=0.0, dead_until=1.8e9, serializer="", tombstone=True)]
    for number, value in enumerate(VALUES):
        for serializer in serializers:
            made = entry.draft(
                KEY,
                created=1.7e9 + number,
                compute_time=0.8,
                fresh_until=None if number == 0 else 1.7e9 + 60,
                dead_until=None if number == 0 else 1.7e9 + 90,
                serializer=serializer.name,
                stamps=[(f"tag:{i}", bytes([i]) * 8) for i in range(number)],
                metadata={"model": "m", "numbers": [1, 2.5, None]} if number % 2 else None,
                served_by="provider" if number == 2 else None,
            )
            try:
                entries.append(entry.seal(made, serializer.dumps(value, made)))
            except EncodingError:  # JSON takes no bytes
                continue
    return entries


def fuzz_one(data: bytes, serializers: Sequence[Serializer], *, key: str = KEY) -> set[str]:
    """Give `data` to the reader of entries, and its payload to each serializer; return the names of those that read it.

    The reader gets it twice: as it is, and with its checksum and the digest of `key` put right, which no fuzzer would
    guess. If both are no entry, the data is taken as a payload.
    """
    found = entry.decode(data, key)
    assert type(found) in (entry.Entry, entry.Rejected), "decode answered neither way"
    if isinstance(found, entry.Rejected) and len(data) >= _PART_END + _CHECKSUM_BYTES:
        part = xxh3_64_digest(key.encode())[-2:]
        body = data[:_PART_AT] + part + data[_PART_END:-_CHECKSUM_BYTES]
        found = entry.decode(body + xxh3_64_digest(body, xxh3_64_intdigest(key.encode())), key)
    if isinstance(found, entry.Entry):
        payload, context = found.payload, entry.Draft(key, found.header)
    else:
        payload, context = data, entry.Draft(key, data[:_PART_END])
    return {serializer.name for serializer in serializers if _loads(serializer, payload, context)}


def fuzz_entries(rounds: int, seed: int, plain: Sequence[Serializer], sealed: Sequence[Serializer]) -> Counter[str]:
    """Mutate entries `rounds` times; return how often each outcome occurred.

    Args:
        rounds: mutations to try; about 20 µs each.
        seed: makes a failure happen again.
        plain: serializers with payloads that any writer may make.
        sealed: serializers that must accept nothing that they did not make.
    """
    chance = random.Random(seed)  # noqa: S311 - for tests, and to be repeated
    originals = corpus([*plain, *sealed])
    whole = set(originals)
    by_name: Mapping[str, Serializer] = {serializer.name: serializer for serializer in (*plain, *sealed)}
    sealed_names = {serializer.name for serializer in sealed}
    outcomes: Counter[str] = Counter()
    for _ in range(rounds):
        original = chance.choice(originals)
        mutate = chance.choice(_MUTATIONS)
        data = mutate(original, chance, originals)
        fixed = mutate is _swap_payload
        if not fixed and len(data) > 8 and chance.random() < 0.5:
            fixed = True
            data = data[:-8] + xxh3_64_digest(data[:-8], xxh3_64_intdigest(KEY.encode()))
        assert isinstance(entry.decode(data, OTHER_KEY), entry.Rejected), "an entry was accepted for another key"
        found = entry.decode(data, KEY)
        if isinstance(found, entry.Rejected):
            outcomes[found.reason] += 1
            continue
        assert fixed or data in whole, "damage was not noticed"
        serializer = by_name.get(found.serializer)
        if serializer is None:
            outcomes["serializer"] += 1
            continue
        opened = _loads(serializer, found.payload, found)
        outcomes["accepted" if opened else "payload"] += 1
        assert not opened or data in whole or found.serializer not in sealed_names, "a forgery was accepted"
        for other in sealed:  # as a reader that expects sealed entries and does not look at the name
            if other.name != found.serializer:
                assert not _loads(other, found.payload, found), "an entry of another serializer was opened"
    return outcomes


def _loads(serializer: Serializer, data: bytes, context: entry.Draft | entry.Entry) -> bool:
    try:
        serializer.loads(data, context)
    except EncodingError:
        return False
    return True


def _random_bytes(original: bytes, chance: random.Random, originals: Sequence[bytes]) -> bytes:
    return chance.randbytes(chance.randrange(200))


def _flip_bits(original: bytes, chance: random.Random, originals: Sequence[bytes]) -> bytes:
    data = bytearray(original)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _truncate(original: bytes, chance: random.Random, originals: Sequence[bytes]) -> bytes:
    return original[: chance.randrange(len(original))]


def _set_bytes(original: bytes, chance: random.Random, originals: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(original))
    return original[:at] + chance.choice(_TOKENS) + original[at + chance.randrange(4) :]


def _insert(original: bytes, chance: random.Random, originals: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(original))
    return original[:at] + chance.randbytes(chance.randrange(1, 17)) + original[at:]


def _splice(original: bytes, chance: random.Random, originals: Sequence[bytes]) -> bytes:
    other = chance.choice(originals)
    return original[: chance.randrange(len(original))] + other[chance.randrange(len(other)) :]


def _swap_payload(original: bytes, chance: random.Random, originals: Sequence[bytes]) -> bytes:
    """The header of one entry over the payload of another, as after moving bytes between entries."""
    first, second = entry.decode(original, KEY), entry.decode(chance.choice(originals), KEY)
    assert isinstance(first, entry.Entry)
    assert isinstance(second, entry.Entry)
    return entry.seal(entry.Draft(KEY, first.header), second.payload)


# Claims of sizes, empty containers and extensions of MessagePack; structure of JSON; numbers no clock shows.
_TOKENS = (
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\x7f\xff\xff\xff"),
    *(b"\xd4\x00\x00", b"\xc7\x05\x01pwned", b"\xc1", b"\x80" * 64, b"\x91" * 300, b"[" * 300, b'{"a":' * 300),
    *(b"\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xff\xf0\x00\x00\x00\x00\x00\x00", b"\xff" * 8, b"\x00" * 8),
)

_Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]
_MUTATIONS: Sequence[_Mutation] = (
    *(_random_bytes, _flip_bits, _flip_bits, _truncate, _set_bytes, _insert, _splice, _swap_payload),
)
