"""How large a MessagePack value would become, told from its bytes before any of it is made.

A byte of MessagePack can become 64 bytes of Python (an empty map), so ten megabytes of it can take 700. The bound on
elements holds that down: at most about 64 bytes of memory for each element, besides the text itself.
"""

from __future__ import annotations

from typing import Final

from cachecore.contract.errors import EncodingError
from cachecore.encoding.plain import too_many_elements

MAX_ELEMENTS: Final = 256 * 1024
"""Default bound on the elements of one value; keys and values of maps count as one each. 16 MiB at the worst."""

# For each first byte: how many bytes the element takes (0: it depends on a length that follows) and how many elements
# it holds. 0xc1 is never used.
_BYTES: Final = (
    [1] * 128  # small int
    + [1] * 32  # small map, small array
    + [1 + n for n in range(32)]  # short text
    + [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18, 0, 0, 0, 0, 0, 0, 0]
    + [1] * 32  # small negative int
)
_CHILDREN: Final = [0] * 128 + [2 * n for n in range(16)] + list(range(16)) + [0] * 96
# Bytes of the length that follows; for text, bytes and extensions that of the data, else the number of children.
_LENGTHS: Final = {
    **dict(zip(range(0xC4, 0xCA), (1, 2, 4, 1, 2, 4), strict=True)),
    **dict(zip(range(0xD9, 0xE0), (1, 2, 4, 2, 4, 2, 4), strict=True)),
}
_EXTENSIONS: Final = frozenset({0xC7, 0xC8, 0xC9})
_ARRAYS: Final = frozenset({0xDC, 0xDD})
_MAPS: Final = frozenset({0xDE, 0xDF})


def check_shape(data: bytes, max_elements: int) -> None:
    """Return if `data` is one MessagePack value of at most `max_elements` elements and nothing after it.

    Data of no more bytes than elements are allowed passes unseen, so small values cost nothing. Otherwise about 0.1 µs
    for each element; a length that is too large is refused where it stands, before the claimed elements are read.

    Raises:
        EncodingError: it has more, ends early, or goes on.
    """
    if len(data) > max_elements:
        count_elements(data, max_elements)


def count_elements(data: bytes, max_elements: int) -> int:
    """Return how many elements `data` has, one MessagePack value of at most `max_elements`. Raises as `check_shape`."""
    end, elements = _end_of(data, max_elements)
    if end != len(data):
        raise EncodingError("the bytes are no MessagePack value")
    return elements


def _end_of(data: bytes, max_elements: int) -> tuple[int, int]:
    position = 0
    missing = 1  # elements that are still to come
    elements = 1
    size = len(data)
    while missing:
        if position >= size:
            return -1, elements
        first = data[position]
        missing -= 1
        step = _BYTES[first]
        children = _CHILDREN[first]
        position += step
        if not step:
            length_bytes = _LENGTHS.get(first)
            if length_bytes is None:
                return -1, elements
            start = position + 1
            position = start + length_bytes
            length = int.from_bytes(data[start:position])
            if first in _ARRAYS:
                children = length
            elif first in _MAPS:
                children = 2 * length
            else:
                position += length + (first in _EXTENSIONS)
        if children:
            elements += children
            if elements > max_elements:
                raise too_many_elements(max_elements)
            missing += children
            floats = position + 9 * children
            if children > 15 and floats <= size and data[position:floats:9] == b"\xcb" * children:
                position = floats  # a vector, taken in one step
                missing -= children
    return position, elements
