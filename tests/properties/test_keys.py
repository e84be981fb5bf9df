"""The laws of keys: the same everywhere, blind to order, injective, one text per namespace."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import make_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cachecore.contract.errors import OptionsError, UnkeyableError
from cachecore.keys import KeySpace, decode, encode, make_key, user_tag
from cachecore.keys.hashers import sha256
from cachecore.keys.walker import walk
from tests.properties.key_requests import (
    Access,
    Colour,
    Pair,
    Shade,
    Struct,
    Twin,
    hashable,
    keys_stay_apart,
    meaning,
    names,
    numbers,
    requests,
    scalars,
    tagged,
    valid,
)


@given(requests)
def test_decoding_gives_the_request_back(asked: Any) -> None:
    """The encoding is injective: nothing but the equalities on purpose is lost."""
    assert meaning(decode(encode(asked))) == meaning(asked)


@given(requests)
def test_decoding_and_encoding_again_changes_nothing(asked: Any) -> None:
    """A request has one encoding, however it is built."""
    data = encode(asked)
    assert encode(decode(data)) == data


@given(requests, requests)
def test_two_requests_share_bytes_only_if_they_mean_the_same(a: Any, b: Any) -> None:
    """Same bytes if and only if same meaning."""
    assert (encode(a) == encode(b)) == (meaning(a) == meaning(b))


NEAR_TWINS: list[Any] = [
    *(1, 1.0, True, "1", b"1", None, "", b"", 0, -0.0, 0.0, False, [], (), {}, "[]", "\ud800", "\\ud800"),
    *({1: 2}, {"1": 2}, {True: 2}, Pair(1), Twin(1), Struct(1), {"a": 1, "b": None}, [1, None]),
    *(*Colour, *Shade, Access.READ),
]


@given(st.lists(st.sampled_from(NEAR_TWINS), max_size=3))
def test_values_that_look_alike_are_told_apart(values: list[Any]) -> None:
    """Near twins, which random values hardly ever are, keep their own bytes too."""
    for other in ([*values, None], [values], {"": values}, [str(value) for value in values]):
        assert (encode(values) == encode(other)) == (meaning(values) == meaning(other))


@given(requests)
def test_the_fast_way_and_the_walker_agree(asked: Any) -> None:
    """What the C encoder writes is what the encoding says, byte for byte."""
    assert encode(asked) == walk(asked)


@given(st.dictionaries(names, scalars | requests, max_size=6), st.sampled_from([0, 7]))
def test_a_key_is_the_digest_of_version_namespace_and_encoding(asked: dict[str, Any], shards: int) -> None:
    """However short the way that a key took, its digest is that of the encoding written out."""
    digest = hashlib.sha256(b"\xa2k2\xa6faq/v3" + walk(asked)).hexdigest()
    key = KeySpace("p", "faq/v3", sha256(), shards=shards).key(asked)
    slot = f"{{{int(digest, 16) % shards}}}" if shards else ""
    assert key == f"p:e:faq/v3:{slot}{digest}"


@given(st.dictionaries(names, requests, max_size=8), st.randoms(use_true_random=False))
def test_key_ignores_field_order(asked: dict[str, Any], chance: Random) -> None:
    """A request keeps its key however its fields are ordered."""
    shuffled = dict(chance.sample(list(asked.items()), len(asked)))
    assert encode(shuffled) == encode(asked)


@given(st.lists(hashable, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_key_ignores_the_order_of_a_set(members: list[Any], chance: Random) -> None:
    """A set keeps its key however it was filled; of members that are equal, such as 1 and True, it has the first."""
    shuffled = chance.sample(members, len(members))
    assert encode(set(shuffled)) == encode(set(members))


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,5}_", fullmatch=True), requests, min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_a_record_is_its_class_and_its_fields(fields: dict[str, Any], chance: Random) -> None:
    """However its fields are ordered, and apart from the dict of its fields and from a class of another name."""
    shuffled = chance.sample(list(fields), len(fields))
    one, same, other = (make_dataclass(*made) for made in (("A", fields), ("A", shuffled), ("B", fields)))
    data = encode(one(**fields))
    assert data == encode(same(**fields)) == walk(one(**fields))
    assert len({data, encode(other(**fields)), encode(fields), encode(list(fields.items()))}) == 4
    decoded = decode(data)
    assert (decoded.module, decoded.name) == (one.__module__, "A")
    assert meaning(decoded.fields) == meaning(fields)


@given(st.dictionaries(hashable, requests, max_size=6).filter(keys_stay_apart), st.randoms(use_true_random=False))
def test_key_ignores_the_order_of_other_keys(asked: dict[Any, Any], chance: Random) -> None:
    """A dict keeps its key however it was filled, whatever its keys are."""
    shuffled = dict(chance.sample(list(asked.items()), len(asked)))
    assert encode(shuffled) == encode(asked) == walk(asked)


@given(st.binary(min_size=8, max_size=8))
def test_every_nan_is_one_and_every_other_float_itself(bits: bytes) -> None:
    """The bits of a NaN are the platform's; those of a number are the number."""
    if bits[1] & 1:  # half of them NaNs of both signs, infinity among them
        bits = bytes((bits[0] | 0x7F, bits[1] | 0xF0)) + bits[2:]
    number = struct.unpack(">d", bits)[0]
    expected = struct.pack(">d", math.nan if math.isnan(number) else number)
    assert encode(number) == b"\xcb" + expected
    assert encode({"x": number, "y": [number]}) == walk({"x": number, "y": [number]})


