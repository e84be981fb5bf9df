"""Which requests are calls, what each is keyed by, and who asks."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import OptionsError
from cachecore_llm.http.answer_headers import age, cache_status, kept
from cachecore_llm.http.exchange import Exchange, address_of, exchange_of, is_readable
from cachecore_llm.http.scope import RotatingCredentialError, scope_of
from cachecore_llm.upstream.headers import shaping

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


def asked(method: str, url: str, sent: bytes) -> Exchange | None:
    """The call that a request is, if it can be read."""
    address = address_of(method, url)
    exchange = exchange_of(address, {}, sent) if address else None
    return exchange if exchange is not None and is_readable(exchange) else None


def body(content: Any = CHAT) -> bytes:
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("https://api.openai.com/v1/chat/completions", "openai.chat"),
        ("http://127.0.0.1:8000/chat/completions/", "openai.chat"),
        ("https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1", "openai.chat"),
        ("https://api.openai.com/v1/responses", "openai.responses"),
        ("https://x.openai.azure.com/openai/responses?api-version=preview", "openai.responses"),
        ("https://api.openai.com/v1/embeddings", "openai.embeddings"),
        ("https://api.anthropic.com/v1/messages", "anthropic.messages"),
        ("https://api.anthropic.com/v1/messages?beta=true", "anthropic.messages"),
        ("https://api.openai.com/v1/threads/t/messages", None),
        ("https://api.anthropic.com/v1/messages/batches", None),
        ("https://api.anthropic.com/v1/messages/count_tokens", None),
        ("https://api.openai.com/v1/responses/resp_1", None),
        ("https://api.openai.com/v1/responses/compact", None),
        ("https://api.openai.com/v1/chat/completions/c_1", None),
        ("https://api.openai.com/v1/models", None),
        ("https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke", None),
    ],
)
def test_calls_are_told_by_their_path(url: str, protocol: str | None) -> None:
    """A path that ends like a call's but is another's passes through."""
    content = CHAT if protocol == "openai.chat" else {"model": "m", "input": "Hi"}
    if protocol == "anthropic.messages":
        content = {**CHAT, "max_tokens": 5}
    exchange = asked("POST", url, body(content))
    assert (exchange and exchange.call.protocol) == protocol
    assert asked("GET", url, body(content)) is None


@pytest.mark.parametrize(
    "sent", [b"", b"{", b"[]", b"\xff", body({"messages": "none"}), body({"messages": [1]}), b'{"a":' * 200 + b"1"]
)
def test_what_cannot_be_read_passes_through(sent: bytes) -> None:
    """A body that is none of the protocol's is the provider's to judge."""
    assert asked("POST", "https://a/v1/chat/completions", sent) is None


def test_endpoint_holds_address_and_version_and_no_credential() -> None:
    """The order of parameters does not count, a standard port and a slash neither; a key is taken out."""
    first = address_of("POST", "https://a:443/v1/chat/completions/?b=2&api-version=1&key=s3cret")
    second = address_of("POST", "https://a/v1/chat/completions?api-version=1&b=2")
    assert first is not None
    assert second is not None
    assert first.endpoint == second.endpoint == "https://a/v1/chat/completions?api-version=1&b=2"
    assert first.credentials == (("key", "s3cret"),)
    other = address_of("POST", "https://[::1]:8443/v1/chat/completions?api-version=2")
    assert other is not None
    assert other.endpoint == "https://[::1]:8443/v1/chat/completions?api-version=2"


@given(st.dictionaries(st.sampled_from(["x-adapter", "anthropic-beta", "x-new", "anthropic-version"]), st.text()))
def test_unknown_headers_are_keyed(given_headers: dict[str, str]) -> None:
    """What the list does not name shapes the answer; what travels, traces or authorises does not."""
    carried = {
        **given_headers,
        **dict.fromkeys(("authorization", "x-api-key", "api-key", "cookie", "traceparent", "user-agent"), "x"),
        **dict.fromkeys(("x-stainless-lang", "x-stainless-retry-count", "accept", "content-length", "host"), "x"),
        **dict.fromkeys(("openai-organization", "idempotency-key", "cache-control", "x-datadog-trace-id"), "x"),
    }
    assert shaping(carried) == given_headers


def test_scope_is_the_value_of_the_credential_and_not_its_header() -> None:
    """Another key, organisation, project or workspace is another scope; another header of the same key is not."""
    first = scope_of({"authorization": "Bearer k-1"})
    assert first == scope_of({"x-api-key": "k-1"}) == scope_of({"authorization": "bearer  k-1"})
    assert first.credential is None
    others = [
        scope_of({"authorization": "Bearer k-2"}),
        scope_of({"authorization": "Bearer k-1", "openai-organization": "o"}),
        scope_of({"authorization": "Bearer k-1", "openai-project": "o"}),
        scope_of({"authorization": "Bearer k-1", "anthropic-workspace-id": "o"}),
        scope_of({}),
        scope_of({}, [("key", "k-1")]),
        scope_of({"authorization": "Bearer k-1"}, key=b"secret"),
    ]
    scopes = [one.scope for one in (first, *others)]
    assert len(set(scopes)) == 8
    assert "k-1" not in "".join(scopes)


def test_idempotency_key_is_no_credential() -> None:
    """Each call has a new one: an answer that is kept for it alone would never be found again."""
    about = {"authorization": "Bearer k"}
    for name in ("idempotency-key", "x-idempotency-key"):
        assert scope_of({**about, name: "call-1"}) == scope_of({**about, name: "call-2"}) == scope_of(about)


def test_scope_that_is_given() -> None:
    """All who give one name share it, and each keeps a digest of its own credential beside it."""
    first, second = ({"authorization": f"Bearer k-{n}"} for n in (1, 2))
    named = [scope_of(one, given="app") for one in (first, second)]
    assert [one.scope for one in named] == ["n:app", "n:app"]
    assert named[0].credential != named[1].credential
    assert scope_of({}, given="app").credential == ""
    assert scope_of(first, given=lambda headers: str(len(headers))).scope == "n:1"
    for wrong in ("", 5):
        with pytest.raises(OptionsError, match="scope must be text"):
            scope_of(first, given=wrong)  # type: ignore[arg-type]  # what is tested


def test_credential_that_is_renewed_is_refused_with_the_way_out() -> None:
    """Signatures and tokens with an end never hit; the error says what to give, and not the token."""

    def token(claims: dict[str, Any]) -> str:
        parts = (
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "x"}, claims)
        )
        return ".".join([*parts, "c2ln"])

    renewed = token({"exp": 1, "tid": "t"})
    for header, value in (
        ("authorization", f"Bearer {renewed}"),
        ("api-key", renewed),
        ("authorization", "AWS4-HMAC-SHA256 Credential=a/b, Signature=c"),
    ):
        with pytest.raises(RotatingCredentialError, match="scope='my-service'") as raised:
            scope_of({header: value})
        assert renewed not in str(raised.value)
        assert scope_of({header: value}, given="app").scope == "n:app"
    for lasting in (token({"iss": "x"}), "ey.not.one", "eyJ.a.b", "sk-proj-123", "a.b.c"):
        assert scope_of({"authorization": f"Bearer {lasting}"}).scope.startswith("c:")


def test_headers_of_an_answer() -> None:
    """What was true of one exchange only is not kept; `Cache-Status` is a structured field of RFC 9211."""
    sent = {"content-type": "application/json", "x-request-id": "r", "x-ratelimit-remaining-tokens": "1", "date": "now"}
    assert kept({**sent, "set-cookie": "a", "openai-organization": "o", "content-encoding": "gzip"}) == {
        "content-type": "application/json",
        "x-request-id": "r",
    }
    assert cache_status(hit=True, ttl=59.9, key="ab") == 'cachecore; hit; ttl=59; key="ab"'
    assert cache_status(hit=True, ttl=-0.5) == "cachecore; hit; ttl=-1"
    assert cache_status(forward="miss", collapsed=True) == "cachecore; fwd=miss; collapsed"
    assert cache_status(forward="stale", forward_status=503, ttl=-3) == "cachecore; fwd=stale; fwd-status=503; ttl=-3"
    assert cache_status(forward="miss", stored=True, detail="similar") == "cachecore; fwd=miss; stored; detail=similar"
    assert [age(0.9), age(61.2), age(-1)] == ["0", "61", "0"]
