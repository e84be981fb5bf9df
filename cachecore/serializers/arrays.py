"""Scalars and arrays of numpy as typed values: dtype, shape and the elements as bytes. The core never imports numpy.

Only elements that are their bytes are kept: numbers, times and text of fixed width. No objects, no fields of records,
no floats with padding. A subclass of an array (a mask, a matrix) has rules that its bytes do not tell and is refused.
"""

from __future__ import annotations

import re
import sys
import typing
from typing import Any, Final

_DTYPE: Final = re.compile(r"[<>|][biufcSUmM]\d{1,6}(?:\[\d{0,9}[A-Za-z]{1,2}\])?")
_PADDED_BYTES: Final = {"f": 8, "c": 16}
"""The largest elements without padding, by kind of dtype."""


def is_array_class(cls: object) -> bool:
    """Return whether `cls` is numpy's array or the class of one of its scalars."""
    numpy: Any = sys.modules.get("numpy")
    return numpy is not None and isinstance(cls, type) and (cls is numpy.ndarray or issubclass(cls, numpy.generic))


def array_class(hint: Any) -> Any:
    """Return the class in a type such as `NDArray[np.float32]`; its dtype and shape are not checked."""
    return typing.get_origin(hint) or hint


def encoded(value: Any) -> list[Any]:
    """Return a scalar or an array as plain data. Raises TypeError if it is neither, or its elements cannot be kept."""
    if not is_array_class(type(value)):
        raise TypeError(type(value).__name__)
    dtype = value.dtype
    if _DTYPE.fullmatch(dtype.str) is None or dtype.itemsize > _PADDED_BYTES.get(dtype.kind, dtype.itemsize):
        raise TypeError(dtype.name)
    return [dtype.str, list(value.shape), value.tobytes()]


def decoded(hint: Any, data: Any) -> Any:
    """Return the scalar or array that `encoded` made `data` of: a new one. Raises ValueError or TypeError."""
    cls = array_class(hint)
    if not is_array_class(cls):
        raise TypeError(str(cls))
    numpy: Any = sys.modules["numpy"]
    name, shape, raw = data
    if not isinstance(name, str) or _DTYPE.fullmatch(name) is None or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("no dtype or no shape")
    array = numpy.frombuffer(raw, dtype=name) if raw else numpy.empty(0, dtype=name)
    array = array.reshape(shape).copy()  # in memory of its own, which may be written to
    if cls is numpy.ndarray:
        return array
    scalar = array[()]
    if type(scalar) is not cls:
        raise ValueError("a scalar of another class")
    return scalar


def same_arrays(written: Any, read: Any) -> bool:
    """Return whether two scalars or arrays have one dtype and shape, and elements of the same bits."""
    return bool(written.dtype == read.dtype and written.shape == read.shape and written.tobytes() == read.tobytes())
