"""Arrays and scalars of numpy as typed values, alone and inside others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.serializers.typed import TypedSerializer
from tests.unit.serializers.contexts import context


@dataclass
class Embedding:
    text: str
    vector: NDArray[np.float32]
    norm: np.float64


class Row(NamedTuple):
    number: np.int64
    flag: np.bool_


def loaded(value_type: Any, value: Any) -> Any:
    serializer = TypedSerializer(value_type=value_type)
    return serializer.loads(serializer.dumps(value, context()), context())


ARRAYS: list[Any] = [
    np.arange(6).reshape(2, 3),
    np.arange(6, dtype=np.int8).reshape(2, 3).T,
    np.ones(3, dtype=">f4"),
    np.array(5.0),
    np.zeros((0, 3)),
    np.array([True, False]),
    np.array(["a", "bc"]),
    np.array([b"a", b"bc"]),
    np.array([1 + 2j]),
    np.array(["2026-01-01"], dtype="datetime64[D]"),
    np.array([float("nan"), -0.0]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda one: f"{one.dtype}{one.shape}")
def test_arrays_come_back_with_dtype_shape_and_bits(array: Any) -> None:
    read = loaded(np.ndarray, array)
    assert type(read) is np.ndarray
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert read.flags.writeable


def test_two_reads_share_no_memory() -> None:
    serializer = TypedSerializer(value_type=np.ndarray)
    data = serializer.dumps(np.arange(3), context())
    first, second = serializer.loads(data, context()), serializer.loads(data, context())
    first[0] = 9
    assert list(second) == [0, 1, 2]


@pytest.mark.parametrize(
    "scalar",
    [np.int64(5), np.float32(0.1), np.float64("nan"), np.bool_(True), np.uint8(255), np.datetime64("2026-01-01", "s")],
    ids=lambda one: type(one).__name__,
)
def test_scalars_come_back_as_their_class(scalar: Any) -> None:
    read = loaded(type(scalar), scalar)
    assert (type(read), read.tobytes()) == (type(scalar), scalar.tobytes())


def test_arrays_inside_other_values() -> None:
    made = Embedding("hi", np.ones(3, dtype=np.float32), np.float64(0.5))
    read = loaded(list[Embedding], [made])[0]
    assert (read.text, read.vector.tolist(), read.norm) == ("hi", [1.0, 1.0, 1.0], 0.5)
    assert (read.vector.dtype, type(read.norm)) == (np.float32, np.float64)
    assert loaded(Row, Row(np.int64(1), np.bool_(False))) == Row(np.int64(1), np.bool_(False))
    assert loaded(dict[int, NDArray[np.int16]], {1: np.arange(2, dtype=np.int16)})[1].dtype == np.int16


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.ones(2, dtype=np.longdouble),
        np.ma.masked_array([1, 2], [True, False]),
    ],
    ids=["objects", "records", "padding", "mask"],
)
def test_what_its_bytes_do_not_tell_is_refused(array: Any) -> None:
    with pytest.raises(EncodingError):
        loaded(np.ndarray, array)


@pytest.mark.parametrize(
    "data",
    [["|O8", [1], b"12345678"], ["i4,i4", [1], b"12345678"], ["<f8", [2], b"12345678"], ["<f8", [-1], b"12345678"],
     ["<f8", [10**12], b""], ["<f8", [True], b"12345678"], ["<f8", 1, b"12345678"], [1, [1], b"1"], ["<f8"], 5],
    ids=repr,
)  # fmt: skip
def test_bytes_that_are_no_array_are_refused(data: Any) -> None:
    with pytest.raises(EncodingError):
        TypedSerializer(value_type=np.ndarray).loads(msgspec.msgpack.encode(data), context())


def test_other_classes_are_refused_while_building() -> None:
    with pytest.raises(OptionsError, match=r"numpy\.matrix"):
        TypedSerializer(value_type=np.matrix)
