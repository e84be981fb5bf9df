"""Scalars and arrays of numpy, and scalars of pandas. Neither library is imported: values come from a loaded one.

A numpy scalar is equal to one of the same dtype and value, and to nothing else: a function given `np.int64(1)` may
answer otherwise than for `1`. `np.float64`, `np.str_` and `np.bytes_` are subclasses of float, str and bytes and are
equal to those, like every other subclass.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from ormsgpack import Ext

from cachecore.keys.decoded import Numpy, Pandas
from cachecore.keys.scalars import clock_text
from cachecore.keys.tags import Form, Refused, Shape, name_of

_KINDS: Final = frozenset("biufcMmSU")
"""Kinds of dtype with elements that are their bytes: no objects, no references, no fields."""
_PADDED_BYTES: Final = {"f": 8, "c": 16}
"""The largest elements without padding: the bytes of a longdouble hold some that mean nothing."""


def array_form(kind: type) -> Form | None:
    """Return the form of a type of numpy or pandas, None for other types. Raises Refused."""
    library = str(kind.__module__).partition(".")[0]
    module = sys.modules.get(library) if library in ("numpy", "pandas") else None
    if module is None:
        return None
    if library == "pandas":
        known = (module.Timestamp, module.Timedelta, type(module.NaT), type(module.NA))
        return Form(Shape.LEAF, _pandas) if kind in known else None
    if issubclass(kind, module.generic):
        return Form(Shape.LEAF, _scalar)
    if kind is module.ndarray:
        return Form(Shape.LEAF, _array)
    if issubclass(kind, module.ndarray):
        # A masked array has a mask besides, a matrix other rules.
        raise Refused(f"cannot key a {name_of(kind)}; use numpy.asarray() or .tolist()")
    return None


def _dtype_of(value: Any) -> Any:
    """Return the dtype of a scalar or array in little-endian order, the same on every platform."""
    dtype = value.dtype
    if dtype.kind not in _KINDS or dtype.itemsize > _PADDED_BYTES.get(dtype.kind, dtype.itemsize):
        raise Refused(f"cannot key a numpy value of dtype {dtype.name}; convert it to plain data or another dtype")
    return dtype.newbyteorder("<")


def _scalar(value: Any) -> Ext:
    dtype = _dtype_of(value)
    if dtype.kind == "f" and value != value:
        value = dtype.type("nan")  # all NaNs of one dtype are one
    return Numpy(dtype.str, None, value.astype(dtype).tobytes()).leaf()


def _array(value: Any) -> Ext:
    dtype = _dtype_of(value)
    return Numpy(dtype.str, value.shape, value.astype(dtype, copy=False).tobytes()).leaf()


def _pandas(value: Any) -> Ext:
    name = type(value).__name__
    if name == "Timestamp":
        return Pandas(name, clock_text(value)).leaf()  # to the nanosecond
    return Pandas(name, value.isoformat() if name == "Timedelta" else "").leaf()
