"""Answers are stored as their return annotation says, and as before where it names plain or unknown types."""

from __future__ import annotations

import base64
import collections
import datetime
import decimal
import enum
import fractions
import ipaddress
import pathlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NewType, TypedDict

import attrs
import msgspec
import numpy as np
import pydantic
import pytest
from numpy.typing import NDArray
from openai.types.chat import ChatCompletion

from cachecore import Computed, OptionsError
from cachecore.api.return_types import serializer_for
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from tests.unit.virtual_caches import Scene, virtual


@dataclass
class Answer:
    text: str
    parts: list[Answer] | None = None


class Limerick(pydantic.BaseModel):
    lines: list[str]


class Struct(msgspec.Struct):
    when: datetime.date


@attrs.define
class Attributes:
    cost: decimal.Decimal


class Pair(NamedTuple):
    a: int
    b: str


class Row(TypedDict):
    name: str
    cost: decimal.Decimal


class PlainRow(TypedDict):
    name: str


class Tone(enum.Enum):
    LOW = 1


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


@dataclass
class Found:
    place: pathlib.Path
    last: collections.deque[int]
    host: ipaddress.IPv4Address


@dataclass
class Other:
    number: int


def completion() -> ChatCompletion:
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "hi"}}
    made = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "extra": [1]}
    return ChatCompletion.model_validate(made)


class Odd:
    """No serializer keeps it."""


UserId = NewType("UserId", int)
PAIRS: list[tuple[Any, Any]] = [
    (Answer, Answer("a", [Answer("b")])),
    (Limerick, Limerick(lines=["a"])),
    (Struct, Struct(datetime.date(2026, 1, 1))),
    (Pair, Pair(1, "b")),
    (Row, {"name": "a", "cost": decimal.Decimal("1.10")}),
    (Tone, Tone.LOW),
    (tuple[int, str], (1, "a")),
    (dict[int, list[Answer]], {1: [Answer("a")]}),
    (dict[str, Limerick | None], {"a": Limerick(lines=[]), "b": None}),
    (list[datetime.datetime], [datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)]),
    (uuid.UUID | None, uuid.UUID(int=5)),
    (Computed[Answer], Answer("a")),
    (Answer | Computed[Answer], Answer("a")),
    (set[UserId], {UserId(1)}),
    (dict[int, str], {1: "a"}),
    (dict[tuple[int, int], float], {(1, 2): 0.5}),
    (Mixed, Mixed.TWO),
    (list[Answer | Other], [Other(1), Answer("a")]),
    (ChatCompletion, completion()),
    (dict[str, list[ChatCompletion]], {"a": [completion()]}),
    (Attributes, Attributes(decimal.Decimal("1.10"))),
    (Sequence[Answer], [Answer("a")]),
    (Mapping[str, Sequence[decimal.Decimal]], {"a": [decimal.Decimal("0.50")]}),
    (Mapping[int, str], {1: "a"}),
    (Sequence[Limerick] | None, [Limerick(lines=["a"])]),
    (np.float32, np.float32(0.5)),
    (dict[str, NDArray[np.float32]], {}),
    (Found, Found(pathlib.Path("/a"), collections.deque([1]), ipaddress.IPv4Address("10.0.0.1"))),
    (dict[str, list[Found]], {"a": []}),
    (pathlib.Path, pathlib.Path("/a/ü")),
    (list[pathlib.PurePosixPath], [pathlib.PurePosixPath("a")]),
    (ipaddress.IPv6Network, ipaddress.IPv6Network("fe80::/10")),
    (complex, 1.5 - 2j),
    (fractions.Fraction, fractions.Fraction(1, 3)),
    (bytearray, bytearray(b"\xff")),
    (collections.deque[int], collections.deque([1, 2])),
    (collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2)),
    (collections.Counter[str], collections.Counter("aab")),
    (collections.defaultdict[str, list[int]], collections.defaultdict(list, a=[1])),
]


def returning(annotation: Any, value: Any) -> Any:
    async def ask(q: str) -> Any:
        return value

    ask.__annotations__["return"] = annotation
    return ask


@pytest.mark.parametrize(("annotation", "value"), PAIRS, ids=lambda one: str(one)[:40])
def test_answers_of_an_annotated_type_are_kept(annotation: Any, value: Any) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        # Without a copy in memory each answer is read from the store.
        cache = scene.cache(l1_max_entries=0)
        ask = cache.cached(name="ask")(returning(annotation, value))
        for _ in range(3):
            got = await ask("a")
            assert (type(got), got) == (type(value), value)
        assert cache.stats.factory_calls == 1

    check()


@pytest.mark.parametrize(
    "annotation",
    [
        str, int | None, list[str], dict[str, Any], list[dict[str, float]], Any, None, object, list, dict, PlainRow,
        Literal["a", "b"], UserId, Odd, list[Odd], Sequence[str], Mapping[str, int], Sequence,
        Iterable[Answer], "Unknown", "list[Unknown]", "not an annotation",
    ],
    ids=str,
)  # fmt: skip
def test_other_annotations_change_nothing(annotation: Any) -> None:
    assert serializer_for(returning(annotation, None), MsgpackSerializer()) is None


