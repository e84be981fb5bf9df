"""What is never stored, and what must not be taken for it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_llm.policy.admission import AdmissionRules, rejection, unusable
from cachecore_llm.wire import ANTHROPIC_MESSAGES, OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES, PLAIN
from cachecore_llm.wire.facts import AnswerFacts, ChoiceFacts, ErrorFacts, ToolCallFacts, UsageFacts
from tests.llm.policy.judged import answer, request, why

CALL = ToolCallFacts(id="1", name="f", arguments='{"a": 1}')
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def unknown(word: str | None) -> dict[str, Any]:
    return {"finish": "unknown", "raw_finish": word}


@pytest.mark.parametrize(
    "word",
    [
        *(None, "", "stop", "STOP", "FinishReason.STOP", "end_turn", "stop_sequence", "COMPLETE", "eos_token", "eos"),
        *("tool_calls", "FINISH", "FINISHED", "endoftext", "<|endoftext|>", "FINISH_REASON_STOP", "1", "REASON_STOP"),
        *("<FinishReason.STOP: 1>", "stop_criteria_met", "done", "completed", "null", "None", "TOOL_CALL"),
    ],
)
def test_good_ends_are_stored(word: str | None) -> None:
    """An answer without a finish is good where its protocol takes it for complete."""
    assert rejection(answer(**unknown(word)), request()) is None


@pytest.mark.parametrize("word", ["length", "MAX_TOKENS", "FinishReason.MAX_TOKENS", "incomplete", "2", "model_length"])
def test_truncated_answers_are_not(word: str) -> None:
    assert rejection(answer("Once upon a", **unknown(word)), request()) == "truncated"


@pytest.mark.parametrize("word", ["content_filtered", "SAFETY", "guardrail_intervened", "RECITATION", "3", "sensitive"])
def test_filtered_answers_are_not(word: str) -> None:
    assert rejection(answer("A word", **unknown(word)), request()) == "filtered"
    assert unusable(answer("A word", **unknown(word)), request()) == "filtered"


@pytest.mark.parametrize(
    "word",
    ["abort", "cancelled", "malformed_function_call", "a_word_of_next_year", "0", "5", "in_progress", "stopp", "…"],
)
def test_unknown_ends_are_not_trusted(word: str) -> None:
    assert rejection(answer(**unknown(word)), request()) == "unfinished"


def test_ends_as_the_protocol_understands_them() -> None:
    ends = {"stop": None, "tool_calls": None, "length": "truncated", "content_filter": "filtered"}
    ends |= {"refusal": "refused", "pause": "unfinished", "error": "unfinished"}
    for finish, expected in ends.items():
        assert rejection(answer(finish=finish, raw_finish=finish), request()) == expected


def test_answer_that_fills_its_bound_is_truncated() -> None:
    """Where a provider gives no finish, the bound it was given tells."""
    used, bound = UsageFacts(input_tokens=1, output_tokens=16), request(max_output_tokens=16)
    assert rejection(answer("Once upon a", usage=used, **unknown(None)), bound) == "truncated"
    assert rejection(answer("A tale.", usage=used, **unknown(None)), request(max_output_tokens=17)) is None
    assert rejection(answer("Exactly so.", usage=used), bound) is None


def test_body_that_its_protocol_takes_for_incomplete_is_not() -> None:
    assert rejection(answer(complete=False, **unknown(None)), request()) == "unfinished"
    assert rejection(AnswerFacts(complete=True), request()) == "unfinished"
    assert rejection(answer(complete=False, **unknown("FINISHED")), request()) is None, "a word its protocol has not"
    assert rejection(answer(), request(n=2)) is None, "complete, says the protocol"
    assert rejection(answer(complete=False), request(n=2)) == "unfinished"


def test_extra_words_for_ends() -> None:
    rules = AdmissionRules(extra_good_finishes=["Goal Reached"], extra_bad_finishes=["end_turn"])
    assert rejection(answer(**unknown("GOAL_REACHED")), request(), rules) is None
    assert rejection(answer(finish="stop", raw_finish="end_turn"), request(), rules) == "unfinished"


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b", "\ufeff \u200d", "...", "…", ". . .", " " * 1000])
def test_empty_answers_are_not(text: str) -> None:
    assert why(text) == "empty"
    assert unusable(answer(text), request()) == "empty"


def test_reasoning_alone_is_empty() -> None:
    assert why("", reasoning="I think, therefore") == "empty"


def test_empty_text_that_says_why_is_not_asked_again() -> None:
    """Another provider would be paid for what the caller's own bound causes."""
    assert unusable(answer("", finish="length", raw_finish="length"), request()) is None
    assert unusable(answer("", refusal="I won't."), request()) is None
    assert unusable(answer("Paris."), request()) is None
    assert unusable(answer("", error=ErrorFacts(status=503)), request()) == "error"
    assert unusable(AnswerFacts(), request()) == "empty"


