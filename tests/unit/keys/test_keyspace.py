"""The text of keys, and what names are allowed in it."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

import pytest

from cachecore.contract.errors import OptionsError
from cachecore.keys import KeySpace, encode, make_key, user_tag
from cachecore.keys.hashers import sha256, xxh3_128


def space(namespace: str = "faq/v3", *, prefix: str = "p", shards: int = 0) -> KeySpace:
    return KeySpace(prefix, namespace, sha256(), shards=shards)


def test_the_parts_of_a_key() -> None:
    """Prefix, kind, namespace and the digest of version, namespace and request."""
    hashed = b"\xa2k2" + b"\xa6faq/v3" + encode({"q": 1})
    digest = hashlib.sha256(hashed).hexdigest()
    assert space().key({"q": 1}) == f"p:e:faq/v3:{digest}"
    assert make_key("p", "faq/v3", {"q": 1}, sha256()) == f"p:e:faq/v3:{digest}"
    assert space("").key({"q": 1}).startswith("p:e::")


def test_scan_prefixes_are_those_of_whole_segments() -> None:
    """`faq/v3` covers itself and `faq/v3/x`, never `faq/v33`."""
    assert space().scan_prefixes() == ("p:e:faq/v3:", "p:e:faq/v3/")
    assert space("").scan_prefixes() == ("p:e:",)
    for namespace, covered in (("faq/v3", True), ("faq/v3/x", True), ("faq/v33", False), ("faq", False), ("", False)):
        for shards in (0, 64):
            key = space(namespace, shards=shards).key(1)
            assert any(key.startswith(prefix) for prefix in space().scan_prefixes()) == covered
            assert key.startswith(space("").scan_prefixes()[0])


def test_tags_of_namespaces_and_users() -> None:
    """The root's tag first, then each segment's; a user's tag has a name space of its own."""
    assert space().namespace_tags() == ("n", "n/faq", "n/faq/v3")
    assert space("").namespace_tags() == ("n",)
    assert user_tag("doc:42") == "t/doc:42"
    assert space().stamp_key("n") == "p:s:n"
    assert space().stamp_key("n/faq") == "p:s:n%2Ffaq"
    assert space().stamp_key(user_tag("doc:42")) == "p:s:t%2Fdoc%3A42"
    assert space().stamp_key(user_tag("é.~*")) == "p:s:t%2F%C3%A9%2E%7E%2A"


def test_a_long_tag_is_replaced_by_its_digest() -> None:
    """A tag of any length has a stamp, and no tag can be written that looks like another's digest."""
    tag = user_tag("d" * 1000)
    digest = hashlib.sha256(tag.encode()).hexdigest()
    assert space().stamp_key(tag) == f"p:s:~{digest}"
    assert space().stamp_key(f"~{digest}") == f"p:s:%7E{digest}"
    fits = "t" * (250 - len("p:s:"))
    assert space().stamp_key(fits) == f"p:s:{fits}"
    assert space().stamp_key(fits + "t").startswith("p:s:~")


def test_leases_live_outside_the_prefix() -> None:
    """A feed that watches `p:` hears nothing of leases, and no other prefix can be made to hold them."""
    key = space().key(1)
    assert space().lease_key(key) == "p.l:" + key[2:]
    assert space(prefix="a:b").lease_key(space(prefix="a:b").key(1)).startswith("a:b.l:e:faq/v3:")
    assert not space(prefix="p.l").key(1).startswith("p.l:")


def test_slots() -> None:
    """With partitions a key and its stamps carry one hash tag; the slot can be read from the key."""
    sharded = space(shards=64)
    key = sharded.key({"q": 1})
    slot = int(key[-64:], 16) % 64
    assert key == f"p:e:faq/v3:{{{slot}}}{key[-64:]}"
    assert sharded.shard_of(key) == slot
    assert sharded.stamp_key("n", slot) == f"p:s:{{{slot}}}n"
    assert f"{{{slot}}}" in sharded.lease_key(key)
    assert space().shard_of(space().key(1)) is None
    assert {space(shards=4).shard_of(space(shards=4).key(i)) for i in range(100)} == {0, 1, 2, 3}
    for wrong in (None, -1, 64):
        with pytest.raises(OptionsError, match="shard must be from 0 to 63"):
            sharded.stamp_key("n", wrong)
    with pytest.raises(OptionsError, match="shard must be None"):
        space().stamp_key("n", 0)


def test_children() -> None:
    """A child has the keys of the namespace below, with the same prefix, hasher and slots."""
    child = space("faq", prefix="a:b", shards=8).child("v3")
    assert child.namespace == "faq/v3"
    assert child.prefix == "a:b"
    assert child.shards == 8
    assert child.key(1) == space("faq/v3", prefix="a:b", shards=8).key(1)
    assert space("").child("x").namespace == "x"
    assert space("x").child("").key(1) == space("x").key(1)


