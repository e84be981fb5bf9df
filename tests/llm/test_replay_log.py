"""Logs of requests: what a line may hold, and how a bad one is told."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import OptionsError
from cachecore_llm import LLMRequest
from cachecore_llm.replay.log import Line, LogReader


def read(path: Path, data: str | bytes, **options: Any) -> list[Line]:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(LogReader(path, **options))


def test_json_lines(tmp_path: Path) -> None:
    lines = read(
        tmp_path / "log.jsonl",
        '\ufeff{"system_prompt": "s", "user_message": "u"}\n'
        "\n"
        '{"system_prompt": "s", "user_message": "ü", "context": [1], "params": {"model": "m", "stream": true}, '
        '"tenant": "t", "label": "a/b"}',
    )
    assert lines == [
        Line(1, LLMRequest("s", "u")),
        Line(3, LLMRequest("s", "ü", [1], {"model": "m"}, "t", "a/b")),
    ]


def test_csv(tmp_path: Path) -> None:
    """Quoted line breaks, empty cells and parameters as JSON."""
    lines = read(
        tmp_path / "log.csv",
        'user_message,system_prompt,context,params\r\n"Hi,\r\nyou!",s,,\r\nu,,c,"{""temperature"": 0}"\r\n',
    )
    assert lines == [Line(3, LLMRequest("s", "Hi,\r\nyou!")), Line(4, LLMRequest("", "u", "c", {"temperature": 0}))]


def test_kind_is_seen_from_the_content(tmp_path: Path) -> None:
    assert read(tmp_path / "a.log", '\n {"system_prompt": "", "user_message": "u"}')[0].request is not None
    assert read(tmp_path / "b.log", "system_prompt,user_message\n,u\n")[0].request is not None


def test_fields_that_are_not_part_of_the_request_are_counted(tmp_path: Path) -> None:
    """Leaving out `model` would make hits of misses, so it is told; naming it makes it a parameter."""
    path = tmp_path / "log.jsonl"
    path.write_text('{"system_prompt": "s", "user_message": "u", "model": "m", "id": 1}\n' * 2)
    reader = LogReader(path, params=["model"])
    assert [line.request for line in reader] == [LLMRequest("s", "u", None, {"model": "m"})] * 2
    assert reader.ignored == {"id": 2}
    lines = read(tmp_path / "log.csv", "system_prompt,user_message,seed\ns,u,1\n", params=["seed"])
    assert lines[0].request == LLMRequest("s", "u", None, {"seed": 1})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{oops", "not JSON"),
        (b'{"system_prompt": "s", "user_message": "\xff"}', "not UTF-8"),
        (b'{"system_prompt": "s", "user_message": "\\ud800"}', "user_message is not UTF-8"),
        (b"[1, 2]", "a request is an object, not a list"),
        (b"null", "a request is an object, not null"),
        (b'{"user_message": "u"}', "no system_prompt"),
        (b'{"system_prompt": "s"}', "no user_message"),
        (b'{"system_prompt": "s", "user_message": 5}', "user_message is a number, not text"),
        (b'{"system_prompt": "s", "user_message": "  "}', "user_message is empty"),
        (b'{"system_prompt": "s", "user_message": "u", "params": [1]}', "params is a list, not an object"),
        (b'{"system_prompt": "s", "user_message": "u", "tenant": 1}', "tenant is a number, not text"),
        (b'{"system_prompt": "s", "user_message": "u", "params": {"tenant": "x"}}', "cannot be called 'tenant'"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_bad_lines_are_told_by_number_and_skipped(tmp_path: Path, line: bytes, problem: str) -> None:
    good = b'{"system_prompt": "s", "user_message": "u"}\n'
    lines = read(tmp_path / "log.jsonl", good + line + b"\n" + good)
    assert [found.number for found in lines] == [1, 2, 3]
    assert lines[0].request == lines[2].request == LLMRequest("s", "u")
    assert lines[1].request is None
    assert problem in (lines[1].problem or "")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"s,u,,,", "5 columns where the first line names 3"),
        (b"s", "1 columns"),
        (b"s,u,{bad", "params is not JSON"),
        (b's,"u"x,', "not CSV"),
        (b"s,\xff,", "user_message is not UTF-8"),
        (b"s,,", "user_message is empty"),
    ],
)
def test_bad_rows_are_told_by_number_and_skipped(tmp_path: Path, line: bytes, problem: str) -> None:
    lines = read(tmp_path / "log.csv", b"system_prompt,user_message,params\ns,u,\n" + line + b"\ns,u,\n")
    assert [found.number for found in lines] == [2, 3, 4]
    assert problem in (lines[1].problem or "")
    assert lines[2].request == LLMRequest("s", "u")


def test_csv_without_the_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="user_message"):
        read(tmp_path / "log.csv", "system_prompt,question\ns,u\n")


def test_position_reaches_the_size(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"system_prompt": "s", "user_message": "é"}\n' * 3)
    reader = LogReader(path)
    positions = [reader.position for _ in reader]
    assert positions == sorted(positions)
    assert reader.position == reader.size


@given(st.binary(max_size=300), st.sampled_from(["log.jsonl", "log.csv", "log"]))
def test_no_bytes_whatever_end_a_replay(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("log") / name
    try:
        lines = read(path, data)
    except OptionsError:
        return  # a CSV log without its columns, as a whole
    assert all((line.request is None) != (line.problem is None) for line in lines)


@given(st.lists(st.tuples(st.text(), st.text().filter(str.strip)), max_size=5))
def test_both_formats_say_the_same(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("log")
    names = ("system_prompt", "user_message")
    as_json = "".join(json.dumps(dict(zip(names, pair, strict=True))) + "\n" for pair in pairs)
    as_csv = io.StringIO()
    csv.writer(as_csv, quoting=csv.QUOTE_ALL).writerows([names, *pairs])
    from_json = [line.request for line in read(folder / "log.jsonl", as_json)]
    from_csv = [line.request for line in read(folder / "log.csv", as_csv.getvalue())]
    assert from_json == from_csv == [LLMRequest(*pair) for pair in pairs]
