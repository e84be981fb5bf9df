"""From an application's request to the call of one provider: in chat where it speaks that, else plain.

Whatever is given shapes the call, or is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from cachecore.contract.errors import OptionsError
from cachecore_llm.key import shapes_answer
from cachecore_llm.key.plain import as_plain
from cachecore_llm.policy.prompts import Prompt
from cachecore_llm.request import LLMRequest
from cachecore_llm.schema_forms import response_format
from cachecore_llm.upstream import PlainProvider, WireProvider
from cachecore_llm.upstream.parameters import check_parameters
from cachecore_llm.upstream.plain_to_chat import messages_of
from cachecore_llm.upstream.provider import with_query
from cachecore_llm.wire import Call, JsonObject, ProtocolName

_CONTROLS: Final = frozenset(
    {"ttl", "no_store", "no_cache", "max_age", "only_if_cached", "stale_if_error", "use_cache", "cache_ttl"}
)
"""Words that mean the cache. They are never sent to a provider."""

_BY_POSITION: Final = ("messages", "system_prompt", "user_message", "context")
_EXTRAS: Final = ("extra_body", "extra_headers", "extra_query")
_NOTHING: Final[Mapping[str, str]] = {}


class CallWriter:
    """Writes calls for `provider`, or for none: then plain ones, that no provider's settings are part of."""

    def __init__(self, provider: WireProvider | None = None) -> None:
        self._provider = provider
        self.is_plain = provider is None or isinstance(provider, PlainProvider) or "openai.chat" not in provider.speaks
        self._identity: Mapping[str, Any] = provider.identity if isinstance(provider, PlainProvider) else {}
        self._endpoint = "" if provider is None else provider.endpoint
        self._scope = None if provider is None else provider.scope
        self._credential: str | None = getattr(provider, "credential", None)
        self._headers = _NOTHING if provider is None else dict(provider.shaping)
        self._model = None if provider is None else provider.model
        self._checked: set[tuple[ProtocolName, tuple[str, ...]]] = set()

    def keyed(self, request: LLMRequest) -> Call:
        """Return the call that `request` is keyed by. Raises OptionsError and UnknownParameterError."""
        params = request.params
        if params:
            self._check("plain" if self.is_plain else "openai.chat", params)
            if "messages" in params:
                raise OptionsError("messages= beside a system prompt and a question: use chat(messages=…)")
        if self.is_plain:
            return self._plain(request, {**self._identity, **params} if self._identity else params)
        messages = messages_of(request.system_prompt, as_plain(request.user_message), as_plain(request.context))
        return self._chat(messages, params, request.tenant, request.label)

    def sent(self, request: LLMRequest, keyed: Call) -> Call:
        """Return the call that is sent: without the provider's own settings, with the fields for transport alone."""
        if self.is_plain:
            return self._plain(request, request.params) if self._identity else keyed
        return with_transport(keyed, request.params)

    def chat(self, messages: Any, params: Mapping[str, Any], tenant: str | None, label: str | None) -> Call:
        """Return a chat call. Raises OptionsError and UnknownParameterError."""
        self._check("openai.chat", params)
        if not isinstance(messages, list | tuple) or not messages:
            given = "an empty one" if isinstance(messages, list | tuple) else type(messages).__name__
            raise OptionsError(
                f"messages must be a list of messages, at least one, not {given}: "
                'chat([{"role": "user", "content": "…"}])'
            )
        turns, prompt = with_text(messages)
        if prompt is not None:
            label = _name_of(prompt, label)
        return self._chat(as_plain(turns), params, tenant, label)

    def embeddings(self, texts: Any, params: Mapping[str, Any], tenant: str | None, label: str | None) -> Call:
        """Return an embeddings call. Raises OptionsError and UnknownParameterError."""
        self._check("openai.embeddings", params)
        return self._call("openai.embeddings", {"input": texts, "encoding_format": "base64"}, params, tenant, label)

    def _plain(self, request: LLMRequest, params: Mapping[str, Any]) -> Call:
        return Call(
            protocol="plain",
            endpoint=self._endpoint,
            body={
                "system_prompt": request.system_prompt,
                "user_message": request.user_message,
                "context": request.context,
                "params": params,
            },
            tenant=request.tenant,
            prompt=request.label,
        )

    def _chat(self, messages: Any, params: Mapping[str, Any], tenant: str | None, label: str | None) -> Call:
        call = self._call("openai.chat", {"messages": messages}, params, tenant, label)
        _check_tools(call.body.get("tools"))
        form = call.body.get("response_format")
        if isinstance(form, type):
            call.body["response_format"] = response_format(form)
        return call

    def _call(
        self,
        protocol: ProtocolName,
        body: JsonObject,
        params: Mapping[str, Any],
        tenant: str | None,
        label: str | None,
    ) -> Call:
        endpoint, headers = self._endpoint, self._headers
        if self._model is not None and params.get("model") is None:
            body["model"] = self._model
        for name, value in params.items():
            if name not in _EXTRAS and (value is not None or name != "model"):
                body[name] = value if type(value) in _ATOMS else as_plain(value)
        if not params.keys().isdisjoint(_EXTRAS):
            for name in _EXTRAS:
                _check_mapping(name, params.get(name))
            body |= as_plain(dict(params.get("extra_body") or {}))
            given = {name.lower(): str(value) for name, value in (params.get("extra_headers") or {}).items()}
            headers = {**headers, **{name: value for name, value in given.items() if shapes_answer(name)}}
            if params.get("extra_query"):
                endpoint = with_query(endpoint, params["extra_query"])
        return Call(
            protocol=protocol,
            endpoint=endpoint,
            body=body,
            headers=headers,
            scope=self._scope,
            credential=self._credential,
            tenant=tenant,
            prompt=label,
        )

    def _check(self, protocol: ProtocolName, params: Mapping[str, Any]) -> None:
        names = (protocol, tuple(params))
        if names in self._checked:
            return
        for name in params:
            if name in _CONTROLS:
                raise OptionsError(f"{name} is no parameter of the request: for the cache, give cache=Controls(…)")
        check_parameters(protocol, params)
        if len(self._checked) < _MOST_CHECKED:
            self._checked.add(names)


