"""`json` with msgspec and without it: the same bytes, values and refusals, and those of the standard library.

Entries written by either are read by the other, so that processes with and without msgspec share a store.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore.contract.errors import EncodingError
from cachecore.serializers import json as module
from cachecore.serializers.exact import same
from cachecore.serializers.json import JsonSerializer
from tests.unit.serializers.contexts import context

FLOATS = st.floats() | st.sampled_from(
    [1e-4, 9.9e-5, 1e16, 9.99e15, 0.1, 1e22, 5e-324, 0.0, -0.0, 1.7976931348623157e308]
)
WHOLE = st.integers() | st.integers(-(2**70), 2**70) | st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63) - 1])
ATOMS = st.none() | st.booleans() | WHOLE | FLOATS | st.text(st.characters()) | st.binary(max_size=3)
ODD = (
    ATOMS | st.tuples(st.integers()) | st.sampled_from([{1: 2}, {None: 1}, bytearray(b"x"), {1}, 1j, memoryview(b"x")])
)
VALUES = st.recursive(ODD, lambda part: st.lists(part) | st.dictionaries(st.text(), part), max_leaves=12)
PLAIN = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _outcome(call: Callable[[], Any]) -> tuple[bool, Any]:
    try:
        return True, call()
    except EncodingError as error:
        return False, str(error)


def _alone(call: Callable[[], Any]) -> tuple[bool, Any]:
    """Return the outcome where msgspec is not installed."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_ENCODE", None)
        patched.setattr(module, "_DECODE", None)
        return _outcome(call)


@given(VALUES)
def test_the_same_bytes_and_refusals(value: Any) -> None:
    """Each value is written as the standard library writes it, or refused in the same words."""
    serializer = JsonSerializer()
    written = _outcome(lambda: serializer.dumps(value, context()))
    assert written == _alone(lambda: serializer.dumps(value, context()))
    if written[0]:
        assert written[1] == PLAIN.encode(value).encode()
        assert same(value, serializer.loads(written[1], context()))
        assert same(value, _alone(lambda: serializer.loads(written[1], context()))[1])


TEXTS = st.one_of(
    st.recursive(
        st.sampled_from(["1", "-0", "-0.0", "1E2", "1e400", "-1e400", "1e-400", "null", "true", "NaN", '"a"', "1" * 30])
        | st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,3})?([eE][-+]?[0-9]{1,3})?", fullmatch=True)
        | st.text().map(json.dumps)
        | st.sampled_from(['"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\x01"', '"\x7f"', '"\\x"', "01", "1."]),
        lambda part: st.lists(part).map(lambda parts: f"[{','.join(parts)}]")
        | st.lists(st.tuples(st.sampled_from(["a", "b", "\\u0061"]), part)).map(
            lambda pairs: "{" + ", ".join(f'"{key}":{text}' for key, text in pairs) + "}"
        ),
        max_leaves=8,
    ),
    st.text(st.sampled_from('[]{}:,"0123456789eE+-. \n\ttrufalsn\\'), max_size=12),
).map(str.encode) | st.binary(max_size=8)  # fmt: skip


@given(TEXTS)
def test_the_same_values_are_read(data: bytes) -> None:
    """Each text, right or wrong, is read as by the standard library: big ints, keys given twice, lone surrogates."""
    serializer = JsonSerializer()
    read, alone = _outcome(lambda: serializer.loads(data, context())), _alone(lambda: serializer.loads(data, context()))
    assert read[0] == alone[0], data
    assert same(read[1], alone[1]), data


def test_the_suite_is_read_alike(shared_data: Path) -> None:
    """JSONTestSuite, its doubtful cases included."""
    serializer = JsonSerializer()
    with gzip.open(shared_data / "vectors" / "JSONTestSuite.jsonl.gz", "rt") as lines:
        cases = [json.loads(line) for line in lines]
    for case in cases:
        data = base64.b64decode(case["b64"])
        read = _outcome(lambda: serializer.loads(data, context()))  # noqa: B023 - called at once
        alone = _alone(lambda: serializer.loads(data, context()))  # noqa: B023 - called at once
        assert read[0] == alone[0], case["name"]
        assert same(read[1], alone[1]), case["name"]


@pytest.mark.parametrize("depth", [253, 254, 255, 256, 900, 100_000])
def test_depth_is_bounded_alike(depth: int) -> None:
    """254 levels and no more, written and read, in lists and dicts and after text that looks like brackets."""
    serializer = JsonSerializer()
    for start, end in (("[", "]"), ('{"a":', "}")):
        data = (start * depth + '"' + "[{" * 300 + '"' + end * depth).encode()
        read, alone = (way(lambda: serializer.loads(data, context())) for way in (_outcome, _alone))  # noqa: B023 - called at once
        assert read[0] == alone[0] == (depth <= 254)
        value: Any = "[{" * 300
        for _ in range(depth):
            value = [value] if start == "[" else {"a": value}
        written, by_itself = (way(lambda: serializer.dumps(value, context())) for way in (_outcome, _alone))  # noqa: B023 - called at once
        assert written == by_itself
        assert written[0] == (depth <= 254)


def test_numbers_that_msgspec_writes_otherwise() -> None:
    """No number is lost or changed: large and small floats, and what JSON has no word for."""
    serializer = JsonSerializer()
    value: Any
    for value in (1e16, 1e-5, 1e300, [0.5, 1e-7], {"cost": 0.0013}, 2**64, -(2**63) - 1, [1e308, 1e308]):
        assert serializer.dumps(value, context()) == PLAIN.encode(value).encode()
    for value in (math.nan, math.inf, [0.5, -math.inf], {"a": [None, math.nan]}):
        with pytest.raises(EncodingError):
            serializer.dumps(value, context())
