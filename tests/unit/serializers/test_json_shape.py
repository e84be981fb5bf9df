"""What a JSON text holds is told without parsing it, and exactly, however it falls into slices."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore.contract.errors import EncodingError
from cachecore.serializers import json as module
from cachecore.serializers.json import check_json_shape
from tests.unit.serializers.contexts import context

TEXTS = st.text(st.sampled_from('ab"\\,:[]{}\n€'), max_size=12)
VALUES = st.recursive(
    st.none() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def elements(value: Any) -> int:
    """Return how many elements `value` has: itself, what it holds, keys; at least one within each pair of brackets."""
    if isinstance(value, dict):
        return 1 + sum(1 + elements(one) for one in value.values()) + (not value)
    if isinstance(value, list):
        return 1 + sum(map(elements, value)) + (not value)
    return 1


@given(VALUES, st.integers(1, 9), st.booleans())
def test_counted_exactly_whatever_the_slices(value: Any, size: int, spaced: bool) -> None:
    """Guards: the number of elements does not depend on where the text is cut into slices."""
    data = json.dumps(value, ensure_ascii=False, separators=None if spaced else (",", ":")).encode()
    exact = elements(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SLICE_BYTES", size)
        check_json_shape(data, exact)
        with pytest.raises(EncodingError):
            check_json_shape(data, exact - 1)


@given(VALUES, st.sampled_from(["", " ", "\n"]))
def test_whole_texts_are_read(value: Any, after: str) -> None:
    data = (json.dumps(value) + after).encode()
    assert module.JsonSerializer().loads(data, context()) == value


@pytest.mark.parametrize("cut", ['"text', '["text"', '{"a":1', '"', "[", "{", '"text\\"', '"\\\\\\"'])
def test_text_without_its_end_is_refused_before_it_is_made(cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: the decoders, absent here, never see a long text that ends too early; all here is long."""
    monkeypatch.setattr(module, "_LONG", 0)
    monkeypatch.setattr(module, "_DECODER", None)
    monkeypatch.setattr(module, "_DECODE", None)
    with pytest.raises(EncodingError):
        module.JsonSerializer().loads(cut.encode(), context())
