"""No value of one caller reaches another, and no credential in a body reaches anything that is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore_llm.key import Bypass, Digester, Keyed, RefusedFieldError, Verdict, key_of
from cachecore_llm.key.fields import TABLE
from cachecore_llm.wire import OPENAI_CHAT, OPENAI_RESPONSES, PROTOCOLS, Call, JsonObject, ProtocolName, WireProtocol
from tests.llm.key.asking import ask, keyed
from tests.llm.wire.strategies import chat_bodies, response_bodies, texts

BODIES: dict[ProtocolName, JsonObject] = {
    "openai.chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "openai.responses": {"model": "m", "input": "hi"},
    "openai.embeddings": {"model": "m", "input": "hi"},
    "anthropic.messages": {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]},
}

# --- echoes


def unkeyed(protocol: ProtocolName) -> list[str]:
    return [row.name for row in TABLE[protocol] if row.verdict is Verdict.NOT_KEYED and row.name != "stream"]


def personal(protocol: ProtocolName, caller: str) -> st.SearchStrategy[JsonObject]:
    """Return unkeyed fields of a request, each with a value that begins with the name of the caller."""
    named = texts.map(lambda text: f"{caller} {text}")
    labels = st.dictionaries(named, named, min_size=1, max_size=2)
    objects = ("metadata", "stream_options", "prompt_cache_options", "cache_control", "prompt_cache_breakpoint")
    fields: dict[str, Any] = {}
    for name in unkeyed(protocol):
        outer, dot, _ = name.partition(".")
        options = st.fixed_dictionaries({}, optional={"mode": named, "ttl": named})
        fields[outer] = options if dot else labels if outer in objects else named
    return st.fixed_dictionaries({}, optional=fields)


ECHOING: list[tuple[WireProtocol, st.SearchStrategy[JsonObject]]] = [
    (OPENAI_CHAT, chat_bodies()),
    (OPENAI_RESPONSES, response_bodies()),
]


def answered(protocol: WireProtocol, body: JsonObject, request: JsonObject) -> JsonObject:
    """Return an answer as a provider sends it to this caller: it repeats what it can."""
    nothing: JsonObject = {"metadata": {} if protocol is OPENAI_RESPONSES else None}
    repeated = ["metadata"]
    if protocol is OPENAI_RESPONSES:
        repeated += ["user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"]
    return {**body, **{field: request.get(field, nothing.get(field)) for field in repeated}}


@pytest.mark.parametrize(("protocol", "answers"), ECHOING, ids=lambda one: getattr(one, "name", ""))
@given(data=st.data())
def test_nothing_unkeyed_reaches_another_caller(
    protocol: WireProtocol, answers: st.SearchStrategy[JsonObject], data: st.DataObject
) -> None:
    """Two callers share a key, and each gets the answer that the provider would have sent to it, whole or streamed."""
    one, two = (
        {**BODIES[protocol.name], **data.draw(personal(protocol.name, caller))} for caller in ("caller-A", "caller-B")
    )
    assert keyed(protocol.name, one) == keyed(protocol.name, two)
    assert b"caller-" not in keyed(protocol.name, one)
    body = data.draw(answers)
    stored = protocol.neutral(answered(protocol, body, one))
    assert "caller-A" not in json.dumps(stored)
    facts = protocol.parse(two)
    assert protocol.shown_to(stored, facts) == answered(protocol, body, two)
    sent = b"".join(protocol.frame(event) for event in shown(protocol, stored, two))
    assert b"caller-A" not in sent


def shown(protocol: WireProtocol, stored: JsonObject, request: JsonObject) -> list[JsonObject]:
    facts = protocol.parse({**request, "stream": True})
    events = (protocol.shown_to(protocol.neutral(event), facts) for event in protocol.events_of(stored))
    return [event for event in events if event is not None]


@pytest.mark.parametrize("protocol", list(BODIES))
@given(data=st.data())
def test_unkeyed_fields_make_no_difference(protocol: ProtocolName, data: st.DataObject) -> None:
    one, two = ({**BODIES[protocol], **data.draw(personal(protocol, caller))} for caller in ("caller-A", "caller-B"))
    if protocol != "openai.embeddings":  # which has no streams
        two["stream"] = data.draw(st.booleans())
    assert keyed(protocol, one) == keyed(protocol, two) == keyed(protocol, BODIES[protocol])


# --- credentials

secrets = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=12, max_size=30).map(lambda text: f"sk-{text}")


def mcp(secret: str) -> list[JsonObject]:
    """Return tools that hold a credential, each in another place."""
    policy = {"type": "allowlist", "domain_secrets": [{"domain": "d", "name": "n", "value": secret}]}
    place = {"type": "auto", "network_policy": policy}
    return [
        {"type": "mcp", "server_label": "a", "authorization": secret},
        {"type": "mcp", "server_label": "a", "headers": {"X-Key": secret}},
        {"type": "mcp", "server_label": "a", "server_url": f"https://host/{secret}/mcp"},
        {"type": "shell", "environment": place},
        {"type": "code_interpreter", "container": place},
    ]


def bodies(secret: str) -> list[tuple[ProtocolName, JsonObject]]:
    found: list[tuple[ProtocolName, JsonObject]] = []
    for tool in mcp(secret):
        plain = BODIES["openai.responses"]
        found.append(("openai.responses", {**plain, "tools": [tool]}))
        found += [
            ("openai.responses", {**plain, "input": [{"type": kind, "call_id": "c", "tools": [tool]}]})
            for kind in ("additional_tools", "tool_search_output")
        ]
    servers = (
        {"name": "mcp", "url": "u", "authorization_token": secret},
        {"name": "mcp", "url": f"https://h/{secret}"},
    )
    found += [("anthropic.messages", {**BODIES["anthropic.messages"], "mcp_servers": [server]}) for server in servers]
    return found


@given(secrets, secrets)
def test_a_credential_is_keyed_and_never_kept(secret: str, other: str) -> None:
    for (protocol, body), (_, changed) in zip(bodies(secret), bodies(other), strict=True):
        found = ask(protocol, body)
        assert isinstance(found, Keyed)
        assert secret not in repr(found)
        assert secret.encode() not in keyed(protocol, body)
        assert (keyed(protocol, body) == keyed(protocol, changed)) is (secret == other)


@given(secrets)
def test_a_reason_and_an_error_hold_no_credential(secret: str) -> None:
    for protocol, body in bodies(secret):
        refusal = key_of(Call(protocol=protocol, endpoint="e", body=body), PROTOCOLS[protocol].parse(body))
        assert isinstance(refusal, Bypass)
        assert secret not in repr(refusal)
        with pytest.raises(RefusedFieldError) as raised:
            ask(protocol, {**body, "extra_headers": {"Authorization": secret}})
        assert secret not in str(raised.value) + repr(raised.value)


@given(secrets)
def test_the_key_of_digests_decides_what_stands_for_a_credential(secret: str) -> None:
    body = {**BODIES["openai.responses"], "tools": mcp(secret)}
    call, facts = Call(protocol="openai.responses", endpoint="e", body=body), OPENAI_RESPONSES.parse(body)
    one, two = (
        key_of(call, facts, allowed_tools={"mcp", "shell", "code_interpreter"}, digester=Digester(key))
        for key in (b"one", b"two")
    )
    assert one != two


@given(secrets)
def test_an_answer_is_stored_without_the_credentials_it_repeats(secret: str) -> None:
    tools = mcp(secret)
    item = {"type": "tool_search_output", "call_id": "c", "tools": tools}
    whole = {"object": "response", "tools": tools, "output": [item, {"type": "message"}]}
    before = json.dumps(whole)
    for value in (whole, {"type": "response.completed", "response": whole}, {"type": "x", "item": item}):
        assert secret not in json.dumps(OPENAI_RESPONSES.neutral(value))
    assert json.dumps(whole) == before


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://host/sk-1/mcp", "https://host"),
        ("https://host:8443?key=sk-1", "https://host:8443"),
        ("https://user:sk-1@host#sk-1", "https://host"),
        ("host/sk-1", "host"),
        ("https://host", "https://host"),
        ({"url": "sk-1"}, None),
        (None, None),
    ],
)
def test_of_the_address_of_a_server_its_host_is_stored(address: Any, kept: str | None) -> None:
    """As OpenAI itself repeats it; compatible servers repeat all of it."""
    whole = {"object": "response", "tools": [{"type": "mcp", "server_label": "a", "server_url": address}]}
    stored = OPENAI_RESPONSES.neutral(whole)
    assert stored["tools"] == [{"type": "mcp", "server_label": "a", "server_url": kept}]
    assert OPENAI_RESPONSES.neutral(stored) == stored
