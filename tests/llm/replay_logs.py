"""The same few requests as applications and gateways write them into logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

Write = Callable[[Sequence[str]], str]


def _lines(records: Sequence[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def chat(question: str) -> dict[str, Any]:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
    return {"model": "gpt-5-mini", "temperature": 0, "messages": turns, "stream": True}


def openai(questions: Sequence[str]) -> str:
    return _lines([chat(one) for one in questions])


def openai_batch(questions: Sequence[str]) -> str:
    return _lines(
        [
            {"custom_id": f"r-{n}", "method": "POST", "url": "/v1/chat/completions", "body": chat(one)}
            for n, one in enumerate(questions)
        ]
    )


def responses(questions: Sequence[str]) -> str:
    return _lines([{"model": "gpt-5-mini", "instructions": "Be brief.", "input": one} for one in questions])


def anthropic(questions: Sequence[str]) -> str:
    return _lines(
        [
            {
                "model": "claude-sonnet-4-5",
                "max_tokens": 100,
                "system": "Be brief.",
                "messages": [{"role": "user", "content": one}],
            }
            for one in questions
        ]
    )


def anthropic_batch(questions: Sequence[str]) -> str:
    made = [json.loads(line) for line in anthropic(questions).splitlines()]
    return _lines([{"custom_id": f"r-{n}", "params": one} for n, one in enumerate(made)])


def litellm(questions: Sequence[str]) -> str:
    return _lines(
        [
            {
                "id": f"chatcmpl-{n}",
                "call_type": "acompletion",
                "model": "gpt-5-mini",
                "messages": chat(one)["messages"],
                "model_parameters": {"temperature": 0, "stream": False},
                "startTime": 1764000000.0 + n,
                "endTime": 1764000001.5 + n,
                "prompt_tokens": 20,
                "completion_tokens": 5,
                "response_cost": 0.001,
            }
            for n, one in enumerate(questions)
        ]
    )


def langfuse(questions: Sequence[str]) -> str:
    """A list over many lines, as the export of a page writes it, with a span between the generations."""
    rows: list[dict[str, Any]] = [{"id": "s", "type": "SPAN", "input": "x"}]
    rows += [
        {
            "id": f"g-{n}",
            "type": "GENERATION",
            "model": "gpt-5-mini",
            "modelParameters": {"temperature": "0", "max_tokens": ("inf", "Infinity")[n % 2]},
            "input": json.dumps(chat(one)["messages"]) if n % 2 else chat(one)["messages"],
            "output": {"role": "assistant", "content": "…"},
            "startTime": f"2026-01-01T10:00:0{n % 10}.000Z",
            "endTime": f"2026-01-01T10:00:0{n % 10}.500Z",
            "usageDetails": {"input": 20, "output": 5},
        }
        for n, one in enumerate(questions)
    ]
    return json.dumps(rows, indent=2)


def langfuse_bucket(questions: Sequence[str]) -> str:
    """As the scheduled export to a bucket names the fields, with parameters as text."""
    rows = [
        {
            "id": f"g-{n}",
            "type": "GENERATION",
            "provided_model_name": "gpt-5-mini",
            "model_parameters": json.dumps({"temperature": 0, "max_tokens": "Infinity"}),
            "input": json.dumps(chat(one)["messages"]),
            "start_time": f"2026-01-01 10:00:0{n % 10}.000000",
            "end_time": f"2026-01-01 10:00:0{n % 10}.500000",
            "usage_details": {"input": 20, "output": 5},
        }
        for n, one in enumerate(questions)
    ]
    return _lines(rows)


def helicone(questions: Sequence[str]) -> str:
    return _lines(
        [
            {
                "request_id": f"r-{n}",
                "request_created_at": "2026-01-01T10:00:00Z",
                "request_body": chat(one) if n % 2 else json.dumps(chat(one)),
                "response_body": {},
                "prompt_tokens": 20,
                "completion_tokens": 5,
                "delay_ms": 900,
            }
            for n, one in enumerate(questions)
        ]
    )


def _attributes(question: str) -> dict[str, Any]:
    said = [{"role": "user", "parts": [{"type": "text", "content": question}]}]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.request.temperature": 0.0,
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "Be brief."}]),
        "gen_ai.input.messages": json.dumps(said),
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 5,
    }


def otlp(questions: Sequence[str]) -> str:
    """As the collector's file exporter writes it: one line, a list of attributes, a span of another kind among them."""
    kinds = {str: "stringValue", float: "doubleValue", int: "intValue"}
    spans: list[dict[str, Any]] = [{"name": "GET /", "spanId": "0", "attributes": []}]
    for n, one in enumerate(questions):
        told = [
            {"key": k, "value": {kinds[type(v)]: str(v) if type(v) is int else v}} for k, v in _attributes(one).items()
        ]
        start = 1764000000_000000000 + n
        times = {"startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 1_500_000_000)}
        spans.append({"name": "chat gpt-5-mini", "spanId": f"{n}", "attributes": told, **times})
    return _lines([{"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}])


def console_spans(questions: Sequence[str]) -> str:
    """As the console exporter of the SDK prints them: objects over many lines, one after another."""
    times = {"start_time": "2026-01-01T10:00:00.000000Z", "end_time": "2026-01-01T10:00:01.500000Z"}
    return "".join(
        json.dumps({"name": "chat", "attributes": _attributes(one), **times}, indent=4) + "\n" for one in questions
    )


def text(questions: Sequence[str]) -> str:
    return "".join(f"{one}\n" for one in questions)


def csv_of_questions(questions: Sequence[str]) -> str:
    return "id,prompt\n" + "".join(f'{n},"{one}"\n' for n, one in enumerate(questions))


LOGS: dict[str, tuple[str, Write, str]] = {
    "openai": ("log.jsonl", openai, "openai"),
    "openai batch": ("log.jsonl", openai_batch, "openai-batch"),
    "responses": ("log.jsonl", responses, "responses"),
    "anthropic": ("log.jsonl", anthropic, "anthropic"),
    "anthropic batch": ("log.jsonl", anthropic_batch, "anthropic"),
    "litellm": ("log.jsonl", litellm, "litellm"),
    "langfuse": ("log.json", langfuse, "langfuse"),
    "langfuse bucket": ("log.jsonl", langfuse_bucket, "langfuse"),
    "helicone": ("log.jsonl", helicone, "helicone"),
    "otlp": ("log.json", otlp, "otel"),
    "console spans": ("log.json", console_spans, "otel"),
    "text": ("log.txt", text, "text"),
    "csv": ("log.csv", csv_of_questions, "own"),
}
"""By name: a file name, what writes the log, and the name of the form."""
