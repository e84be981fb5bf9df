"""Logs of applications and gateways: recognised, replayed, and what cannot be read counted by reason."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cachecore import OptionsError, cli
from cachecore_llm.replay.log import LogReader
from cachecore_llm.wire import Call
from tests.llm.replay_logs import LOGS, chat, langfuse, openai, text

QUESTIONS = ["Where is Bonn?", "Where is Ulm?", "Where is Bonn?", "Where is Bonn?"]


@pytest.mark.parametrize("name", LOGS)
def test_each_form_is_recognised_and_says_the_same(tmp_path: Path, name: str) -> None:
    """Four requests, two different ones; the last three questions equal requests where the questions are equal."""
    file, write, form = LOGS[name]
    path = tmp_path / file
    path.write_text(write(QUESTIONS))
    reader = LogReader(path)
    found = [line for line in reader if line.request is not None]
    assert reader.forms == {form: 4}
    requests = [line.request for line in found]
    assert requests[0] == requests[2] == requests[3] != requests[1]
    assert reader.position == reader.size
    if form in ("litellm", "langfuse", "helicone", "otel"):
        facts = found[0].facts
        assert (facts.input_tokens, facts.output_tokens) == (20, 5)
        assert facts.at is not None
        assert facts.seconds in (0.5, 0.9, 1.5)


@pytest.mark.parametrize("name", [name for name in LOGS if name not in ("responses", "text", "csv")])
def test_a_chat_is_the_same_chat_in_every_log(tmp_path: Path, name: str) -> None:
    file, write, _ = LOGS[name]
    path = tmp_path / file
    path.write_text(write(QUESTIONS[:1]))
    (call,) = [line.request for line in LogReader(path) if line.request is not None]
    assert isinstance(call, Call)
    turns = [(one["role"], one["content"]) for one in call.body["messages"]]
    wanted = [("system", "Be brief."), ("user", "Where is Bonn?")]
    assert turns == (wanted[1:] if call.protocol == "anthropic.messages" else wanted)
    assert "stream" not in call.body


@pytest.mark.parametrize("name", LOGS)
def test_each_form_is_replayed(tmp_path: Path, name: str) -> None:
    file, write, form = LOGS[name]
    path = tmp_path / file
    path.write_text(write(QUESTIONS))
    arguments = ["replay", str(path), "--json", "--speed", "1000", "--concurrency", "1", "--backend", "memory://"]
    done = CliRunner().invoke(cli.app(), arguments)
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["requests"], told["hits"], told["provider_calls"]) == (4, 2, 2)
    assert told["rejected"] == {}
    assert told["forms"] == {form: 4}


def test_what_cannot_be_read_is_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(langfuse(QUESTIONS))
    problems = [line.problem for line in LogReader(path) if line.problem]
    assert problems == ["an observation that is no generation"]
    path = tmp_path / "log.jsonl"
    odd = [{"messages": []}, {"messages": [1], "model": "m"}, {"unknown": 1}, {"call_type": "image_generation"}]
    path.write_text(openai(QUESTIONS) + "".join(json.dumps(one) + "\n" for one in odd) + "{oops\n{oops\n")
    arguments = ["replay", str(path), "--json", "--speed", "1000", "--backend", "memory://"]
    told = json.loads(CliRunner().invoke(cli.app(), arguments).stdout)
    assert told["bad_lines_by_reason"] == {
        "no messages": 1,
        "messages is no list of objects": 1,
        "a record of no known form": 1,
        "a call of the kind image_generation": 1,
        "not JSON": 2,
    }


def test_a_format_that_is_named_overrides(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(openai(QUESTIONS))
    reader = LogReader(path, form="text")
    assert len(list(reader)) == 4
    assert reader.forms == {"text": 4}
    with pytest.raises(OptionsError, match="there are own, openai"):
        LogReader(path, form="nonsense")


@pytest.mark.parametrize("way", ["numbered", "parts", "events"])
def test_spans_with_calls_of_tools(tmp_path: Path, way: str) -> None:
    """A turn without text ends no conversation: results of a tool tell requests apart, and the ids of calls do not."""

    def span(n: int, result: str | None) -> dict[str, Any]:
        call = {"id": f"call_{n}", "name": "weather"}
        told: dict[str, Any] = {"gen_ai.operation.name": "chat"}
        events = [{"name": "gen_ai.user.message", "attributes": {"content": "Rain?"}}]
        parts = [{"role": "user", "parts": [{"type": "text", "content": "Rain?"}]}]
        numbered = {"0.role": "user", "0.content": "Rain?"}
        if result is not None:
            parts.append({"role": "assistant", "parts": [{"type": "tool_call", **call}]})
            parts.append(
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": call["id"], "result": result}]}
            )
            numbered |= {"1.role": "assistant"} | {f"1.tool_calls.0.{name}": value for name, value in call.items()}
            numbered |= {"2.role": "tool", "2.content": result, "2.tool_call_id": call["id"]}
            events.append({"name": "gen_ai.assistant.message", "attributes": {"content": ""}})
            events.append({"name": "gen_ai.tool.message", "attributes": {"content": result, "id": call["id"]}})
        if way == "numbered":
            told |= {f"gen_ai.prompt.{name}": value for name, value in numbered.items()}
        elif way == "parts":
            told["gen_ai.input.messages"] = json.dumps(parts)
        return {"name": "chat", "spanId": str(n), "attributes": told, "events": events if way == "events" else []}

    path = tmp_path / "log.jsonl"
    results = (None, "yes", "no", "yes")
    path.write_text("".join(json.dumps(span(n, result)) + "\n" for n, result in enumerate(results)))
    asked, yes, no, again = (line.request for line in LogReader(path))
    assert again == yes
    assert asked != yes != no != asked


def test_claude_asked_in_the_form_of_openai(tmp_path: Path) -> None:
    """Requests to Claude through OpenRouter have a body in OpenAI's form; LiteLLM's logs name the protocol."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {}}}
    asked = {"model": "anthropic/claude-sonnet-4-5", "messages": [{"role": "user", "content": "Hi"}]}
    logged = {"model": asked["model"], "proxy_server_request": {**asked, "max_tokens": 9}}
    told = {"model": asked["model"], "messages": asked["messages"], "model_parameters": {"max_tokens": 9}}
    records: list[tuple[dict[str, Any], str]] = [
        (asked, "openai.chat"),
        ({**asked, "max_tokens": 9}, "anthropic.messages"),
        ({**asked, "max_tokens": 9, "tools": [tool]}, "openai.chat"),
        ({**asked, "max_tokens": 9, "messages": chat("Hi")["messages"]}, "openai.chat"),
        ({**logged, "call_type": "acompletion"}, "openai.chat"),
        ({**logged, "call_type": "anthropic_messages"}, "anthropic.messages"),
        ({**told, "call_type": "anthropic_messages"}, "anthropic.messages"),
        ({"model": "m", "messages": "Hi", "call_type": "aresponses"}, "openai.responses"),
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record, _ in records))
    found = [line.request for line in LogReader(path)]
    assert [one.protocol if isinstance(one, Call) else None for one in found] == [protocol for _, protocol in records]