_ATOMS: Final = frozenset({str, int, float, bool, type(None)})
_MOST_CHECKED: Final = 1024


def with_transport(call: Call, params: Mapping[str, Any]) -> Call:
    """Return `call` with those of the extra headers that are sent and not keyed."""
    given = params.get("extra_headers") or {}
    more = {name.lower(): str(value) for name, value in given.items() if not shapes_answer(name)}
    return replace(call, headers={**call.headers, **more}) if more else call


def with_text(messages: Sequence[Any]) -> tuple[list[Any], Prompt | None]:
    """Return messages with the text of a `Prompt` in place of the prompt, and the prompt, if they begin with one."""
    turns = list(messages)
    first = turns[0] if turns else None
    if not isinstance(first, dict) or not isinstance(prompt := first.get("content"), Prompt):
        return turns, None
    return [{**first, "content": prompt.text}, *turns[1:]], prompt


def request_of(
    system_prompt: str | Prompt,
    user_message: Any,
    context: Any,
    params: dict[str, Any],
    tenant: str | None,
    label: str | None,
) -> LLMRequest:
    """Return the request of a face's arguments. Raises OptionsError."""
    if isinstance(system_prompt, Prompt):
        name = _name_of(system_prompt, label)
        return LLMRequest(system_prompt.text, user_message, context, params, tenant, name)
    return LLMRequest(system_prompt, user_message, context, params, tenant, label)


def call_of(
    writer: CallWriter, asked: Sequence[Any], params: dict[str, Any], tenant: str | None, label: str | None
) -> Call:
    """Return the keyed call of a face's arguments: those of `generate` or `chat`, or `asked` is a request or a call.

    Raises OptionsError and UnknownParameterError.
    """
    named = [params[name] for name in _BY_POSITION if name in params]
    params = {name: value for name, value in params.items() if name not in _BY_POSITION}
    match (*asked, *named):
        case [Call() | LLMRequest() as given] if params or tenant is not None or label is not None:
            raise OptionsError(f"a {type(given).__name__} holds all of its request: give it alone")
        case [Call() as call]:
            return call
        case [LLMRequest() as request]:
            return writer.keyed(request)
        case [list() | tuple() as messages]:
            return writer.chat(messages, params, tenant, label)
        case [str() | Prompt() as system_prompt, user_message, *context] if len(context) < 2:
            return writer.keyed(
                request_of(system_prompt, user_message, context[0] if context else None, params, tenant, label)
            )
    kinds = ", ".join(type(one).__name__ for one in (*asked, *named))
    raise OptionsError(
        f"give a system prompt and a question, or a list of messages, an LLMRequest or a Call, not ({kinds})"
    )


def _name_of(prompt: Prompt, label: str | None) -> str:
    if label is not None:
        raise OptionsError(f"label={label!r} beside Prompt({prompt.name!r}, …), which is a label itself")
    return prompt.name


def _check_mapping(name: str, given: object) -> None:
    # Not its value: headers and bodies may hold a credential.
    if given is not None and not isinstance(given, Mapping):
        raise OptionsError(f"{name} must be a dict, not {type(given).__name__}: {name}={{'…': …}}")


def _check_tools(tools: object) -> None:
    for place, tool in enumerate(tools if isinstance(tools, list | tuple) else [tools]):
        if callable(tool):
            name = getattr(tool, "__name__", type(tool).__name__)
            raise OptionsError(
                f"tools[{place}] is {name}, a class or a function, not the JSON that describes a tool: "
                f"openai.pydantic_function_tool(Model) makes it from a pydantic class"
            )


def streaming(call: Call) -> Call:
    """Return `call` as one that wants events, usage among them."""
    if call.protocol != "openai.chat":
        return call
    options = {**(call.body.get("stream_options") or {}), "include_usage": True}
    return replace(call, body={**call.body, "stream": True, "stream_options": options})
