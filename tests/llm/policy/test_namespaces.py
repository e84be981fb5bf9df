"""Namespaces: no tenant, label or prompt can pass for another kind, whatever it is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import OptionsError
from cachecore.keys import MAX_KEY_BYTES, KeySpace
from cachecore.keys.hashers import sha256
from cachecore_llm.policy.prompts import label_segments, namespace, prompt_digest
from cachecore_llm.policy.tenants import tenant_segments

names = st.text(min_size=1, max_size=40) | st.sampled_from(
    ["l-faq", "t-acme", "p-" + "0" * 32, "x-" + "0" * 32, "a/b", "..", "*", ":", "%41", "A", "é", "\ud800"]
)
labels = st.lists(names.filter(lambda text: "/" not in text), min_size=1, max_size=4).map("/".join)


@given(
    st.tuples(st.text(), st.none() | names, st.none() | labels),
    st.tuples(st.text(), st.none() | names, st.none() | labels),
)
def test_different_places_never_meet(
    a: tuple[str, str | None, str | None], b: tuple[str, str | None, str | None]
) -> None:
    """Two namespaces are the same only if prompt, tenant and label are; nor does one lie in the other's."""
    first, second = (namespace(prompt, tenant=tenant, label=label) for prompt, tenant, label in (a, b))
    assert (first == second) == (a == b)
    assert not second.startswith(first + "/")


@given(names, labels)
def test_tenant_never_looks_like_a_label(tenant: str, label: str) -> None:
    assert tenant_segments(tenant) != label_segments(label)[:1]


@given(st.text(), names, labels)
def test_only_characters_that_need_no_encoding(prompt: str, tenant: str, label: str) -> None:
    """So that what a key shows is what was written here, and its length is known."""
    place = namespace(prompt, tenant=tenant, label=label)
    assert set(place) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/")
    assert all(len(segment) <= 34 for segment in place.split("/"))


@pytest.mark.parametrize("name", ["a" * 22, "a" * 23, "é" * 500])
@pytest.mark.parametrize(("prefix", "above"), [("llm:response", ""), ("cc", "llm:response/")])
def test_longest_place_fits_a_key(name: str, prefix: str, above: str) -> None:
    """Also where a key carries a slot, and where the answers live in another cache: no request fails for its label."""
    place = namespace("p", tenant=name, label="/".join([name] * 4))
    keys = KeySpace(prefix, above + place, sha256(), shards=64)
    assert len(keys.lease_key(keys.key({}))) <= MAX_KEY_BYTES


def test_prompt_is_named_by_128_bits() -> None:
    assert prompt_digest("You are helpful.") == "42ea835592c20e1e24b29875c1063f6c"


@pytest.mark.parametrize("label", ["", "/", "a/", "/a", "a//b", "a/b/c/d/e"])
def test_wrong_labels(label: str) -> None:
    with pytest.raises(OptionsError, match="label"):
        label_segments(label)


def test_empty_tenant_is_refused() -> None:
    """An empty tenant is a forgotten one, not 'no tenant'."""
    with pytest.raises(OptionsError, match="tenant"):
        namespace("p", tenant="")