def test_pictures_and_sound_are_answers() -> None:
    assert why("", media=True) is None


@pytest.mark.parametrize("arguments", ["", "{", '{"a": 1', "NaN", "[1]", "null", '"a"', '{"a": NaN}'])
def test_tool_call_without_valid_arguments_is_not(arguments: str) -> None:
    """A call that the caller's tool cannot be run with would be repeated for as long as the answer lives."""
    call = ToolCallFacts(id="1", name="f", arguments=arguments)
    assert why("", finish="tool_calls", tool_calls=(CALL, call)) == "bad_tool_call"


@pytest.mark.parametrize("protocol", [OPENAI_CHAT, OPENAI_RESPONSES, PLAIN], ids=lambda one: one.name)
@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, None),
        ({}, None),
        ({"type": "object", "properties": {}, "required": []}, None),
        ({"type": "object", "properties": {"unit": {"type": "string"}}}, None),
        (SCHEMA, "bad_tool_call"),
        ({"type": "object", "minProperties": 0}, None),
        ({"type": "object", "minProperties": 1}, "bad_tool_call"),
        ({"$ref": "#/$defs/Asked", "$defs": {"Asked": SCHEMA}}, "bad_tool_call"),
        ({"type": "object", "$defs": {"Asked": SCHEMA}}, None),
        ({"type": "object", "allOf": [SCHEMA]}, "bad_tool_call"),
        ({"anyOf": [SCHEMA, SCHEMA]}, "bad_tool_call"),
        ({"oneOf": [SCHEMA]}, "bad_tool_call"),
        ({"not": {"maxProperties": 0}}, "bad_tool_call"),
        ({"not": {}}, "bad_tool_call"),
        ({"if": False, "else": SCHEMA}, "bad_tool_call"),
        ({"type": "object", "anyOf": None, "required": None}, None),
        ({"enum": [{"a": 1}]}, "bad_tool_call"),
        ("no schema", "bad_tool_call"),
    ],
)
def test_empty_arguments_are_none_where_the_tool_requires_none(protocol: Any, parameters: Any, expected: Any) -> None:
    """Many models call a tool without parameters with empty text in place of `{}`."""
    described = {"name": "f", **({} if parameters is None else {"parameters": parameters})}
    chat = {"tools": [{"type": "function", "function": described}], "model": "m", "messages": []}
    body = {
        OPENAI_CHAT: chat,
        OPENAI_RESPONSES: {"model": "m", "input": "?", "tools": [{"type": "function", **described}]},
        PLAIN: {"user_message": "?", "params": {"tools": chat["tools"]}},
    }[protocol]
    asked = protocol.parse(body)
    called = answer("", finish="tool_calls", tool_calls=(ToolCallFacts(id="1", name="f", arguments=""),))
    assert rejection(called, asked) == expected
    other = answer("", finish="tool_calls", tool_calls=(ToolCallFacts(id="1", name="g", arguments=""),))
    assert rejection(other, asked) == "bad_tool_call", "a tool that was not offered"
    cut = answer("", finish="tool_calls", tool_calls=(ToolCallFacts(id="1", name="f", arguments="{"),))
    assert rejection(cut, asked) == "bad_tool_call"


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("schema", "expected"), [(SCHEMA, "bad_tool_call"), ({"type": "object"}, None)])
def test_a_plain_request_may_have_its_schema_as_messages_have_it(wrapped: bool, schema: Any, expected: Any) -> None:
    tool: dict[str, Any] = {"name": "f", "input_schema": schema}
    asked = PLAIN.parse({"user_message": "?", "params": {"tools": [{"function": tool} if wrapped else tool]}})
    called = answer("", finish="tool_calls", tool_calls=(ToolCallFacts(id="1", name="f", arguments=""),))
    assert rejection(called, asked) == expected


