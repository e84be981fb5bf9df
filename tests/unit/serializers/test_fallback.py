"""`FallbackSerializer`: values that fit an annotation and values that do not are both kept, and never mixed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from cachecore import EncodingError
from cachecore.encoding.entry import Draft
from cachecore.serializers.fallback import FallbackSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.serializers.typed import TypedSerializer


@dataclass
class Answer:
    text: str


CONTEXT = Draft("k", b"")
SERIALIZER = FallbackSerializer(TypedSerializer(value_type=Answer), MsgpackSerializer())


@pytest.mark.parametrize("value", [Answer("a"), {"text": "a"}, ["a"], None, "a"])
def test_what_comes_back_is_what_went_in(value: Any) -> None:
    """Also where the bytes of one serializer would be an answer to the other."""
    got = SERIALIZER.loads(SERIALIZER.dumps(value, CONTEXT), CONTEXT)
    assert (type(got), got) == (type(value), value)


def test_what_neither_takes_is_refused_with_both_reasons() -> None:
    with pytest.raises(EncodingError, match=r"object is no .*Answer.*; msgpack cannot store"):
        SERIALIZER.dumps(object(), CONTEXT)
    for data in (b"", b"\x02a", b"\x00", b"\x01", b"\xff"):
        with pytest.raises(EncodingError):
            SERIALIZER.loads(data, CONTEXT)
    assert SERIALIZER.name.startswith("typed-msgpack-")
    assert SERIALIZER.name.endswith("|msgpack")
