"""`compressed`: smaller where it helps, and never larger inflated than allowed."""

from __future__ import annotations

import os
import random
import threading
from typing import Any

import pytest

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.contract.options import MIB
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from tests.unit.serializers.bombs import ZSTD_BOMBS, frame, lying, unsized
from tests.unit.serializers.contexts import assert_refused_cheaply, context

TEXT = "Returns are free for 30 days after delivery. " * 100


def test_names_compose() -> None:
    assert CompressedSerializer().name == "zstd+msgpack"
    assert CompressedSerializer(inner=JsonSerializer()).name == "zstd+json"


def test_text_gets_smaller_and_comes_back() -> None:
    serializer = CompressedSerializer()
    data = serializer.dumps(TEXT, context())
    assert len(data) < len(TEXT) / 10
    assert serializer.loads(data, context()) == TEXT


def test_what_is_small_or_would_not_shrink_is_stored_as_it_is() -> None:
    serializer = CompressedSerializer(min_bytes=1024)
    noise = os.urandom(5000)
    for value in ("a" * 1000, noise):
        data = serializer.dumps(value, context())
        assert data == b"\x00" + MsgpackSerializer().dumps(value, context())
        assert serializer.loads(data, context()) == value


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 70_000, 8 * MIB - 5])
def test_any_size_comes_back(size: int) -> None:
    serializer = CompressedSerializer(min_bytes=0)
    assert serializer.loads(serializer.dumps("x" * size, context()), context()) == "x" * size


@pytest.mark.parametrize("level", [1, 19])
def test_every_level_is_read_by_every_other(level: int) -> None:
    value = random.Random(1).randbytes(MIB) * 7
    data = CompressedSerializer(level=level).dumps(value, context())
    assert CompressedSerializer().loads(data, context()) == value


@pytest.mark.parametrize("name", ZSTD_BOMBS)
def test_bombs_do_not_go_off(name: str) -> None:
    assert_refused_cheaply(CompressedSerializer().loads, ZSTD_BOMBS[name]())


def one_byte_over() -> bytes:
    return frame(bytes(8 * MIB + 1))


SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
GOOD = frame(MsgpackSerializer().dumps(TEXT, context()))
REFUSED = {
    "one byte over": one_byte_over(),
    "size not said": unsized(TEXT.encode()),
    "says less than it is": lying(10),
    "says a little less than it is": lying(99_999),
    "two frames": GOOD + GOOD,
    "bytes after it": GOOD + b"\x00",
    "cut": GOOD[:-1],
    "skippable frame only": SKIPPABLE,
    "skippable frame first": SKIPPABLE + GOOD,
    "skippable frame after": GOOD + SKIPPABLE,
    "dictionary asked for": b"\x28\xb5\x2f\xfd\x21\x01\x05" + GOOD[6:],
    "empty": b"",
    "magic only": GOOD[:4],
    "another compression": b"\x1f\x8b\x08\x00" + GOOD,
}


@pytest.mark.parametrize("name", REFUSED)
def test_frames_that_nobody_here_wrote_are_refused_before_they_inflate(name: str) -> None:
    assert_refused_cheaply(CompressedSerializer().loads, b"\x01" + REFUSED[name])


@pytest.mark.parametrize("data", [b"", b"\x02" + GOOD, GOOD, b"\x00" + bytes(8 * MIB + 1)])
def test_other_payloads_are_refused(data: bytes) -> None:
    with pytest.raises(EncodingError):
        CompressedSerializer().loads(data, context())


def test_too_large_values_are_refused_on_writing() -> None:
    with pytest.raises(EncodingError):
        CompressedSerializer(max_bytes=1000).dumps("x" * 1000, context())


def test_flipped_bits_never_crash() -> None:
    serializer = CompressedSerializer()
    data = serializer.dumps(TEXT, context())
    for at in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[at // 8] ^= 1 << at % 8
        try:
            serializer.loads(bytes(flipped), context())
        except EncodingError:
            continue


def test_threads_share_one_serializer() -> None:
    serializer = CompressedSerializer()
    wrong: list[int] = []

    def work(number: int) -> None:
        for i in range(200):
            value = f"{number}:{i} " * 500
            if serializer.loads(serializer.dumps(value, context()), context()) != value:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("wrong", [{"level": 0}, {"level": 20}, {"min_bytes": -1}, {"max_bytes": 0}, {"level": "3"}])
def test_wrong_settings_are_refused_while_building(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError):
        CompressedSerializer(**wrong)