@given(
    st.integers(1, 270),
    st.sampled_from(["list", "dict", "tuple", "record", "set", "pairs", "mixed"]),
    st.randoms(use_true_random=False),
)
def test_the_bound_on_nesting_is_exact(depth: int, kind: str, chance: Random) -> None:
    """255 levels are keyed, 256 are refused, whatever they are made of."""
    _expect_bound(depth, kind, chance)


@pytest.mark.parametrize("kind", ["list", "dict", "tuple", "record", "set", "pairs"])
def test_the_bound_on_nesting_is_the_same_for_all(kind: str) -> None:
    """The last level that is keyed and the first that is not."""
    for depth in (63, 64, 65, 200, 253, 254, 255, 256, 257, 300, 600):
        _expect_bound(depth, kind, Random(1))


def _expect_bound(depth: int, kind: str, chance: Random) -> None:
    wraps: dict[str, Callable[[Any], Any]] = {
        "list": lambda inner: [inner],
        "dict": lambda inner: {"a": inner},
        "tuple": lambda inner: (inner,),
        "pairs": lambda inner: {1: inner},
        "record": lambda inner: make_dataclass("R", ["a"])(inner),
        "set": lambda inner: frozenset([inner]),
    }
    value: Any = () if kind == "set" else {}
    for _ in range(depth - 1):
        chosen = chance.choice(["list", "dict", "tuple", "record", "pairs"]) if kind == "mixed" else kind
        value = wraps[chosen](value)
    if depth <= 255:
        assert encode(value) == walk(value)
    else:
        with pytest.raises(UnkeyableError, match="nested deeper than 255"):
            encode(value)


_IN_A_NEW_PROCESS = """
import enum
import sys
from dataclasses import make_dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID
import msgspec
import pydantic
from cachecore.keys import make_key
from cachecore.keys.hashers import sha256
words = [f"w{i}" for i in range(50)]
Model = pydantic.create_model("Model", tags=(set[str], set(words)), n=(int, 1))
Struct = msgspec.defstruct("Struct", [("tags", frozenset[str], frozenset(words)), ("n", int, 1)])
Record = make_dataclass("Record", words)
Access = enum.Flag("Access", words)
asked = {"set": set(words), "nested": {(w, i) for i, w in enumerate(words)}, "mixed": {1, "1", b"1", None, UUID(int=7)},
         "fields": {w: i for i, w in enumerate(words)}, "when": date(2026, 1, 2), "price": Decimal("1.50"),
         "classes": {Model, Struct}, "models": [Model(), Struct()],
         "record": Record(*words), "keys": {(w, i): i for i, w in enumerate(words)}, "cut": {"\\ud800", "\\udc00"},
         "members": set(Access), "several": Access.w1 | Access.w9}
print(make_key("p", "faq/v3", asked, sha256()))
"""


def test_key_is_the_same_in_every_process() -> None:
    """Neither the hash seed nor the identity of anything is part of a key."""
    keys = {
        subprocess.run(
            [sys.executable, "-c", _IN_A_NEW_PROCESS],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242", "random")
    }
    assert len(keys) == 1


segments = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/"), min_size=1, max_size=3).filter(
    lambda segment: segment.strip(".")
)
namespaces = st.lists(segments, max_size=3).map("/".join)
tags = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
prefixes = st.text(st.sampled_from(":e*é") | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3).filter(
    lambda prefix: not {"e", "s"}.intersection(prefix.split(":")[1:])
)