@virtual
async def test_a_value_that_does_not_fit_its_annotation_is_kept_as_plain_data(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    for value in ({"text": "a"}, None, ["a"]):
        ask = cache.cached(name=str(value))(returning(Answer, value))
        assert [await ask("a") for _ in range(2)] == [value, value]
    assert cache.stats.factory_calls == 3


@virtual
async def test_a_declared_type_wins_over_the_annotation(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    declared = cache.cached(name="declared", value_type=Answer)(returning(Limerick, Answer("a")))
    assert [await declared("a") for _ in range(2)] == [Answer("a")] * 2
    assert cache.stats.factory_calls == 1
    plain = cache.cached(name="plain", value_type=Any)(returning(Answer, Answer("a")))
    assert [await plain("a") for _ in range(2)] == [Answer("a")] * 2
    assert cache.stats.factory_calls == 3
    assert cache.stats.not_stored == {"encoding": 2}


@virtual
async def test_arrays_and_sdk_objects_are_kept_where_their_type_is_declared(scene: Scene) -> None:
    declared = scene.cache(l1_max_entries=0, value_type=dict[str, NDArray[np.float32]])
    views = scene.cache(l1_max_entries=0)
    for cache, value in (
        (declared, {"a": np.ones(2, dtype=np.float32)}),
        (views.scoped("sdk", value_type=ChatCompletion), completion()),
        (views.scoped("array", value_type=np.ndarray), np.ones(2)),
    ):
        calls: list[int] = []

        async def factory(value: Any = value, calls: list[int] = calls) -> Any:
            calls.append(1)
            return value

        for _ in range(3):
            got = await cache.get_or_set("q", factory)
            assert (type(got), repr(got)) == (type(value), repr(value))
        assert len(calls) == 1


def test_without_a_type_the_log_says_function_path_type_and_way_out_once(caplog: pytest.LogCaptureFixture) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        @scene.cache(l1_max_entries=0).cached
        async def ask(n: int):  # type: ignore[no-untyped-def]  # the point of the test
            return {"answers": [completion()]}

        for n in range(50):
            await ask(n)
            await ask(n)

    check()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "cachecore"]
    for word in ("ask", "value.answers[0]", "ChatCompletion", "value_type=", "return annotation"):
        assert word in line


def test_names_are_resolved_at_the_first_call() -> None:
    """A class may be defined below the function, as long as it is there when that is called."""

    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache(l1_max_entries=0)
        names: dict[str, Any] = {"cache": cache, "dataclass": dataclass, "__name__": __name__}
        exec(
            "from __future__ import annotations\n"
            "@cache.cached\nasync def late(q: Unknown) -> Later:\n    return Later(q)\n"
            "@dataclass\nclass Later:\n    text: str\n",
            names,
        )
        assert [await names["late"]("a") for _ in range(2)] == [names["Later"]("a")] * 2
        assert cache.stats.factory_calls == 1

    check()


def test_what_was_chosen_for_the_cache_stays_around_typed_answers() -> None:
    """An annotation or a declared type never leaves out the encryption."""
    key = base64.b64encode(bytes(32)).decode()

    @virtual
    async def check(scene: Scene) -> None:
        serializer = EncryptedSerializer(keys={"a": key}, inner=CompressedSerializer())
        cache = scene.cache(serializer=serializer, l1_max_entries=0)
        secret = Answer("a secret answer")
        annotated = cache.cached(name="annotated")(returning(Answer, secret))
        declared = cache.cached(name="declared", value_type=Answer)(returning(Answer, secret))
        for ask in (annotated, declared):
            assert [await ask("a") for _ in range(2)] == [secret] * 2
            (stored,) = await scene.memory.get_many([ask.key("a")])
            assert stored is not None
            assert b"secret" not in stored
            assert b"aesgcm+zstd+typed" in stored
        assert cache.stats.factory_calls == 2

    check()
    assert serializer_for(returning(Answer, None), JsonSerializer()) is None


@virtual
async def test_a_type_in_a_view_needs_to_know_the_serializer_it_replaces(scene: Scene) -> None:
    class Own(MsgpackSerializer):
        """Does something besides."""

    class Stranger:
        name = "stranger"

        def dumps(self, value: Any, context: Any) -> bytes:
            return b""

        def loads(self, data: bytes, context: Any) -> Any:
            return None

    cache = scene.cache(serializer=Stranger())
    with pytest.raises(OptionsError, match="would replace the cache's own Stranger: give serializer= as well"):
        cache.scoped(value_type=Answer)
    for own in (Own(), Stranger()):
        assert serializer_for(returning(Answer, None), own) is None
    with pytest.raises(OptionsError, match="Own"):
        scene.cache(serializer=Own()).scoped(value_type=Answer)
