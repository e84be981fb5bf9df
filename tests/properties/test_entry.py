"""Laws of the envelope and of the serializers, for any fields, keys and values."""

from __future__ import annotations

import math
import random
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from cachecore.contract.errors import EncodingError
from cachecore.contract.protocols import Serializer
from cachecore.encoding import entry
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.exact import same
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer

keys = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=250)
text = st.text(st.characters(exclude_categories=["Cs"]))
times = st.floats(min_value=0, max_value=1e12)
paths = st.lists(st.text("ab/", max_size=2), min_size=1, max_size=18).map(
    lambda parts: ["/".join(parts[: n + 1]) for n in range(len(parts))]
)
maybe_times = st.none() | times
ints = st.integers(-(2**63), 2**64 - 1)
plain = st.recursive(
    st.none() | st.booleans() | ints | st.floats() | text | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(text, inner),
    max_leaves=20,
)
stamps = st.dictionaries(text, st.binary(min_size=8, max_size=8), max_size=8).map(lambda found: tuple(found.items()))
fields = st.fixed_dictionaries(
    {
        "created": times,
        "compute_time": times,
        "fresh_until": maybe_times,
        "dead_until": maybe_times,
        "serializer": st.text(st.characters(max_codepoint=127), max_size=256),
        "stamps": stamps,
        "metadata": st.none() | st.dictionaries(text, plain, max_size=4),
        "served_by": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=256),
        "tombstone": st.booleans(),
    }
)
anything = st.recursive(
    plain
    | st.integers()
    | st.text()
    | st.complex_numbers()
    | st.decimals()
    | st.dates()
    | st.sets(st.integers())
    | st.tuples(plain)
    | st.binary().map(bytearray),
    lambda inner: st.lists(inner) | st.dictionaries(text | st.integers() | st.none(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)

ROUNDED = ("compute_time", "fresh_until", "dead_until")
RING = {"k1": bytes(range(32)), "k2": bytes(range(32, 64))}
SERIALIZERS: list[Serializer] = [
    MsgpackSerializer(),
    JsonSerializer(),
    CompressedSerializer(min_bytes=0),
    EncryptedSerializer(keys=RING),
    EncryptedSerializer(keys=RING, algorithm="chacha20poly1305", inner=CompressedSerializer(inner=JsonSerializer())),
]


@given(keys, fields, st.binary(max_size=3000))
def test_an_entry_comes_back(key: str, given_fields: dict[str, Any], payload: bytes) -> None:
    made = entry.draft(key, **given_fields)
    found = entry.decode(entry.seal(made, payload), key)
    assert isinstance(found, entry.Entry)
    assert (found.key, found.payload, found.header) == (key, payload, made.header)
    exact = {name: getattr(found, name) for name in given_fields if name not in ROUNDED}
    assert same({name: value for name, value in given_fields.items() if name not in ROUNDED}, exact)
    assert abs(found.compute_time - min(given_fields["compute_time"], 65_504)) <= found.compute_time / 1000 + 1e-7
    for name in ("fresh_until", "dead_until"):
        _check_rounded_down(given_fields[name], getattr(found, name), given_fields["created"])


def _check_rounded_down(asked: float | None, found: float | None, created: float) -> None:
    """Deadlines are kept as distances from `created`, never too long and hardly too short."""
    if asked is None or found is None:
        assert asked is found
        return
    # A step of float64 at this size is no lengthening.
    unsure = math.ulp(max(asked, created)) + 1e-30
    assert asked - abs(asked - created) / 2**22 - 2 * unsure <= found <= asked + unsure


@given(paths.map(dict.fromkeys).map(list), st.integers(0, 2**32))
def test_tags_that_continue_each_other_come_back(tags: list[str], seed: int) -> None:
    chance = random.Random(seed)
    pairs = tuple((tag, chance.randbytes(8)) for tag in tags)
    whole = entry.encode("k", b"", created=0, fresh_until=1, dead_until=1, serializer="msgpack", stamps=pairs)
    found = entry.decode(whole, "k")
    assert isinstance(found, entry.Entry)
    assert found.stamps == pairs


@given(keys, fields, st.binary(max_size=300), st.data())
def test_a_flipped_bit_is_a_miss(key: str, given_fields: dict[str, Any], payload: bytes, data: st.DataObject) -> None:
    whole = entry.encode(key, payload, **given_fields)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    assert isinstance(entry.decode(bytes(flipped), key), entry.Rejected)


@given(keys, fields, st.binary(max_size=300), st.data())
def test_a_truncated_entry_is_a_miss(
    key: str, given_fields: dict[str, Any], payload: bytes, data: st.DataObject
) -> None:
    whole = entry.encode(key, payload, **given_fields)
    size = data.draw(st.integers(0, len(whole) - 1))
    assert isinstance(entry.decode(whole[:size], key), entry.Rejected)


@given(keys, keys, fields)
def test_an_entry_under_any_other_key_is_a_miss(key: str, other: str, given_fields: dict[str, Any]) -> None:
    found = entry.decode(entry.encode(key, b"", **given_fields), other)
    assert isinstance(found, entry.Entry) if key == other else found == entry.Rejected("key")


@given(st.binary(max_size=200), keys)
@example(b"cc\x01\x00" + b"\xff" * 80, "k")
def test_any_bytes_are_answered(data: bytes, key: str) -> None:
    assert isinstance(entry.decode(data, key), entry.Rejected)


@given(anything)
def test_a_value_comes_back_as_it_is_or_was_refused(value: Any) -> None:
    for serializer in SERIALIZERS:
        made = entry.Draft("k", b"header")
        try:
            data = serializer.dumps(value, made)
        except EncodingError:
            continue
        assert same(value, serializer.loads(data, made))


@given(plain)
def test_plain_values_are_not_refused(value: Any) -> None:
    made = entry.Draft("k", b"header")
    assert same(value, SERIALIZERS[0].loads(SERIALIZERS[0].dumps(value, made), made))


@given(plain, keys, keys, st.binary(max_size=50), st.binary(max_size=50))
def test_a_sealed_value_opens_in_its_own_place_only(
    value: Any, key: str, other_key: str, header: bytes, other_header: bytes
) -> None:
    serializer = SERIALIZERS[3]
    data = serializer.dumps(value, entry.Draft(key, header))
    try:
        serializer.loads(data, entry.Draft(other_key, other_header))
        opened = True
    except EncodingError:
        opened = False
    assert opened == ((key, header) == (other_key, other_header))
