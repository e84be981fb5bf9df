"""Requests to models, for `cachecore explain`: bodies of the protocols, requests of the service, whole calls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from cachecore import Cache
from cachecore.cli.readers import Keyed
from cachecore.contract.errors import OptionsError
from cachecore.contract.protocols import CacheBackend
from cachecore_llm.config import CacheConfig
from cachecore_llm.operating.keyed import call_of, keyed
from cachecore_llm.replay.shapes import UnreadableRecordError, recognised, request_in
from cachecore_llm.request import LLMRequest
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.upstream.plain_to_chat import messages_of
from cachecore_llm.wire import PROTOCOLS, Call

_UNTOLD: Final = ("endpoint", "scope", "credential", "headers.")
"""Parts of a key that a body does not tell."""
_OF_A_REQUEST: Final = ("context", "params", "tenant", "label")


class LLMRequests:
    """Reads requests to models."""

    prefix = "llm:response"

    def keyed(self, request: Any) -> Keyed | None:
        """Return how `request` is keyed; None if it is no request to a model. Raises OptionsError."""
        found = _request_of(request)
        if found is None:
            return None
        kind = found.protocol if isinstance(found, Call) else "plain"
        value = keyed(found)
        return Keyed(kind, bypass=value) if isinstance(value, str) else Keyed(kind, value)

    def path(self, path: str) -> str:
        """Return the name of a field of the body without the words that only place it."""
        return path.removeprefix("body.").removeprefix("params.")

    async def in_store(
        self, request: Any, backend: CacheBackend, prefix: str, *, shared: bool = False
    ) -> Mapping[str, Any]:
        """Return why `request` is answered from the store, or not; see `RequestReader`."""
        found = _request_of(request)
        if found is None:
            raise OptionsError("this is no request to a model")
        async with AsyncExitStack() as end:
            if shared:
                cache = ResponseCache(await end.enter_async_context(Cache[Any](backend, prefix=prefix, ttl=None)))
            else:
                cache = await end.enter_async_context(ResponseCache(backend, CacheConfig(prefix=prefix)))
            report = await cache.flow.explain(call_of(found))
            if isinstance(found, LLMRequest) and report.status == "miss" and not report.comparable:
                report = await cache.flow.explain(_as_chat(found))  # as a service sends it whose provider speaks chat
        told: dict[str, Any] = {
            "status": report.status,
            "reason": report.reason,
            "nearest": None,
            "looked_at": report.looked_at,
            "comparable": report.comparable,
            "unknown": [],
        }
        if report.nearest is not None:
            differences = [dataclasses.asdict(one) for one in report.nearest.differences]
            told["unknown"] = [one["path"] for one in differences if _untold(one)]
            told["nearest"] = {
                "key": report.nearest.key,
                "differences": [one for one in differences if not _untold(one)],
            }
        return told


def _as_chat(request: LLMRequest) -> Call:
    messages = messages_of(request.system_prompt, request.user_message, request.context)
    body = {**request.params, "messages": messages}
    return Call(protocol="openai.chat", endpoint="", body=body, tenant=request.tenant, prompt=request.label)


def _untold(difference: Mapping[str, Any]) -> bool:
    return difference["kind"] == "only stored" and str(difference["path"]).startswith(_UNTOLD)


def _request_of(request: Any) -> LLMRequest | Call | None:
    """Return the request in JSON; None if it is none. Raises OptionsError."""
    if not isinstance(request, Mapping):
        return None
    if request.get("protocol") in PROTOCOLS and isinstance(request.get("body"), dict):
        known = {field.name for field in dataclasses.fields(Call)}
        return Call(**{"endpoint": "", **{name: value for name, value in request.items() if name in known}})
    form = recognised(request)
    if form == "own":
        more = {name: request[name] for name in _OF_A_REQUEST if request.get(name) is not None}
        return LLMRequest(request["system_prompt"], request["user_message"], **more)
    if form is None:
        return None
    try:
        call, _ = request_in(request, form)
    except UnreadableRecordError:
        return None  # fields that look like it, of another kind of request
    return dataclasses.replace(call, endpoint="")


reader = LLMRequests()
"""The entry point."""
