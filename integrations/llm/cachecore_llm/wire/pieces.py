"""In which pieces an answer came: enough to stream a stored body as its provider did, in a few hundred bytes.

A stream is a list of steps. Each step takes the next `size` characters or items of one *slot*, a place in the body that
the protocol names. Slots are few and sizes are small numbers, so two columns of varints compress to less than half a
byte for a token. Text itself is never kept here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SET, NULL = -1, -2
"""Sizes of steps that take no slice: the whole value; null in its place."""

MAX_STEPS = 16_384
"""Longer streams keep coarser pieces: two neighbours become one. About 7 KB at most for text."""

MAX_SLOTS = 512
MAX_HEAD_BYTES = 4_096
"""Bytes of slot names and `extra` together, as JSON."""

_FORMAT = 1

_HEAD_WORDS = (
    b'"first":0,"begun":{"bare":true,"item:0":[{"encrypted_content":["action"]]"summary":[]"content":[]'
    b'["reasoning_summary_part.added:0:0","reasoning_summary_text.delta:0:0","reasoning_summary_text.done:0:0",'
    b'"reasoning_summary_part.done:0:0","function_call_arguments.delta:0","function_call_arguments.done:0",'
    b'"output_text.annotation.added:0:0:0","web_search_call.in_progress:0","web_search_call.searching:0",'
    b'"web_search_call.completed:0","logprobs:0:0","0/d/refusal","0/d/reasoning_content","0/c/logprobs/content",'
    b'"0/d/tool_calls/1/id","0/d/tool_calls/0/type","0/d/tool_calls/0/function/name",'
    b'"0/d/tool_calls/0/function/arguments","1/input","1/citations","0/thinking","0/signature","1.","1+",'
    b'{"message":{"stop_reason":null,"stop_sequence":null},"usage":{"input_tokens":1,"output_tokens":1},'
    b'"usage_later":["server_tool_use"],"later":["container"],"beside":["context_management"],"styles":{"0":1},'
    b'"delta":["stop_reason","stop_sequence"],"delta_usage":["input_tokens","cache_creation_input_tokens",'
    b'"cache_read_input_tokens","output_tokens"]}]["start","0+","0/text","0.","delta","stop"],'
    b'["created","in_progress","output_item.added:0","content_part.added:0:0","output_text.delta:0:0",'
    b'"output_text.done:0:0","content_part.done:0:0","output_item.done:0","completed"],{"first":0,"begun":{}}]'
    b'["0/d/role","0/d/content","0/d/refusal","0/c/finish_reason","usage"],'
    b'{"every":["id","created","model","service_tier","system_fingerprint"],"always":["finish_reason","logprobs"]}]'
)
"""Words that heads are made of: a head that says nothing else takes a few bytes. Part of the format: never changed."""

_RAW_DEFLATE = -15


class UnreadablePiecesError(ValueError):
    """Stored bytes are no pieces. Stream the body in pieces of a default size instead."""


class Step(NamedTuple):
    """`size` characters or items of `slot`; with `joined` in the same event as the step before."""

    slot: str
    size: int
    joined: bool = False


Group = list[tuple[str, int]]
"""The steps of one event: slot and size."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The steps of one stream, and the little that neither steps nor body say (`extra`, JSON)."""

    slots: tuple[str, ...]
    steps: tuple[tuple[int, int], ...]
    """Pairs: twice the place in `slots`, plus 1 if joined; size."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Step]:
        slots = self.slots
        for mark, size in self.steps:
            yield Step(slots[mark >> 1], size, bool(mark & 1))

    def events(self) -> Iterator[Group]:
        """Yield the steps of each event."""
        slots = self.slots
        group: Group = []
        for mark, size in self.steps:
            if not mark & 1 and group:
                yield group
                group = []
            group.append((slots[mark >> 1], size))
        if group:
            yield group

    def encode(self) -> bytes:
        """Return the pieces as bytes, bounded by MAX_STEPS, MAX_SLOTS and MAX_HEAD_BYTES."""
        head = json.dumps([list(self.slots), self.extra], separators=(",", ":")).encode()
        marks, sizes = bytearray(), bytearray()
        for mark, size in self.steps:
            _put(marks, mark)
            _put(sizes, size + 2)
        # The columns are compressed apart: each has statistics of its own, and deflate keeps one table for a block.
        parts = [_deflate(head, zlib.Z_DEFAULT_STRATEGY, _HEAD_WORDS), _deflate(marks, zlib.Z_DEFAULT_STRATEGY)]
        parts.append(min((_deflate(sizes, way) for way in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)), key=len))
        out = bytearray([_FORMAT])
        _put(out, len(self.steps))
        for part in parts:
            _put(out, len(part))
            out += part
        return bytes(out)

    @classmethod
    def decode(cls, data: bytes) -> Pieces:
        """Return the pieces that `encode` took. Raises UnreadablePiecesError; memory is bounded."""
        try:
            return cls._decode(data)
        except (ValueError, IndexError, zlib.error, RecursionError) as error:
            raise UnreadablePiecesError(f"{len(data)} bytes are no pieces: {type(error).__name__}") from None

    @classmethod
    def _decode(cls, data: bytes) -> Pieces:
        if data[0] != _FORMAT:
            raise ValueError("another format")
        steps, at = _get(data, 1)
        if steps > MAX_STEPS:
            raise ValueError("too many steps")
        parts = []
        for bound, words_known in ((MAX_HEAD_BYTES, _HEAD_WORDS), (5 * steps, b""), (10 * steps, b"")):
            size, at = _get(data, at)
            if at + size > len(data):
                raise ValueError("cut short")
            parts.append(_inflate(data[at : at + size], bound, words_known))
            at += size
        head = json.loads(parts[0])
        match head:
            case [list() as slots, dict() as extra] if all(isinstance(slot, str) for slot in slots):
                pass
            case _:
                raise ValueError("no head")
        marks, sizes = list(_numbers(parts[1])), list(_numbers(parts[2]))
        if at != len(data) or not len(marks) == len(sizes) == steps or any(m >> 1 >= len(slots) for m in marks):
            raise ValueError("the columns do not belong together")
        return cls(tuple(slots), tuple(zip(marks, (size - 2 for size in sizes), strict=True)), extra)


class PieceLog:
    """Collects the steps of a stream while it runs, within the bounds of `Pieces`."""

    __slots__ = ("_head_bytes", "_joined", "_marks", "_steps", "added", "extra", "gave_up")

    def __init__(self) -> None:
        self._marks: dict[str, int] = {}
        self._steps: list[tuple[int, int]] = []
        self._head_bytes = 0
        self._joined = 0
        self.added = 0
        """Steps noted so far."""
        self.extra: dict[str, Any] = {}
        self.gave_up = False
        """Whether the bounds were reached, so that there are no pieces to be had."""

    def event(self) -> None:
        """Say that the next step begins an event."""
        self._joined = 0

    def add(self, slot: str, size: int) -> None:
        """Note a step of the running event. Amortised O(1)."""
        self.added += 1
        mark = self._marks.get(slot)
        if mark is None:
            mark = self._marks[slot] = 2 * len(self._marks)
            self._head_bytes += len(slot) + 3
            if len(self._marks) > MAX_SLOTS or self._head_bytes > MAX_HEAD_BYTES:
                self._give_up()
        if self.gave_up:
            return
        self._steps.append((mark | self._joined, size))
        self._joined = 1
        if len(self._steps) >= MAX_STEPS:
            self._halve()

    def pieces(self) -> Pieces | None:
        """Return the steps so far; None if they do not fit in the bounds."""
        if self.gave_up:
            return None
        pieces = Pieces(tuple(self._marks), tuple(self._steps), dict(self.extra))
        head = json.dumps([list(pieces.slots), pieces.extra], separators=(",", ":"))
        return pieces if len(head) <= MAX_HEAD_BYTES else None

    def _give_up(self) -> None:
        self.gave_up = True
        self._steps.clear()

    def _halve(self) -> None:
        """Join neighbours that are events of their own and slices of one slot, two by two."""
        halved: list[tuple[int, int]] = []
        steps = self._steps
        at = 0
        while at < len(steps):
            mark, size = steps[at]
            if (
                at + 2 < len(steps)
                and steps[at + 1][0] == mark
                and not mark & 1
                and not steps[at + 2][0] & 1  # nothing else belongs to the second event
                and size >= 0
                and steps[at + 1][1] >= 0
            ):
                halved.append((mark, size + steps[at + 1][1]))
                at += 2
            else:
                halved.append(steps[at])
                at += 1
        if len(halved) > MAX_STEPS * 3 // 4:
            self._give_up()
        else:
            self._steps = halved


def words(text: str) -> Iterator[int]:
    """Yield the lengths of pieces of about a word each, for an answer that never came as a stream.

    A piece ends where a word ends, and after 16 characters where there is none.
    """
    start = 0
    while start < len(text):
        space = text.find(" ", start + 1, start + 16)
        end = space if space > 0 else min(start + 16, len(text))
        yield end - start
        start = end


def _put(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _get(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("not a number")


def _numbers(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        number, at = _get(data, at)
        yield number


def _deflate(data: bytes | bytearray, strategy: int, known: bytes = b"") -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, 9, strategy, known)
    return packer.compress(bytes(data)) + packer.flush()


def _inflate(data: bytes, bound: int, known: bytes) -> bytes:
    unpacker = zlib.decompressobj(_RAW_DEFLATE, known)
    out = unpacker.decompress(data, bound + 1)
    if len(out) > bound or not unpacker.eof or unpacker.unused_data:
        raise ValueError("more than its bound")
    return out
