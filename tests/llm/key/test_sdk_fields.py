"""What the types of the SDKs let stand inside a body: a new place for a mark, a credential or an object is noticed."""

from __future__ import annotations

import re

import pytest

from cachecore_llm.key.secret_fields import SECRET_FIELDS
from cachecore_llm.key.survey import OBJECT_FIELDS
from cachecore_llm.wire import ProtocolName
from tests.llm.key.sdk_fields import Field, fields_of
from tests.llm.key.test_table import TYPES

MARKED = {
    *("", "content", "definition", "output", "system", "tool_changes", "tool_references", "tools", "variables"),
}
"""Fields whose objects bear marks that are taken away; `test_a_mark_is_not_keyed` has an example of each."""

CREDENTIAL = re.compile(r"secret|token$|authoriz|passw|api_?key|credential|headers")
HIDDEN = SECRET_FIELDS | {"domain_secrets"}
KNOWN = {
    "fallback_credit_token",  # such a request has no key
    "token",  # a token of text in logprobs, and that of a fallback credit
}

PAIRING = {"call_id", "caller_id", "tool_call_id", "tool_id", "tool_use_id"}
WITHIN = {
    "approval_request_id",  # an item of the same body
    *("comparison_response_id", "continuation_id"),  # of requests that are never cached, or of no effect on content
    *("download_id", "tab_id"),  # of a browser that the caller runs
    *("user_id", "user_profile_id", "workspace_id"),  # persons, and the scope of the credential
}


@pytest.fixture(scope="module")
def fields() -> dict[ProtocolName, set[Field]]:
    found = {name: {field for kind in TYPES[name] for field in fields_of(kind)} for name in TYPES}
    assert len(found["openai.responses"]) > 500
    assert len(found["anthropic.messages"]) > 500
    return found


@pytest.mark.parametrize("protocol", list(TYPES))
def test_marks_stand_where_they_are_taken_away(fields: dict[ProtocolName, set[Field]], protocol: ProtocolName) -> None:
    bearers = {field.leads for field in fields[protocol] if field.name in ("cache_control", "prompt_cache_breakpoint")}
    assert bearers <= MARKED
    assert bearers or protocol == "openai.embeddings"


def test_fields_that_look_like_credentials_are_hidden(fields: dict[ProtocolName, set[Field]]) -> None:
    names = {field.name for known in fields.values() for field in known if CREDENTIAL.search(field.name)}
    assert names >= {"authorization", "headers", "domain_secrets", "authorization_token"}
    assert names - HIDDEN - KNOWN == set()


def test_ids_pair_calls_or_name_objects_of_the_provider(fields: dict[ProtocolName, set[Field]]) -> None:
    names = {field.name for known in fields.values() for field in known if re.search("_ids?$", field.name)}
    assert names >= {"file_id", "call_id"}
    assert names - PAIRING - OBJECT_FIELDS - WITHIN == set()