def test_questions_in_a_file_of_another_name(tmp_path: Path) -> None:
    """They look like CSV without a known column; the error names the option that reads them."""
    path = tmp_path / "questions.log"
    path.write_text(text(QUESTIONS))
    with pytest.raises(OptionsError, match="--format text"):
        list(LogReader(path))
    assert len(list(LogReader(path, form="text"))) == 4


def test_a_list_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text(langfuse(QUESTIONS)[:-200])
    lines = list(LogReader(path))
    assert [line.number for line in lines if line.request is not None] == [2, 3, 4]
    assert lines[-1].problem == "not JSON: nothing behind it can be read"


@pytest.mark.parametrize("name", ["log.jsonl", "log.json"])
def test_a_large_log_takes_little_memory(tmp_path: Path, name: str) -> None:
    """64 MiB of requests are read within 12 MiB, whatever the log's length."""
    path = tmp_path / name
    record = json.dumps(chat("x" * 8000))
    with path.open("w") as file:
        file.write("[" if name == "log.json" else "")
        for n in range(8000):
            file.write(("," if n and name == "log.json" else "") + record + "\n")
        file.write("]" if name == "log.json" else "")
    assert path.stat().st_size > 60 * 1024 * 1024
    tracemalloc.start()
    try:
        assert sum(line.request is not None for line in LogReader(path)) == 8000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 * 1024 * 1024