@pytest.mark.parametrize("namespace", ["/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/.", 5, None, b"a", "a\ud800"])
def test_odd_namespaces_are_refused(namespace: Any) -> None:
    """Empty and dotted segments, and what is no text, are errors while building."""
    with pytest.raises(OptionsError, match="namespace"):
        space(namespace)


@pytest.mark.parametrize("prefix", ["", None, 5, "\ud800", "x" * 200])
def test_odd_prefixes_are_refused(prefix: Any) -> None:
    """A prefix is text, not empty, and leaves room for the rest."""
    with pytest.raises(OptionsError, match="prefix"):
        KeySpace(prefix, "", xxh3_128())


@pytest.mark.parametrize("tag", ["", None, 5, b"t"])
def test_odd_tags_are_refused(tag: Any) -> None:
    """A tag is text and not empty."""
    with pytest.raises(OptionsError, match="a tag must be text"):
        user_tag(tag)
    with pytest.raises(OptionsError, match="a tag"):
        space().stamp_key(user_tag("a\ud800"))


@pytest.mark.parametrize("shards", [-1, 1.5, True, 20_000, "4", None])
def test_odd_shards_are_refused(shards: Any) -> None:
    """A number of slots is a whole number from 0 to what a cluster has."""
    with pytest.raises(OptionsError, match="shards must be"):
        space(shards=shards)


@pytest.mark.parametrize("shards", [0, 64])
@pytest.mark.parametrize(
    "namespace",
    [
        "x" * 300,
        "поддержка клиентов/очень длинное пространство",
        "客户支持" * 20,
        "/".join(["customer-0815"] * 7),
        "a/" * 9 + "b" * 300,
    ],
)
def test_long_namespaces_and_other_scripts_have_keys(namespace: str, shards: int) -> None:
    """A segment that leaves no room is replaced by its digest; the key's own digest covers the whole namespace."""
    named = space(namespace, shards=shards)
    key = named.key(1)
    assert len(named.lease_key(key)) <= 250
    assert key.isascii()
    assert key != space(namespace + "y", shards=shards).key(1)
    assert len({space(namespace[:end]).key(1) for end in (len(namespace), len(namespace) - 1, len(namespace) - 2)}) == 3


def test_long_namespaces_lie_in_those_above_them() -> None:
    """A scan for a namespace finds the entries of all below it, however long their names are."""
    for depth in range(1, 9):
        segments = [f"{number}-" + "n" * 40 for number in range(depth)]
        key = space("/".join(segments)).key(1)
        for above in range(depth + 1):
            assert key.startswith(space("/".join(segments[:above])).scan_prefixes()), (depth, above)
        assert not key.startswith(space("/".join([*segments[:-1], "other" * 10])).scan_prefixes())


def test_a_namespace_of_too_many_segments_is_refused() -> None:
    with pytest.raises(
        OptionsError, match=r"250 are allowed: shorten the prefix, or give the namespace fewer segments"
    ):
        space("/".join(["n" * 40] * 40))


def test_colons_of_a_prefix_stay_readable() -> None:
    """So that a rule of a server's ACL says what is meant; parts that would lie within another prefix are refused."""
    assert space(prefix="llm:response").key(1).startswith("llm:response:e:faq/v3:")
    assert space(prefix="llm:response").stamp_key("n") == "llm:response:s:n"
    assert space(prefix="llm:response").lease_key(space(prefix="llm:response").key(1)).startswith("llm:response.l:e:")
    assert space(prefix="e").key(1).startswith("e:e:")
    for within in ("a:e", "a:s", "a:e:b"):
        with pytest.raises(OptionsError, match="behind a ':'"):
            space(prefix=within)


def test_a_space_shows_what_it_is() -> None:
    """Its repr helps in a debugger."""
    assert repr(space(shards=4)) == "KeySpace('p', 'faq/v3', sha256, shards=4)"


@pytest.mark.parametrize("bits", ["7ff8000000000001", "fff8000000000000", "7ff0000000000001", "ffffffffffffffff"])
def test_every_nan_has_one_key(bits: str) -> None:
    """Also in a flat request, which takes a shorter way to its digest."""
    odd = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert space().key({"x": odd}) == space().key({"x": math.nan})
    assert space(shards=4).key({"x": odd}) == space(shards=4).key({"x": math.nan})


def test_short_segments_stand_as_they_are_to_the_last_byte() -> None:
    """A tenant, a label of four parts and a prompt's digest: what lists keys can read all of them."""
    segments = ["t-" + "a" * 22, *(["l-" + "b" * 22] * 4), "p-" + "c" * 32]
    assert space("/".join(segments), prefix="llm:response", shards=64).key(1).split(":")[-2].split("/") == segments
