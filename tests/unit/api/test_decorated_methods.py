"""Cached methods: what of their object is part of the request."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar, assert_type

import pydantic
import pytest

from cachecore import Lookup, OptionsError, SyncCache, UnkeyableError
from tests.unit.virtual_caches import Scene, virtual

plain = SyncCache[Any]("memory://", ttl=60)
T = TypeVar("T")


def _free(self: object) -> None:
    return None


class Translator:
    """An ordinary class with settings."""

    house = "cachecore"

    def __init__(self, language: str, client: object = None) -> None:
        self.language = language
        self.client = client

    @plain.cached
    def say(self, word: str) -> str:
        return f"{word} in {self.language} for {self.house}"

    @plain.cached(exclude=["self.client"])
    def greet(self, word: str) -> str:
        return f"{word} {self.language}"

    @plain.cached(exclude=["self"])
    def anywhere(self, word: str) -> str:
        return f"{type(self).__name__} {word}"

    @property
    @plain.cached(exclude=["self.client"])
    def motto(self) -> str:
        return f"motto of {self.language}"

    @functools.cached_property
    @plain.cached
    def total(self) -> str:
        return f"total of {self.language}"

    french = functools.partialmethod(say, "bon")


class Loud(Translator):
    house = "LOUD"


class Slotted:
    __slots__ = ("__never", "language")

    def __init__(self, language: str) -> None:
        self.language = language

    @plain.cached
    def say(self, word: str) -> str:
        return f"{word} in {self.language}"


class Wide(Slotted):
    __slots__ = ("accent",)

    def __init__(self, language: str, accent: str) -> None:
        super().__init__(language)
        self.accent = accent


@virtual
async def test_methods_keep_their_types(scene: Scene) -> None:
    cache = scene.cache()

    class Model:
        @cache.cached
        async def ask(self, q: str, times: int = 1) -> list[str]:
            return [q] * times

    model = Model()
    assert_type(await model.ask("a", times=2), list[str])
    assert_type(await Model.ask.lookup(model, "a"), Lookup[list[str]])
    assert_type(Model.ask.key(model, "a"), str)
    assert_type(await model.ask.refresh(model, "a"), list[str])
    with pytest.raises(TypeError):
        await model.ask(1, 2, 3)  # type: ignore[arg-type, call-arg]  # what a type checker must refuse


def test_two_objects_with_other_settings_never_share_an_answer() -> None:
    french, german, loud = Translator("French"), Translator("German"), Loud("French")
    for _ in range(2):
        assert french.say("good") == "good in French for cachecore"
        assert german.say("good") == "good in German for cachecore"
        assert loud.say("good") == "good in French for LOUD"
        assert Slotted("French").say("a") == "a in French"
        assert Slotted("German").say("a") == "a in German"
    keys = {Wide.say.key(Wide("French", accent), "a") for accent in ("north", "south")}
    assert len({*keys, Slotted.say.key(Slotted("French"), "a")}) == 3
    assert Translator.say.key(Translator("French"), "good") == Translator.say.key(french, "good")
    french.language = "Dutch"
    assert french.say("good") == "good in Dutch for cachecore"


def test_a_setting_that_cannot_be_keyed_is_named_with_the_ways_out() -> None:
    """At the first call; the class alone is never enough."""
    with pytest.raises(UnkeyableError) as refused:
        Translator("French", object()).say("good")
    for part in ("self.client: cannot key a object", "__cachecore_key__", "exclude=['self.client']"):
        assert part in str(refused.value)
    assert Translator("French", object()).greet("a") == Translator("French", object()).greet("a") == "a French"
    assert Translator.greet.key(Translator("French", object()), "a") == Translator.greet.key(Translator("French"), "a")
    assert [one.anywhere("a") for one in (Translator("x", object()), Loud("y"))] == ["Translator a", "Loud a"]
    assert Translator.anywhere.key(Translator("x"), "a") == Translator.anywhere.key(Translator("y"), "a")
    with pytest.raises(OptionsError, match=r"has no parameter 'other\.client' to exclude"):
        plain.cached(exclude=["other.client"])(_free)


def test_properties_and_partial_methods_above() -> None:
    french, german = Translator("French"), Translator("German")
    for _ in range(2):
        assert (french.motto, german.motto) == ("motto of French", "motto of German")
        assert (french.total, german.total) == ("total of French", "total of German")
        assert (french.french(), german.french()) == ("bon in French for cachecore", "bon in German for cachecore")
    assert french.say("good") == "good in French for cachecore"  # the value that is kept in `total` is no setting
    assert Translator.say.key(french, "bon") == Translator.say.key(Translator("French"), "bon")


@dataclass
class Settings:
    language: str
    notes: list[str] = field(default_factory=list)

    @plain.cached
    def say(self, word: str) -> str:
        return f"{word} {self.language}"


class Model(pydantic.BaseModel):
    language: str

    @plain.cached
    def say(self, word: str) -> str:
        return f"{word} {self.language}"

    @plain.cached
    @classmethod
    def build(cls, word: str) -> str:
        return f"{word} {cls.__name__}"


class Pair(NamedTuple):
    language: str

    @plain.cached
    def say(self, word: str) -> str:
        return f"{word} {self.language}"


class Tone(enum.Enum):
    LOW = "low"
    HIGH = "high"

    @plain.cached
    def say(self, word: str) -> str:
        return f"{word} {self.value}"


class Book(dict[str, str]):
    """A dict with a setting beside it."""

    def __init__(self, language: str) -> None:
        super().__init__(word="parola")
        self.language = language

    @plain.cached
    def say(self, word: str) -> str:
        return f"{self[word]} {self.language}"


def test_objects_with_a_canonical_form_count_by_it() -> None:
    for _ in range(2):
        assert [Settings(one).say("a") for one in ("de", "fr")] == ["a de", "a fr"]
        assert [Model(language=one).say("a") for one in ("de", "fr")] == ["a de", "a fr"]
        assert [Pair(one).say("a") for one in ("de", "fr")] == ["a de", "a fr"]
        assert [one.say("a") for one in Tone] == ["a low", "a high"]
        assert [Book(one).say("word") for one in ("de", "fr")] == ["parola de", "parola fr"]
    assert Settings.say.key(Settings("de", ["x"]), "a") != Settings.say.key(Settings("de", []), "a")
    assert Model.build("a") == "a Model"
    with pytest.raises(UnkeyableError, match=r"self\.notes\[0\].*__cachecore_key__"):
        Settings("de", [object()]).say("a")  # type: ignore[list-item]  # on purpose


@virtual
async def test_an_object_may_say_itself_what_counts_of_it(scene: Scene) -> None:
    cache = scene.cache()

    class Model:
        def __init__(self, name: str) -> None:
            self.name = name

        def __cachecore_key__(self) -> str:
            return self.name

        @cache.cached
        async def ask(self, q: str) -> str:
            return f"{type(self).__name__} {self.name} {q}"

        @cache.cached
        @classmethod
        async def count(cls, q: str) -> int:
            return len(q)

    class Other(Model):
        pass

    assert [await Model(name).ask("q") for name in "aba"] == ["Model a q", "Model b q", "Model a q"]
    assert await Other("a").ask("q") == "Other a q"
    assert cache.stats.factory_calls == 3
    assert Model.ask.key(Model("a"), "q") != Model.ask.key(Model("b"), "q")
    assert await Model.count("abc") == await Model("a").count("abc") == 3


@virtual
async def test_class_methods_and_static_methods(scene: Scene) -> None:
    cache = scene.cache()

    class Model:
        @cache.cached
        @classmethod
        async def ask(cls, q: str) -> str:
            return f"{cls.__name__} {q}"

        @cache.cached
        @staticmethod
        async def say(cls: str, q: str) -> str:
            return f"{cls} {q}"

        @classmethod
        @cache.cached
        async def ask_below(cls, q: str) -> str:
            return f"{cls.__name__} {q}"

        @staticmethod
        @cache.cached
        async def say_below(q: str) -> str:
            return q

    class Other(Model):
        pass

    model: Any = Model  # mypy takes a static method for another one when an instance is asked for it
    other: Any = Other
    for _ in range(2):
        assert [await one.ask("a") for one in (model, other, model(), other())] == ["Model a", "Other a"] * 2
        assert [await one.ask_below("a") for one in (model, other, model(), other())] == ["Model a", "Other a"] * 2
        assert [await one.say("x", "a") for one in (model, other())] == ["x a", "x a"]
        assert [await one.say("y", "a") for one in (model, other())] == ["y a", "y a"]
        assert [await one.say_below("a") for one in (model, other())] == ["a", "a"]
    assert cache.stats.factory_calls == 7
    assert Model.ask.key(Model, "a") == model().ask.key(Model, "a") != Other.ask.key(Other, "a")
    assert await Other.ask.refresh(Other, "a") == "Other a"
    assert [await Model.ask.invalidate(Model, "a") for _ in range(2)] == [True, False]
    assert await model.say_below.invalidate("a") is True
    assert (await model.say.lookup("x", "a")).outcome == "hit"


@virtual
async def test_a_forgotten_object_is_no_other_argument(scene: Scene) -> None:
    """`obj.method.invalidate("a")` cannot know its object: it must not take "a" for it."""
    cache = scene.cache()

    class Model:
        @cache.cached
        async def ask(self, q: str = "a", r: str = "b") -> str:
            return f"{q} {r}"

        @classmethod
        @cache.cached
        async def build(cls, q: str = "a") -> str:
            return q

    forgotten: Any = Model().ask
    for helper in (forgotten.invalidate, forgotten.refresh, forgotten.lookup):
        with pytest.raises(
            TypeError, match=r"Model\.ask takes an object of Model first, not a str: write .*\(obj, …\)"
        ):
            await helper("a")
    with pytest.raises(TypeError, match="takes an object of Model first"):
        forgotten.key("a", "b", "c")
    built: Any = Model.build
    with pytest.raises(TypeError, match="takes an object of Model first"):
        built.key("a")


@virtual
async def test_parameters_that_are_only_called_self_or_cls_count(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached
    async def classify(cls: str, text: str) -> str:
        return f"{cls} {text}"

    @cache.cached
    async def know(self: str) -> str:
        return self

    assert [await classify(cls, "a") for cls in ("spam", "ham")] == ["spam a", "ham a"]
    assert [await know(self) for self in ("a", "b")] == ["a", "b"]


@virtual
async def test_a_function_that_classes_borrow_knows_its_object(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached
    async def ask(self: Any, q: str) -> str:
        return f"{self.language} {q}"

    class Model:
        def __init__(self, language: str) -> None:
            self.language = language

        question = ask

    borrowed: Any = Model
    assert [await borrowed(one).question("a") for one in ("de", "fr", "de")] == ["de a", "fr a", "de a"]
    assert cache.stats.factory_calls == 2


class Shade(enum.StrEnum):
    LIGHT = "light"
    DARK = "dark"

    @plain.cached
    def described(self) -> str:
        return f"a {self.value} shade"

    @plain.cached(exclude=["self._sort_order_"])
    def named(self) -> str:
        return self.name


class Size(enum.IntEnum):
    ONE = 1
    TWO = 2

    @plain.cached
    def described(self) -> str:
        return f"size {self.value}"


class Box(Generic[T]):
    def __init__(self, held: T) -> None:
        self.held = held

    @plain.cached
    def described(self) -> str:
        return f"a box of {self.held}"


def test_members_of_enums_of_text_and_numbers_are_objects_of_methods() -> None:
    for _ in range(2):
        assert [one.described() for one in Shade] == ["a light shade", "a dark shade"]
        assert [one.named() for one in Shade] == ["LIGHT", "DARK"]
        assert [one.described() for one in Size] == ["size 1", "size 2"]


def test_objects_of_a_generic_class_are_objects_of_methods() -> None:
    for _ in range(2):
        said = [box.described() for box in (Box(1), Box[int](2), Box[str]("a"))]
        assert said == ["a box of 1", "a box of 2", "a box of a"]
    described: Any = Box.described  # for mypy it is a method of `Box[T]` alone
    assert described.key(Box[int](1)) == described.key(Box[int](1))
