"""Each caller of a failed computation has an exception of its own, equal to the factory's."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from cachecore.engine.flights.own_error import own_error
from tests.unit.virtual_caches import Scene, virtual

_known = vars(openai._exceptions)
http: Any = _known.get("httpx2") or _known["httpx"]  # the client of the SDK that is installed
REQUEST = http.Request("POST", "http://localhost/v1/messages")


class Coded(Exception):
    """Its constructor takes something else than its args hold."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code, self.hint = code, hint


class Slotted(Exception):
    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        self.where = where


class Unequal(Exception):
    """No two of them have the same text."""

    def __str__(self) -> str:
        return f"number {id(self)}"


class Refusing(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Model(pydantic.BaseModel):
    number: int


def _raised(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def _open_nothing() -> None:
    open("/nonexistent/file").close()


def _notes() -> BaseException:
    error = ValueError("noted")
    error.add_note("from the factory")
    return error


STANDARD: dict[str, BaseException] = {
    "plain": ValueError("no", 3),
    "key": KeyError("name"),
    "os": _raised(_open_nothing),
    "attribute": _raised(lambda: (0).nothing),  # type: ignore[attr-defined]  # raised on purpose
    "name": _raised(lambda: undefined),  # type: ignore[name-defined]  # noqa: F821 - raised on purpose
    "unicode": _raised(b"\xff".decode),
    "import": ImportError("no", name="numbers", path="/numbers.py"),
    "syntax": _raised(lambda: compile("a b", "file.py", "exec")),
    "exit": SystemExit(3),
    "coded": Coded(3, hint="slower"),
    "slotted": Slotted("here"),
    "notes": _notes(),
    "timeout": TimeoutError("the factory did not answer within 3 s"),
    "pydantic": _raised(lambda: Model.model_validate({"number": "x"})),
    "http": http.HTTPStatusError("500", request=REQUEST, response=http.Response(500, request=REQUEST)),
}


def _of_the_sdk(module: Any) -> Iterator[BaseException]:
    """Make one of each class of error, as the SDK itself does."""
    response = http.Response(429, request=REQUEST, headers={"x-request-id": "req-1"}, json={"error": {"code": "c"}})
    completion = openai.types.chat.ChatCompletion(
        id="c", choices=[], created=1, model="m", object="chat.completion", usage=None
    )
    given = {
        "message": "Error code: 429", "request": REQUEST, "response": response, "body": {"error": {"code": "c"}},
        "completion": completion, "unsent_messages": ["one"],
    }  # fmt: skip
    for name in sorted(name for name in module.__all__ if name.endswith("Error")):
        cls = getattr(module, name)
        if not inspect.isfunction(cls.__init__):
            yield cls("said")
            continue
        wanted = inspect.signature(cls).parameters.values()
        yield cls(**{one.name: given[one.name] for one in wanted if one.default is one.empty or one.name in given})


SDKS = {
    f"{module.__name__}.{type(error).__name__}": error
    for module in (openai, anthropic)
    for error in _of_the_sdk(module)
}


def test_each_sdk_has_its_errors_here() -> None:
    for name in ("APIStatusError", "RateLimitError", "APIConnectionError", "APITimeoutError", "BadRequestError"):
        assert {f"openai.{name}", f"anthropic.{name}"} <= SDKS.keys()


@pytest.mark.parametrize("error", [*STANDARD.values(), *SDKS.values()], ids=[*STANDARD, *SDKS])
def test_own_error_is_equal_and_another(error: BaseException) -> None:
    cause = LookupError("beneath")
    with pytest.raises(type(error)):
        raise error from cause
    before = error.__traceback__
    own = own_error(error)
    assert own is not None
    assert own is not error
    assert type(own) is type(error)
    assert (str(own), repr(own)) == (str(error), repr(error))
    kept = [name for name in dir(error) if not name.startswith("__") and not callable(getattr(error, name, None))]
    assert [getattr(own, name, None) for name in kept] == [getattr(error, name, None) for name in kept]
    assert (own.__cause__, own.__suppress_context__, own.__traceback__) == (cause, True, before)
    assert getattr(own, "__notes__", None) == getattr(error, "__notes__", None)
    own.add_note("of this caller")
    assert "of this caller" not in getattr(error, "__notes__", [])
    assert isinstance(own, SystemExit | Exception)


def test_group_has_copies_of_its_parts() -> None:
    inner = ExceptionGroup("inner", [OSError(2, "no file"), Coded(1, hint="h")])
    group = ExceptionGroup("outer", [ValueError("no"), inner])
    group.add_note("of the group")
    own = own_error(group)
    assert isinstance(own, ExceptionGroup)
    assert (str(own), own.message, own.__notes__) == (str(group), "outer", ["of the group"])
    assert repr(own) == repr(group)
    assert own.exceptions[0] is not group.exceptions[0]
    copied = own.exceptions[1]
    assert isinstance(copied, ExceptionGroup)
    assert copied is not inner
    assert (str(copied.exceptions[1]), vars(copied.exceptions[1])) == ("code 1", {"code": 1, "hint": "h"})


def test_what_cannot_be_copied_is_left_alone() -> None:
    assert own_error(Unequal()) is None
    assert own_error(Refusing()) is None


async def _failures(scene: Scene, error: Exception, many: int = 200) -> list[tuple[BaseException, int]]:
    """Return what each of `many` callers of one failing computation raised, and the frames it had then."""
    cache = scene.cache()

    async def factory() -> None:
        await asyncio.sleep(0.05)
        raise error

    async def caller() -> tuple[BaseException, int]:
        try:
            await cache.get_or_set("q", factory)
        except Exception as raised:
            return raised, len(traceback.extract_tb(raised.__traceback__))
        raise AssertionError("nothing was raised")

    return await asyncio.gather(*(caller() for _ in range(many)))


@virtual
async def test_each_caller_has_its_own(scene: Scene) -> None:
    raised = await _failures(scene, Coded(7, hint="h"))
    assert len({id(error) for error, _ in raised}) == 200
    assert {(type(error), str(error)) for error, _ in raised} == {(Coded, "code 7")}
    assert len({frames for _, frames in raised}) == 1
    assert all(_passed("factory", error) for error, _ in raised)


@virtual
async def test_traceback_of_a_shared_one_does_not_grow(scene: Scene) -> None:
    raised = await _failures(scene, Unequal())
    assert len({id(error) for error, _ in raised}) == 1
    assert len({frames for _, frames in raised}) == 1
    assert _passed("factory", raised[0][0])


@virtual
async def test_lone_caller_gets_the_factorys_own(scene: Scene) -> None:
    error = ValueError("no")
    ((raised, _),) = await _failures(scene, error, many=1)
    assert raised is error


@virtual
async def test_batch_and_those_who_joined_it(scene: Scene) -> None:
    """However many keys fail together: no caller has the exception of another."""
    cache = scene.cache()

    async def factory(names: list[int]) -> dict[int, int]:
        await asyncio.sleep(0.05)
        raise Coded(3, hint="h")

    async def never() -> int:
        raise AssertionError("joined")

    batch = asyncio.ensure_future(cache.get_or_set_many(range(20), factory))
    await asyncio.sleep(0.01)
    singles = [asyncio.ensure_future(cache.get_or_set(number % 20, never)) for number in range(40)]
    raised = await asyncio.gather(batch, *singles, return_exceptions=True)
    assert {str(error) for error in raised} == {"code 3"}
    assert len({id(error) for error in raised}) == 41


def _passed(function: str, error: BaseException) -> bool:
    return any(frame.name == function for frame in traceback.extract_tb(error.__traceback__))
