"""Scalars and arrays of numpy, scalars of pandas: what they are equal to, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from cachecore.contract.errors import UnkeyableError
from cachecore.keys import decode, encode
from cachecore.keys.decoded import Numpy, Pandas
from cachecore.keys.explain import explain
from cachecore.keys.walker import walk

np: Any = pytest.importorskip("numpy", reason="numpy is not installed")
pd: Any = pytest.importorskip("pandas", reason="pandas is not installed")

DIFFERENT: list[list[Any]] = [
    [
        np.int64(1),
        np.int32(1),
        np.uint64(1),
        np.float32(1),
        np.bool_(True),
        1,
        1.0,
        True,
        "1",
        np.array(1),
        np.array([1]),
    ],
    [
        np.float32(0),
        np.float32(-0.0),
        np.float16(0),
        np.int8(0),
        np.float32("nan"),
        np.float16("nan"),
        float("nan"),
        0.0,
    ],
    [np.datetime64("2026-01-01"), np.datetime64("2026-01-01T00"), np.datetime64("NaT", "D"), datetime(2026, 1, 1)],  # noqa: DTZ001 - naive ones have keys, too
    [np.timedelta64(1, "D"), np.timedelta64(24, "h"), np.timedelta64("NaT", "D"), np.int64(1), timedelta(days=1)],
    [np.complex64(1), np.complex128(1), np.complex64(1j)],
    [np.array([[1, 2]]), np.array([[1], [2]]), np.array([1, 2]), np.array([2, 1]), [1, 2], [[1, 2]]],
    [np.array([], "i4"), np.array([], "i8"), np.zeros((0, 2), "i4"), []],
    [np.array(["a"]), np.array(["ab"]), np.array([b"a"]), "a", ["a"]],
    [pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-01T00:00:00.000000001"), datetime(2026, 1, 1), "2026-01-01"],  # noqa: DTZ001 - see above
    [pd.Timestamp("2026-01-01", tz="Europe/Paris"), pd.Timestamp("2025-12-31T23:00", tz="UTC"), pd.Timestamp(0)],
    [pd.NaT, pd.NA, None, float("nan"), pd.Timedelta(1), pd.Timedelta(0), timedelta(0), np.timedelta64(1, "ns")],
]


@pytest.mark.parametrize("values", DIFFERENT, ids=range(len(DIFFERENT)))
def test_different_on_purpose(values: list[Any]) -> None:
    """Other dtypes, shapes and units, and Python's own values, are other requests."""
    assert len({encode(value) for value in values}) == len(values)
    for value in values:
        for asked in (value, [value], {"x": value}, {"x": [value], "y": {1: value}}):
            assert encode(asked) == walk(asked)
            assert encode(decode(encode(asked))) == encode(asked)


EQUAL: list[tuple[Any, Any]] = [
    (np.float64(0.5), 0.5),
    (np.float64("nan"), float("nan")),
    (np.str_("a"), "a"),
    (np.bytes_(b"a"), b"a"),
    (np.longlong(1), np.int64(1)),
    (np.float32("nan"), np.frombuffer(b"\x01\x00\xc0\xff", "<f4")[0]),
    (np.array([1, 2], ">i4"), np.array([1, 2], "<i4")),
    (np.array([[1, 2], [3, 4]], order="F"), np.array([[1, 2], [3, 4]], order="C")),
    (np.arange(6)[::2], np.array([0, 2, 4])),
    ({np.str_("a"): 1}, {"a": 1}),
    ({np.float64(0.5), "x"}, {0.5, "x"}),
    (pd.Timestamp("2026-01-01").as_unit("s"), pd.Timestamp("2026-01-01").as_unit("ns")),
]


@pytest.mark.parametrize(("a", "b"), EQUAL, ids=range(len(EQUAL)))
def test_equal_on_purpose(a: Any, b: Any) -> None:
    """Subclasses of Python's types, one dtype by two names, byte order, strides and NaNs make no difference."""
    for wrap in (lambda value: value, lambda value: [value], lambda value: {"x": value}):
        assert encode(wrap(a)) == encode(wrap(b)) == walk(wrap(a)) == walk(wrap(b))


def test_what_they_are_decoded_to() -> None:
    """Neither library is needed to read a key's bytes."""
    assert decode(encode(np.int16(258))) == Numpy("<i2", None, b"\x02\x01")
    assert decode(encode(np.array([[258]], ">i2"))) == Numpy("<i2", (1, 1), b"\x02\x01")
    assert decode(encode(pd.Timestamp("2026-01-01", tz="UTC"))) == Pandas("Timestamp", "2026-01-01T00:00:00@0")
    assert decode(encode({np.int8(1): pd.NA})).items == ((Numpy("|i1", None, b"\x01"), Pandas("NAType", "")),)


def test_rows_of_a_table_are_keyed() -> None:
    """As pandas hands them out: as dicts, and as named tuples."""
    frame = pd.DataFrame({"number": [1, 2, 1], "text": ["a", "b", "a"], "when": pd.to_datetime(["2026-01-01"] * 3)})
    for rows in ([dict(row) for _, row in frame.iterrows()], list(frame.itertuples(index=False))):
        assert [encode(row) for row in rows] == [walk(row) for row in rows]
        assert encode(rows[0]) == encode(rows[2]) != encode(rows[1])


def test_a_difference_tells_dtype_and_class() -> None:
    """`explain` names the kind of number, and no value."""
    assert str(explain({"n": np.int64(1)}, {"n": 1})).startswith("n: type: numpy <i8 of ")
    assert " and pandas Timestamp of " in str(explain("2026-01-01", pd.Timestamp("2026-01-01")))


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: np.array([object()]),
        "cannot key a numpy value of dtype object; convert it to plain data or another dtype",
    ),
    (lambda: np.longdouble(1), "cannot key a numpy value of dtype float"),
    (lambda: np.zeros(1, np.clongdouble), "cannot key a numpy value of dtype complex"),
    (lambda: np.zeros(1, [("a", "i4")]), "cannot key a numpy value of dtype void"),
    (lambda: np.zeros(1, [("a", "i4")])[0], "cannot key a numpy value of dtype void"),
    (lambda: np.ma.masked_array([1], [True]), "cannot key a numpy.ma.MaskedArray; use numpy.asarray() or .tolist()"),
    (lambda: np.dtype("i4"), "; use .tolist(), .to_list() or .to_dict()"),
    (lambda: np.float32, "cannot key the class numpy.float32: only"),
    (lambda: pd.Series([1]), "Series; use .tolist(), .to_list() or .to_dict()"),
    (lambda: pd.DataFrame({"a": [1]}), "DataFrame; use .tolist(), .to_list() or .to_dict()"),
    (lambda: pd.Period("2026-01"), "Period; use .tolist(), .to_list() or .to_dict()"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_refused(make: Callable[[], Any], reason: str) -> None:
    """Objects, padding, masks and tables would be lost or guessed."""
    with pytest.raises(UnkeyableError) as caught:
        encode({"rows": [make()]})
    assert caught.value.path == "rows[0]"
    assert reason in caught.value.reason


def test_numpy_and_pandas_are_not_imported() -> None:
    """A program without them does not pay for them."""
    code = (
        "import sys; from fractions import Fraction; from cachecore import UnkeyableError\n"
        "from cachecore.keys import encode\n"
        "try: encode([Fraction(1)])\nexcept UnkeyableError: "
        "print(sorted({'numpy', 'pandas'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "[]\n"
