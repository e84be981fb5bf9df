"""A provider in its place among others: its breaker, its deadlines, and the calls as it takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cachecore_llm.errors import ProviderFailure, ProviderTimeoutError, ProviderUnavailableError
from cachecore_llm.upstream.breaker import Breaker, Pass
from cachecore_llm.upstream.faults import fault_of, shows_life, timed_out
from cachecore_llm.upstream.models import Models
from cachecore_llm.upstream.plain import PlainProvider
from cachecore_llm.upstream.provider import WireProvider, at_endpoint
from cachecore_llm.wire import Call, JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the providers of an orchestrator."""

    provider: WireProvider
    position: int
    """0 for the provider that calls are written for."""
    timeout: float
    """Seconds for a whole answer."""
    first_content_timeout: float
    """Seconds until a stream has content."""
    idle_timeout: float
    """Seconds between two events of a stream after that."""
    answers: Breaker
    """Of everything that a model writes."""
    embeddings: Breaker
    """Apart, because other machines make them: they may answer while a model hangs."""
    models: Models

    @property
    def name(self) -> str:
        """Return the provider's name."""
        return self.provider.name

    @property
    def fallback(self) -> bool:
        """Whether its answers are another provider's than the one that is wanted."""
        return self.position > 0

    def breaker(self, call: Call) -> Breaker:
        """Return the breaker that decides on `call`."""
        return self.embeddings if call.protocol == "openai.embeddings" else self.answers

    def call(self, call: Call) -> Call:
        """Return `call` as it is sent to this provider: with its own model and endpoint."""
        body = self._body(call)
        if not self.fallback:
            return call if body is call.body else replace(call, body=body)
        first = self.models.first
        # Headers of the first provider's client are no part of the caller's request.
        headers = {name: value for name, value in call.headers.items() if first.shaping.get(name) != value}
        if isinstance(self.provider, PlainProvider):  # it is not reached by an address
            return replace(call, body=body, headers=headers)
        endpoint = at_endpoint(call.endpoint, first.endpoint, self.provider.endpoint)
        return replace(call, body=body, headers=headers, endpoint=endpoint)

    def _body(self, call: Call) -> JsonObject:
        plain = call.protocol == "plain"
        holder: JsonObject = (call.body.get("params") or {}) if plain else call.body
        asked = holder.get("model")
        model = self.models.of(self.provider, asked if isinstance(asked, str) else None)
        if model == asked:
            return call.body
        changed = {key: value for key, value in holder.items() if key != "model"}
        if model is not None:
            changed["model"] = model
        return {**call.body, "params": changed} if plain else changed

    def unavailable(self, breaker: Breaker, now: float) -> ProviderFailure:
        """Return the failure that stands for a provider with an open breaker."""
        error = ProviderUnavailableError(self.name, breaker.retry_in(now))
        error.__cause__ = breaker.last_error
        return ProviderFailure(self.name, error)

    def failed(self, call: Call, admitted: Pass, error: Exception, now: float) -> ProviderFailure:
        """Count `error` and return it as a failure. Raises it instead if it is the caller's own fault.

        It is the caller's only at the first provider: another one is sent a call that was written for the first. The
        end of a timeout that one call chose for itself is no proof that the provider hangs: it counts as any failure.
        """
        fault, breaker = fault_of(error), self.breaker(call)
        if fault == "passing":
            hasty = own_timeout(call) is not None and not isinstance(error, ProviderTimeoutError)
            breaker.failed(admitted, error, now, at_once=timed_out(error) and not hasty)
        elif shows_life(error):
            breaker.answered(admitted)
        else:
            breaker.left(admitted)
        if fault == "caller" and not self.fallback:
            raise error
        return ProviderFailure(self.name, error)


def own_timeout(call: Call) -> object:
    """Return the timeout that a call sets for itself; None if it sets none."""
    params = call.body.get("params") if call.protocol == "plain" else call.body
    return params.get("timeout") if isinstance(params, Mapping) else None