@pytest.mark.parametrize("name", [None, "", " "])
def test_tool_call_without_name_is_not(name: str | None) -> None:
    for kind in ("function", "tool_use", "custom"):
        call = ToolCallFacts(id="1", name=name, arguments="{}", kind=kind)
        assert why("", finish="tool_calls", tool_calls=(call,)) == "bad_tool_call"


def test_good_tool_calls_are_stored() -> None:
    assert why("", finish="tool_calls", tool_calls=(CALL,)) is None
    assert why("I'm sorry, I can't help with that yet; let me look.", finish="tool_calls", tool_calls=(CALL,)) is None
    free = ToolCallFacts(id="1", name="patch", arguments="*** Begin", kind="custom")
    screen = ToolCallFacts(id="1", name=None, arguments="{}", kind="computer_call")
    surrogate = ToolCallFacts(id="1", name="f", arguments='{"a": "\ud800"}')
    huge = ToolCallFacts(id="1", name="f", arguments='{"city": "Zürich", "n": 1e400}')
    for call in (free, screen, surrogate, huge):
        assert why("", finish="tool_calls", tool_calls=(call,)) is None
    asked = request(output="schema", schema=SCHEMA)
    assert rejection(answer("", finish="tool_calls", tool_calls=(CALL,)), asked) is None
    assert rejection(answer("", finish="length", tool_calls=(CALL,)), asked) == "truncated"


def test_calls_that_the_provider_ran_are_not_judged() -> None:
    ran = ToolCallFacts(id="1", name=None, arguments="", kind="web_search_call", by_caller=False)
    assert why("The sun shines.", tool_calls=(ran,)) is None
    assert why("", tool_calls=(ran,)) == "empty"


@pytest.mark.parametrize("text", ['{"a": 1', "Here is your JSON: {}", "```json\n{}\n```", "NaN", "[" * 100_000])
def test_invalid_json_is_not(text: str) -> None:
    for asked in (request(output="json"), request(output="schema", schema=SCHEMA), request(output="schema")):
        assert rejection(answer(text), asked) == "invalid_json"


def test_json_that_was_asked_for_is_stored() -> None:
    asked = request(output="json")
    assert rejection(answer('{"a": [1]}'), asked) is None
    assert rejection(answer('{"error": "overloaded"}'), asked) == "error_text"


def test_json_off_its_schema_is_not() -> None:
    asked = request(output="schema", schema=SCHEMA)
    assert rejection(answer('{"a": 1}'), asked) is None
    for text in ('{"a": "1"}', "{}", '{"a": 1, "b": 2}', "null", "[]"):
        assert rejection(answer(text), asked) == "off_schema"


def test_answer_that_fits_a_schema_may_be_about_errors() -> None:
    schema = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    assert rejection(answer('{"error": "E12"}'), request(output="schema", schema=schema)) is None


def test_number_that_no_float_holds_is_json() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    for text in ('{"n": 1e400}', '{"n": -1e400}', '{"n": 1' + "0" * 400 + "}"):
        assert rejection(answer(text), request(output="schema", schema=schema)) in (None, "off_schema")
        assert rejection(answer(text), request(output="json")) is None


