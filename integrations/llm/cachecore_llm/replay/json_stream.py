"""JSON values one after another, or in one list, over any number of lines: read piece by piece, one value at a time."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from cachecore.contract.options import MIB

_PIECE: Final = 1 * MIB
MOST: Final = 64 * MIB
"""Characters of the largest value that is read."""
_BETWEEN: Final = " \t\r\n,"


class BrokenJSONError(ValueError):
    """What follows cannot be read; the text says why, and holds nothing of it."""


def values_in(file: IO[bytes], read: Callable[[int], None]) -> Iterator[Any]:
    """Yield the values in `file`; one list around all of them is opened. `read` is told bytes as they are read.

    Holds one value at a time. Raises BrokenJSONError where it cannot go on: what follows cannot be told apart.
    """
    decoder = json.JSONDecoder()
    text = codecs.getincrementaldecoder("utf-8-sig")(errors="strict")
    buffer, at, opened, ended = "", 0, False, False
    wanted = 1
    while True:
        if not ended and len(buffer) - at < wanted:
            piece = file.read(max(_PIECE, min(wanted, MOST)))
            read(len(piece))
            ended = not piece
            try:
                buffer = buffer[at:] + text.decode(piece, final=ended)
            except UnicodeDecodeError:
                raise BrokenJSONError("not UTF-8") from None
            at = 0
        while at < len(buffer) and buffer[at] in _BETWEEN:
            at += 1
        if at == len(buffer):
            if ended:
                return
            wanted = 1
            continue
        if buffer[at] == "[" and not opened:
            opened, at = True, at + 1
            continue
        if buffer[at] == "]" and opened:
            return
        try:
            value, at = decoder.raw_decode(buffer, at)
        except RecursionError:
            raise BrokenJSONError("not JSON that can be read: nested too deeply") from None
        except ValueError:
            if ended or len(buffer) - at >= MOST:
                raise BrokenJSONError("not JSON") from None
            wanted = 2 * max(_PIECE, len(buffer) - at)  # so that a large value is tried again a few times only
            continue
        wanted = 1
        yield value
