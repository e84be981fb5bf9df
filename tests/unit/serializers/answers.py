"""Types that applications declare for their answers."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import pathlib
import uuid
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar

import msgspec
import pydantic

T = TypeVar("T")
NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


class Reason(enum.Enum):
    STOP = "stop"
    LENGTH = "length"


@dataclasses.dataclass
class Usage:
    prompt: int
    completion: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    text: str
    usage: Usage
    reason: Reason = Reason.STOP
    parts: tuple[str, ...] = ()
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    at: datetime.datetime | None = None
    cost: decimal.Decimal = decimal.Decimal("0.00")
    request: uuid.UUID | None = None
    kind: Literal["exact", "similar"] = "exact"


@dataclasses.dataclass
class BetterUsage(Usage):
    cached: int = 0


class Struct(msgspec.Struct):
    name: str
    usage: Usage
    following: Struct | None = None


class Packed(msgspec.Struct, array_like=True, tag="packed"):
    numbers: set[int]
    data: bytes


class Row(TypedDict):
    id: int
    note: NotRequired[str]


class Pair(NamedTuple):
    left: int
    right: str = "r"


@dataclasses.dataclass
class Page(Generic[T]):
    items: list[T]


class Model(pydantic.BaseModel):
    text: str = pydantic.Field(alias="content")
    usage: Usage
    extras: dict[str, Any] = {}
    at: datetime.datetime | None = None
    inner: Model | None = None


class Speech(pydantic.BaseModel):
    """A model with bytes that are no text, beside what pydantic writes as text."""

    audio: bytes
    at: datetime.datetime
    voice: Reason = Reason.STOP
    place: pathlib.PurePosixPath = pathlib.PurePosixPath("/a")
    words: set[str] = set()
    lasts: datetime.timedelta = datetime.timedelta(0)
    by_number: dict[int, bytes] = {}
    parts: list[Speech] = []


class Frozen(pydantic.BaseModel, frozen=True):
    text: str


class Mixed(pydantic.BaseModel, strict=True, defer_build=True):
    """What JSON alone keeps, beside bytes that it may keep or not."""

    picture: bytes | None = None
    at: datetime.datetime | None = None
    why: Reason | None = None
    frozen: set[Frozen] = set()
    number: int = 0
    last: collections.deque[int] = collections.deque()


class Open(pydantic.BaseModel, extra="allow"):
    text: str


class Secretive(pydantic.BaseModel):
    text: str
    hidden: str = pydantic.Field(default="", exclude=True)


@dataclasses.dataclass
class Choosy:
    """A class whose own checks raise what they like."""

    word: str

    def __post_init__(self) -> None:
        if self.word == "bad":
            raise KeyError("prompt-xyz is not a good word")


@dataclasses.dataclass
class Loose:
    anything: Any
    positive: Annotated[int, msgspec.Meta(gt=0)] = 1


class Plain:
    """No class of fields."""


UTC = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=datetime.UTC)
FULL = Answer(
    "Sure.",
    Usage(1, 2),
    Reason.LENGTH,
    ("a", "b"),
    {"x": 0.5},
    UTC,
    decimal.Decimal("1.50"),
    uuid.UUID(int=9),
    "similar",
)
GOOD: list[tuple[Any, Any]] = [
    (Answer, FULL),
    (Answer, Answer("", Usage(0))),
    (Struct, Struct("a", Usage(1), Struct("b", Usage(2)))),
    (Packed, Packed({3, 1}, b"\x00\xff")),
    (
        Speech,
        Speech(audio=b"\xff\xd8", at=NOON, words={"a"}, by_number={1: b"\x80"}, parts=[Speech(audio=b"", at=NOON)]),
    ),
    (Speech, Speech(audio=b"text", at=NOON, voice=Reason.LENGTH, lasts=datetime.timedelta(seconds=1.5))),
    (Mixed, Mixed(at=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2))))),
    (Mixed, Mixed(picture=b"text", why=Reason.STOP, frozen={Frozen(text="a")}, number=2**70)),
    (Mixed, Mixed(picture=b"\xff", why=Reason.STOP, last=collections.deque([1, 2]), at=NOON)),
    (list[Speech | None], [None, Speech(audio=bytes(range(256)), at=NOON)]),
    (Row, {"id": 1}),
    (Row, {"id": 1, "note": "n"}),
    (Pair, Pair(1)),
    (Page[Answer], Page([FULL])),
    (list[Answer], [FULL, FULL]),
    (dict[str, list[Answer]], {"a": [FULL], "b": []}),
    (dict[int, str], {1: "a", -2: "b"}),
    (tuple[int, str], (1, "a")),
    (Answer | None, None),
    (Answer | None, FULL),
    (set[int], {1, 2}),
    (frozenset[str], frozenset({"a"})),
    (datetime.datetime, UTC),
    (datetime.date, datetime.date(2024, 5, 6)),
    (float, float("nan")),
    (Reason, Reason.STOP),
    (Model, Model(content="hi", usage=Usage(1), extras={"a": [1, None, {"b": 2.5}]}, at=UTC)),
    (Model, Model(content="hi", usage=Usage(1), inner=Model(content="there", usage=Usage(2)))),
    (Open, Open.model_validate({"text": "t", "more": [1]})),
    (list[Open], [Open(text="t")]),
    (Model | Open, Open(text="t")),
]
BAD: list[tuple[Any, Any]] = [
    (Usage, BetterUsage(1)),
    (Usage, {"prompt": 1, "completion": 0}),
    (Usage, Usage("1")),  # type: ignore[arg-type]  # what no type checker saw
    (Usage, Usage(True)),
    (Usage, Usage(1.0)),  # type: ignore[arg-type]  # as above
    (Answer, None),
    (Loose, Loose((1, 2))),
    (Loose, Loose({1})),
    (Loose, Loose(UTC.replace(tzinfo=None))),
    (Loose, Loose(Plain())),
    (Loose, Loose(1, -1)),
    (Row, {"id": 1, "unknown": 2}),
    (Row, {}),
    (Pair, (1, "r")),
    (tuple[int, str], [1, "a"]),
    (list[int], (1,)),
    (float, 1),
    (int, True),
    (Secretive, Secretive(text="t", hidden="lost")),
    (Model, Model(content="hi", usage=Usage(1), extras={"a": (1,)})),
    (Model, Model(content="hi", usage=Usage(1), extras={"a": float("nan")})),
    (Model, Open(text="t")),
    (Model, {"content": "hi", "usage": {"prompt": 1}}),
]
