"""Plain data: the values that come back from bytes as they went in, type for type.

None, bool, int, float, str, bytes, lists, and dicts with str keys; exactly these types, no subclasses. A tuple would
come back as a list, an IntEnum as an int, a bytearray as bytes: a cache that changes an answer's type is wrong, so
they are refused where the value is written, not discovered where it is read.
"""

from __future__ import annotations

from typing import Any, Final

from cachecore.contract.errors import EncodingError, TooLargeError

SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
SCALARS_WITHOUT_BYTES: Final = SCALARS - {bytes}

_TEXT_ONLY: Final = frozenset({str})


def check_plain(
    value: Any,
    max_elements: int,
    *,
    scalars: frozenset[type] = SCALARS,
    keys_are_text: bool = False,
    floats: list[float] | None = None,
) -> None:
    """Return if `value` is plain data of at most `max_elements` values.

    A value that holds itself has no end of values, so it is refused as well. About 35 ns for each value.

    Args:
        value: the value to store.
        max_elements: bound on the values in it, containers included, keys of dicts not.
        scalars: the types that may stand in it besides lists and dicts.
        keys_are_text: whether all keys of dicts are known to be str.
        floats: gets every float in the value, if `scalars` is without float.

    Raises:
        EncodingError: it is not; names the type that is at fault, never a value or where it stands.
    """
    items = [value]
    for item in items:  # grows while it is read
        kind = type(item)
        if kind in scalars:
            continue
        if kind is dict:
            if not keys_are_text and not _TEXT_ONLY.issuperset(map(type, item)):
                wrong = next(type(key) for key in item if type(key) is not str)
                raise EncodingError(f"a dict with keys of type {type_name(wrong)} cannot be stored")
            items += item.values()
        elif kind is list:
            items += item
        elif kind is float and floats is not None:
            floats.append(item)
            continue
        else:
            raise EncodingError(f"a value of type {type_name(kind)} cannot be stored as it is")
        if len(items) > max_elements:
            raise too_many_elements(max_elements)


def too_many_elements(max_elements: int) -> TooLargeError:
    """Return the error of a value that has more than so many elements."""
    return TooLargeError(
        f"a value of more than {max_elements} elements: raise max_elements of the serializer, or keep lists as bytes",
        "elements",
    )


def type_name(kind: type) -> str:
    """Return the name of a class as error messages give it."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
