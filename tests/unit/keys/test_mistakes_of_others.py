"""Wrong answers that other caches are known to give, because two requests shared a key or one had several."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest

from cachecore.keys import KeySpace, encode, make_key
from cachecore.keys.hashers import blake2b, blake3, sha256, xxh3_128


def key_of(request: Any, namespace: str = "faq") -> str:
    return make_key("p", namespace, request, sha256())


def call(*args: Any, **kwargs: Any) -> str:
    """Return the key of a function call, as a decorator makes it."""
    return key_of({"args": args, "kwargs": kwargs})


def test_fields_do_not_run_together() -> None:
    """Without delimiters `prompt="Hi", suffix="bye"` was `prompt="Hisuffix: bye"`; `"a b", "c"` was `"a", "b c"`."""
    assert call(prompt="Hi", suffix="bye") != call(prompt="Hisuffix: bye")
    assert call("a b", "c") != call("a", "b c") != call("a b c")
    assert call("a", "b") != call("a,b") != call("a", b="")
    assert call(["a", "b"], "c") != call(["a"], "b", "c") != call(["a", "b", "c"])


def test_text_and_tenant_do_not_run_together() -> None:
    """Concatenated, tenant `acme` asking `1 x` was tenant `acme1` asking ` x`."""
    assert key_of({"tenant": "acme", "text": "1 x"}) != key_of({"tenant": "acme1", "text": " x"})
    assert key_of("x", "acme/1") != key_of("x", "acme1") != key_of("1x", "acme")
    assert key_of({"q": 1}, "a") != key_of({"q": 1}, "b")
    digests = {key_of("x", namespace)[-64:] for namespace in ("", "a", "a/b", "ab", "a b", "a%2Fb", "A")}
    assert len(digests) == 7


def test_order_of_arguments_does_not_split_keys() -> None:
    """The order of keyword arguments or of a dict's fields made two keys of one request."""
    assert call(a=1, b={"x": 1, "y": 2}) == call(b={"y": 2, "x": 1}, a=1)


def test_one_text_and_true_are_three_requests() -> None:
    """`1`, `"1"`, `1.0`, `True` and `b"1"` shared a key."""
    assert len({call(value) for value in (1, "1", 1.0, True, b"1", "True", "1.0")}) == 7


def test_none_empty_and_missing_are_three_requests() -> None:
    """`None`, `""` and an argument that was not given shared a key."""
    keys = [call(a=1), call(a=1, b=None), call(a=1, b=""), call(a=1, b=[]), call(a=1, b="None"), call(a=1, b=False)]
    assert len(set(keys)) == len(keys)


def test_case_is_kept() -> None:
    """Lower-cased keys gave `US` the answer of `us`."""
    assert key_of("What is US?") != key_of("What is us?")
    assert key_of("x", "Faq") != key_of("x", "faq")


def test_white_space_is_kept() -> None:
    """Stripped or collapsed keys gave code the answer of other code."""
    assert len({key_of(text) for text in ("if x:\n  y", "if x:\ny", "if x: y", "if x:\n  y ")}) == 4


def test_composed_and_decomposed_text_are_two_requests() -> None:
    """A model is given other tokens for NFD than for NFC."""
    text = "café"
    assert key_of(unicodedata.normalize("NFC", text)) != key_of(unicodedata.normalize("NFD", text))


def test_sets_have_no_order() -> None:
    """The order of a set is that of its hashes, another in each process."""
    one, two = {0, 8}, {8, 0}
    assert list(one) != list(two)  # the two share a place in the table, and the first to come gets it
    assert call(stop=one) == call(stop=two) != call(stop=list(one)) != call(stop=list(two))


def test_no_digest_is_of_64_bits() -> None:
    """XXH3-64 and truncated digests collide by chance, and by design in minutes."""
    for hasher in (
        sha256(),
        blake2b(secret=b"s" * 16),
        blake2b(secret=b"s" * 16, digest_bytes=16),
        xxh3_128(),
        blake3(),
    ):
        digest = KeySpace("p", "", hasher).key("x").rpartition(":")[2]
        assert len(digest) * 4 >= 128


@pytest.mark.parametrize(
    "field",
    ["extra_body", "safety_settings", "min_p", "n", "presence_penalty", "parallel_tool_calls", "thinking", "api_base"],
)
def test_no_field_is_forgotten(field: str) -> None:
    """A kept list of fields forgot new ones: whatever is in a request is in its key."""
    request = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    assert key_of({**request, field: 2}) != key_of(request) != key_of({**request, field: 3})


def test_images_and_tools_are_part_of_the_key() -> None:
    """Only the text of the last message was keyed: another picture got the first one's answer."""
    text = {"type": "text", "text": "What is it?"}
    first, second = (
        {"messages": [{"content": [text, {"type": "image", "data": data}]}]} for data in (b"\x89PNG1", b"\x89PNG2")
    )
    assert key_of(first) != key_of(second)
    assert key_of(first) != key_of({**first, "tools": [{"name": "search"}]})


def test_a_whole_object_is_keyed_by_what_it_is_and_not_by_where() -> None:
    """`repr` put the address of an object into its key, so that no other process ever hit it."""

    class Plain:
        pass

    with pytest.raises(TypeError, match="cannot key"):
        encode({"client": Plain()})