@given(namespaces, namespaces, st.integers(0, 3))
def test_namespaces_never_meet(a: str, b: str, shards: int) -> None:
    """Different namespaces have different keys for every request, and neither text nor digest of one is the other's."""
    first, second = (KeySpace("p", namespace, sha256(), shards=shards) for namespace in (a, b))
    one, two = first.key({"q": 1}), second.key({"q": 1})
    assert (one == two) == (a == b)
    assert (one[-64:] == two[-64:]) == (a == b)
    below = a == b or b.startswith(f"{a}/") or not a
    assert any(two.startswith(prefix) for prefix in first.scan_prefixes()) == below


@given(prefixes, namespaces, tags, requests)
def test_only_harmless_characters_reach_a_store(prefix: str, namespace: str, tag: str, asked: Any) -> None:
    """Whatever the names, keys are short printable ASCII without glob characters, and parse back."""
    space = KeySpace(prefix, namespace, sha256())
    key = space.key(asked)
    assert re.fullmatch(r"[A-Za-z0-9_%:-]+:e:[A-Za-z0-9_%/-]*:[0-9a-f]{64}", key)
    stamp = space.stamp_key(user_tag(tag))
    assert re.fullmatch(r"[A-Za-z0-9_%:-]+:s:(?:[A-Za-z0-9_%-]+|~[0-9a-f]{64})", stamp)
    lease = space.lease_key(key)
    head = key.rsplit(":", 3)[0]
    assert lease.startswith(f"{head}.l:e:")
    assert not lease.startswith(f"{head}:")
    assert max(map(len, (key, stamp, lease))) <= 250


@given(tags, tags)
def test_tags_never_meet(a: str, b: str) -> None:
    """Different tags have different stamps, however long, and none is a namespace's."""
    space = KeySpace("p", "n/doc", sha256())
    assert (space.stamp_key(user_tag(a)) == space.stamp_key(user_tag(b))) == (a == b)
    assert user_tag(a) not in space.namespace_tags()


@given(requests, st.integers(1, 64))
def test_an_entry_and_its_stamps_share_a_slot(asked: Any, shards: int) -> None:
    """The hash tag of a key is the digest modulo the shards, and that of its stamps."""
    space = KeySpace("p", "faq", sha256(), shards=shards)
    key = space.key(asked)
    shard = space.shard_of(key)
    assert shard == int(key[-64:], 16) % shards
    assert f"{{{shard}}}" in key
    assert f"{{{shard}}}" in space.stamp_key("n", shard)
    assert key.replace(f"{{{shard}}}", "") == make_key("p", "faq", asked, sha256())


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=5), st.integers(1, 90))
def test_a_namespace_that_does_not_fit_is_refused_at_once(text: str, times: int) -> None:
    """Keys are at most 250 bytes: either the namespace is refused, or every key fits."""
    assume(text.isprintable() and "/" not in text and text.strip("."))
    try:
        space = KeySpace("cc", text * times, sha256(), shards=64)
    except OptionsError as error:
        assert "250" in str(error)  # noqa: PT017 - both outcomes are right, in their places
        return
    longest = max((space.key(i) for i in range(20)), key=len)
    assert len(space.lease_key(longest)) <= 250


@given(st.text(valid))
def test_normalisation_forms_stay_apart(text: str) -> None:
    """NFC and NFD of a text are two requests: a model sees different tokens."""
    composed, decomposed = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    assert (encode(composed) == encode(decomposed)) == (composed == decomposed)


@given(
    st.recursive(
        st.none() | st.booleans() | numbers | st.text(valid), lambda x: st.lists(x) | st.dictionaries(st.text(valid), x)
    )
)
def test_plain_json_goes_through_unchanged(asked: Any) -> None:
    """A request that came as JSON has the key of what the sender built, unless a NaN or a huge float is in the way."""
    again = json.loads(json.dumps(asked))
    assert encode(again) == encode(asked)


def test_the_strategies_reach_every_tagged_type() -> None:
    """The laws above are about all types, so they must come up."""
    seen: set[str] = set()

    @settings(max_examples=400, database=None)
    @given(tagged)
    def collect(value: Any) -> None:
        seen.add(type(value).__name__)

    collect()
    kinds = (UUID, Decimal, date, time, datetime, timedelta, PurePosixPath, Colour, Shade, Access)
    assert seen == {kind.__name__ for kind in kinds}
