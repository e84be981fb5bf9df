"""Which parts of a request make it a miss."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore_llm.wire import Call
from cachecore_proxy.differences import Differences, parts_of


def request(*texts: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text} for text in texts]
    return {"protocol": "openai.chat", "headers": {}, "body": {"model": "m", "messages": messages, **fields}}


def test_the_first_request_differs_from_none() -> None:
    assert Differences().seen("g", request("a")) == ""


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (request("a", "b"), ""),
        (request("a", "c"), "messages[1]"),
        (request("a", "b", temperature=0), "temperature"),
        (request("a", "b", "c"), "messages[2]"),
        (request("a"), "messages[1]"),
        ({**request("a", "b"), "headers": {"openai-beta": "x"}}, "header openai-beta"),
        ({**request("a", "b"), "scope": "s"}, "scope"),
    ],
)
def test_the_parts_that_differ_are_named(other: dict[str, Any], named: str) -> None:
    differences = Differences()
    differences.seen("g", request("a", "b"))
    assert differences.seen("g", other) == named


def test_the_most_alike_request_counts() -> None:
    differences = Differences()
    differences.seen("g", request("system 1", "question"))
    differences.seen("g", request("system 2", "other", temperature=1))
    assert differences.seen("g", request("system 3", "question")) == "messages[0]"


def test_requests_of_other_groups_are_not_compared() -> None:
    differences = Differences()
    differences.seen("g", request("a"))
    assert differences.seen("h", request("b")) == ""


def test_a_plain_request_names_its_parameters() -> None:
    differences = Differences()
    differences.seen("g", {"body": {"user_message": "a", "params": {"temperature": 0}}})
    assert differences.seen("g", {"body": {"user_message": "a", "params": {"temperature": 1}}}) == "temperature"


def test_many_differences_are_summed_up() -> None:
    differences = Differences()
    differences.seen("g", request(*map(str, range(10))))
    told = differences.seen("g", request(*(f"{number}!" for number in range(10))))
    assert told == "messages[0], messages[1], messages[2], messages[3] and 6 more"


def test_a_long_conversation_is_bounded() -> None:
    differences = Differences()
    differences.seen("g", request(*map(str, range(5000))))
    assert differences.seen("g", request(*map(str, range(5001)))) == "messages[64] and further"


@pytest.mark.parametrize("value", [{1: "a", "b": 2}, "\ud800", b"bytes", object()])
def test_nothing_raises(value: object) -> None:
    differences = Differences()
    for _ in range(2):
        differences.seen("g", {"body": {"messages": [value], "x": value}})
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert differences.seen("g", {"body": {"x": deep}}) == ""


def test_digests_of_two_processes_differ() -> None:
    first, second = Differences(), Differences()
    for one in (first, second):
        one.seen("g", request("a"))
    assert first._groups["g"] != second._groups["g"]


def call(**body: Any) -> Call:
    return Call(protocol="openai.chat", endpoint="e", body={"model": "m", "messages": [{"content": "a"}], **body})


def test_what_is_not_keyed_makes_no_difference() -> None:
    differences = Differences()
    first, second = parts_of(call(user="one", stream=True)), parts_of(call(user="two", temperature=1))
    assert first is not None
    assert second is not None
    differences.seen("g", first)
    assert differences.seen("g", second) == "temperature"


def test_a_very_large_request_is_not_compared() -> None:
    assert parts_of(call(tools=["x" * 100_000])) is not None
    assert parts_of(call(tools=[{"picture": "x" * 300_000}])) is None
    assert parts_of(call(tools=list(range(300_000)))) is None
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert parts_of(call(tools=deep)) is None
