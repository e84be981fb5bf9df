"""A value that cannot be stored is said once, with the function or namespace, the type, the place and the way out."""

from __future__ import annotations

import decimal
import logging
import sys
from typing import Any

import pytest

from cachecore.engine import storable
from cachecore.engine.storable import odd_part, unstorable
from tests.unit.virtual_caches import Scene, virtual


class Answer:
    """A class that no serializer knows."""


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (Answer(), ("value", "tests.unit.engine.test_odd_part.Answer")),
        ({"usage": [1, {"cost": decimal.Decimal(1)}]}, ("value.usage[1].cost", "decimal.Decimal")),
        ({"a secret prompt": (1, 2)}, ("value.<key 0>", "tuple")),
        ({"a": {1: 2}}, ("a key of value.a", "int")),
        ({"a": [1, None, "x"]}, None),
    ],
)
def test_the_part_that_is_no_plain_data(value: Any, part: tuple[str, str] | None) -> None:
    found = odd_part(value)
    assert (
        found is None
        if part is None
        else found is not None and (found[0], part[1].endswith(found[1])) == (part[0], True)
    )


@pytest.mark.parametrize(
    ("value", "serializer", "words", "no_words"),
    [
        ([2**64], "msgpack", ["value[0] is a int of more than 64 bits", "'extended'"], ["annotation"]),
        (
            {"a": "x\ud800"},
            "zstd+msgpack",
            ["value.a is a str with a lone surrogate", "plain data"],
            ["annotation", "ext"],
        ),
        ([2**64, b"x"], "json", ["value[1] is a bytes", "'extended'"], ["64 bits"]),
        (float("inf"), "json", ["no finite number", "'extended'"], []),
        ({"a": (1, 2)}, "msgpack", ["value.a is a tuple", "value_type=", "annotation", "'extended'"], []),
        ({1: 2}, "msgpack", ["a key of value is a int", "'extended'"], []),
        (Answer(), "msgpack", ["Answer", "value_type="], ["'extended'"]),
        (decimal.Decimal(1), "typed-msgpack-00|msgpack", ["declared type", "'extended'"], ["by a return annotation"]),
    ],
)
def test_the_reason_and_a_way_out_that_helps(
    value: Any, serializer: str, words: list[str], no_words: list[str]
) -> None:
    said = unstorable(value, serializer)
    assert [word for word in words if word not in said] == []
    assert [word for word in no_words if word in said] == []


def test_an_annotation_that_needs_a_package_is_told_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    monkeypatch.setattr(storable, "_needed", storable._needed.__wrapped__)

    @virtual
    async def check(scene: Scene) -> None:
        async def cost() -> decimal.Decimal:
            return decimal.Decimal("1.10")

        cached = scene.cache().cached(cost)
        assert [await cached(), await cached()] == [decimal.Decimal("1.10")] * 2

    check()
    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "pip install 'cachecore-framework[struct]'" in said


def test_it_is_said_once_for_each_function(caplog: pytest.LogCaptureFixture) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache(namespace="faq")

        async def ask(q: str) -> Any:
            return {"secret prompt": Answer()}

        async def other(q: str) -> Any:
            return Answer()

        for function in (ask, other):
            cached = cache.cached(function)
            for number in range(50):
                await cached(f"question {number}")
        assert cache.stats.not_stored == {"encoding": 100}

    check()
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 2
    for line, words in zip(lines, (["ask", "<key 0>"], ["other"]), strict=True):
        for word in (*words, "Answer", "value_type="):
            assert word in line
        assert "secret" not in line
