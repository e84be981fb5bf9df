"""The directive language: a directive is followed, or refused with the value, the reason and the way out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore_llm.testing.provider.ask import pieces, tokens
from cachecore_llm.testing.provider.directives import PLAIN, TABLE, DirectiveError, Directives, Failure, ToolCall, parse
from cachecore_llm.testing.provider.schema import SchemaError, instance


@pytest.mark.parametrize(
    ("text", "expected", "rest"),
    [
        ("no directives", Directives(), "no directives"),
        ("[[Main Page]] and [[ x ]]", Directives(), "[[Main Page]] and [[ x ]]"),
        ("a [[delay 0.5]] b [[chunks 3]] c", Directives(delay=0.5, chunks=3), "a b c"),
        (
            '[[tool:a {"x": "]]"}]] [[tool:b]]',
            Directives(tools=(ToolCall("a", '{"x": "]]"}'), ToolCall("b", None))),
            "",
        ),
        ('[[tool:a "{broken"]]', Directives(tools=(ToolCall("a", "{broken"),)), ""),
        ('[[say "two\\nlines ]] here"]]', Directives(say="two\nlines ]] here"), ""),
        ("[[say plain]]", Directives(say="plain"), ""),
        ("[[cut]]", Directives(cut=0), ""),
        ("[[usage cached=1 reasoning=2]]", Directives(usage={"cached": 1, "reasoning": 2}), ""),
        ("[[error 429 retry-after=0.5 times=2]]", Directives(error=Failure(429, None, 0.5, 2)), ""),
        ("[[compat crlf]] [[compat comments]]", Directives(compat=frozenset(("crlf", "comments"))), ""),
    ],
)
def test_directives_are_read(text: str, expected: Directives, rest: str) -> None:
    assert parse(text) == (expected, rest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[sya hello]]", "unknown directive; known are"),
        ("[[chunks many]]", "expected a whole number"),
        ("[[chunks -1]]", "expected a whole number"),
        ("[[chunks 99999999999]]", "expected a whole number"),
        ("[[delay nan]]", "expected seconds"),
        ("[[delay 1e9]]", "expected seconds"),
        ("[[error 200]]", "status from 400 to 599"),
        ("[[error 429 after=1]]", "unknown 'after'"),
        ("[[usage]]", "expected cached"),
        ("[[usage cached=1 and more]]", "expected cached"),
        ("[[compat nothing]]", "expected some of"),
        ("[[tool {}]]", "a name is missing"),
        ("[[say:x y]]", "takes no name"),
        ("[[tool:a {broken}]]", "not JSON"),
        ("[[tool:a 7]]", "arguments are a JSON object"),
        ("[[say hello", "closing"),
        ("[[empty]]" * 300, "more than 256"),
        ("[[say " + "[" * 100_000, "not JSON"),
    ],
)
def test_what_cannot_be_followed_is_refused(text: str, said: str) -> None:
    with pytest.raises(DirectiveError, match=said):
        parse(text)


def test_later_directives_win_and_deviations_add_up() -> None:
    base, _ = parse("[[delay 1]] [[compat crlf]]")
    told, _ = parse("[[delay 2]] [[compat comments]]", base)
    assert told.delay == 2
    assert told.compat == frozenset(("crlf", "comments"))
    assert parse("nothing", base)[0] == base


def test_every_field_has_a_directive() -> None:
    fields = set(Directives.__dataclass_fields__)
    assert {target for target, _, _ in TABLE.values()} == fields


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    """It is read, or refused as a DirectiveError; text without brackets comes back as it was."""
    try:
        told, rest = parse(text)
    except DirectiveError:
        assert "[[" in text
        return
    if "[[" not in text:
        assert (told, rest) == (PLAIN, text)


@given(st.text(), st.text())
def test_anything_can_be_said(said: str, around: str) -> None:
    around = around.replace("[[", "")
    if around.endswith("["):
        around += " "
    told, _ = parse(f"{around}[[say {json.dumps(said)}]]")
    assert told.say == said


@given(st.text(), st.none() | st.integers(0, 50))
def test_pieces_make_the_text_again(text: str, count: int | None) -> None:
    parts = pieces(text, count)
    assert "".join(parts) == text
    assert all(parts)
    if text and count:
        assert len(parts) == min(count, max(len(tokens(text)), len(text) if count > len(tokens(text)) else 0))


scalars = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({"type": "string", "format": "date-time"}),
    st.builds(
        lambda low, room: {"type": "string", "minLength": low, "maxLength": low + room},
        st.integers(0, 30),
        st.integers(0, 30),
    ),
    st.builds(
        lambda low, room: {"type": "integer", "minimum": low, "maximum": low + room},
        st.integers(-99, 99),
        st.integers(0, 99),
    ),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-99, 99)),
    st.builds(lambda high: {"type": "number", "maximum": high}, st.integers(-99, 99)),
    st.builds(lambda values: {"enum": values}, st.lists(st.integers() | st.text(), min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.integers()),
)
schemas: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.builds(
            lambda parts: {"type": "object", "properties": parts},
            st.dictionaries(st.text(max_size=4), inner, max_size=3),
        ),
        st.builds(lambda item, n: {"type": "array", "items": item, "minItems": n}, inner, st.integers(0, 3)),
        st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


def fits(value: Any, schema: Any) -> bool:
    """Return whether a value is an instance; written apart from the code that makes one."""
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    if "anyOf" in schema:
        return any(fits(value, option) for option in schema["anyOf"])
    kind = schema["type"]
    if kind == "object":
        parts = schema["properties"]
        return isinstance(value, dict) and value.keys() == parts.keys() and all(fits(value[k], parts[k]) for k in parts)
    if kind == "array":
        if not isinstance(value, list) or len(value) < schema["minItems"]:
            return False
        return all(fits(part, schema["items"]) for part in value)
    if kind == "string":
        return isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 1 << 20)
    if kind in ("integer", "number"):
        return (
            isinstance(value, int if kind == "integer" else float)
            and not isinstance(value, bool)
            and value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
            and value > schema.get("exclusiveMinimum", value - 1)
        )
    return isinstance(value, bool) if kind == "boolean" else value is None


@given(schemas, st.text(max_size=8))
def test_instances_fit_their_schema(schema: Any, seed: str) -> None:
    made = instance(schema, seed)
    assert fits(made, schema)
    assert instance(schema, seed) == made
    json.dumps(made)


def test_references_and_schemas_that_contain_themselves() -> None:
    tree = {
        "$defs": {
            "node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}
        },
        "$ref": "#/$defs/node",
    }
    for seed in "abcdefgh":
        assert set(instance(tree, seed)) == {"next"}
    for schema, said in (
        ({"$ref": "#/$defs/absent"}, "does not lead to a schema"),
        ({"$ref": "https://example.org/x"}, "does not lead to a schema"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "nested deeper"),
        ({"type": "string", "pattern": "^a$"}, "pattern is not supported"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no multiple of 1"),
        ({"type": "file"}, "unknown type 'file'"),
    ):
        with pytest.raises(SchemaError, match=said):
            instance(schema, "seed")