def test_faulty_schema_judges_nothing() -> None:
    """Its fault is the provider's to tell. Nothing is fetched: no document that a schema names is asked for."""
    for schema in (
        {"type": "strin"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/hostname"},
        {"pattern": "("},
        {"x": object()},
    ):
        assert rejection(answer('{"a": 1}'), request(output="schema", schema=schema)) is None


def test_schema_with_a_costly_pattern_takes_no_time() -> None:
    """A backtracking engine would need more than 2**60 steps."""
    schema = {"type": "string", "pattern": r"^(?=(a+)+$)(\w+\s?)*$"}
    assert rejection(answer('"' + "a" * 60 + '!"'), request(output="schema", schema=schema)) == "off_schema"


def test_refusals_that_say_so_are_not() -> None:
    assert why("", refusal="I won't.") == "refused"
    assert why("No.", finish="refusal", raw_finish="refusal") == "refused"


def test_one_bad_choice_spoils_the_answer() -> None:
    """They are stored as one."""
    good, bad = ChoiceFacts(text="Paris.", finish="stop"), ChoiceFacts(text="...", finish="stop")
    assert rejection(AnswerFacts(choices=(good, good), complete=True), request(n=2)) is None
    assert rejection(AnswerFacts(choices=(good, bad), complete=True), request(n=2)) == "empty"
    assert unusable(AnswerFacts(choices=(good, bad), complete=True), request(n=2)) is None


def test_error_under_a_good_status_is_not() -> None:
    assert rejection(answer(error=ErrorFacts(message="no")), request()) == "error_text"


def test_bodies_of_real_protocols() -> None:
    """The facts that the protocols read are the ones that are judged here."""
    chat = {"choices": [{"index": 0, "message": {"content": "Paris."}, "finish_reason": "FINISHED"}]}
    assert rejection(OPENAI_CHAT.facts(chat), request()) is None
    message = {"type": "message", "content": [{"type": "text", "text": "Paris."}], "stop_reason": "end_turn"}
    assert rejection(ANTHROPIC_MESSAGES.facts(message), request()) is None
    assert rejection(ANTHROPIC_MESSAGES.facts({**message, "stop_reason": "pause_turn"}), request()) == "unfinished"
    parts = [{"type": "output_text", "text": "Paris."}]
    response = {"status": "completed", "output": [{"type": "message", "content": parts}]}
    assert rejection(OPENAI_RESPONSES.facts(response), request()) is None
    cut = {**response, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert rejection(OPENAI_RESPONSES.facts(cut), request()) == "truncated"
    vectors = {"data": [{"index": 0, "embedding": [0.5]}], "usage": {"prompt_tokens": 1}}
    assert rejection(OPENAI_EMBEDDINGS.facts(vectors), request(inputs=("a",))) is None
    assert rejection(OPENAI_EMBEDDINGS.facts({"data": []}), request(inputs=("a",))) == "unfinished"
    for body in ({}, {"choices": None}, {"output": 5}, {"content": [None]}, {"choices": [{"message": "no"}]}):
        for protocol in (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES, OPENAI_EMBEDDINGS):
            assert rejection(protocol.facts(body), request()) is not None


def test_phrases_of_an_application() -> None:
    rules = AdmissionRules(extra_phrases=["Our  Bot is asleep", "(zzz)"])
    for text in ("our bot is asleep.", " OUR\nBOT IS ASLEEP", '"Our bot is asleep"', "(zzz) later"):
        assert why(text, rules) == "error_text"
    assert why("Is our bot asleep?", rules) is None


def test_rule_of_an_application() -> None:
    def admit(facts: AnswerFacts, _: object) -> bool:
        return "Paris" in facts.choices[0].text

    rules = AdmissionRules(admit=admit)
    assert why("Paris.", rules) is None
    assert why("Rome.", rules) == "custom"
    assert why("", rules) == "empty", "asked last"


def test_rule_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """The provider answered and was paid: the answer reaches its caller. No text of it is logged."""

    def admit(facts: AnswerFacts, _: object) -> bool:
        raise KeyError(facts.choices[0].text)

    with caplog.at_level(logging.WARNING):
        assert why("a secret", AdmissionRules(admit=admit)) == "custom"
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (
            {"extra_phrases": "Our bot is asleep"},
            r"extra_phrases must be several texts, such as \['Our bot is asleep'\]",
        ),
        ({"extra_phrases": [""]}, "extra_phrases must hold texts that are not empty, not ''"),
        ({"extra_good_finishes": [1]}, "extra_good_finishes must hold texts"),
        ({"extra_bad_finishes": 5}, "extra_bad_finishes must be several texts"),
        ({"admit": True}, "admit must be a function"),
    ],
)
def test_wrong_rules(rules: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionsError, match=told):
        AdmissionRules(**rules)
