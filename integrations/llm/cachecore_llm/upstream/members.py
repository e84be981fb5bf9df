"""A provider in its place among others: its breaker, its deadlines, and the calls as it takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cachecore_llm.errors import ProviderFailure, ProviderUnavailableError
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
    breaker: Breaker
    models: Models

    @property
    def name(self) -> str:
        """Return the provider's name."""
        return self.provider.name

    @property
    def fallback(self) -> bool:
        """Whether its answers are another provider's than the one that is wanted."""
        return self.position > 0

    def call(self, call: Call) -> Call:
        """Return `call` as it is sent to this provider: with its own model and endpoint."""
        body = self._body(call)
        first = self.models.first
        if not self.fallback or isinstance(self.provider, PlainProvider):  # the latter is not reached by an address
            return call if body is call.body else replace(call, body=body)
        return replace(call, body=body, endpoint=at_endpoint(call.endpoint, first.endpoint, self.provider.endpoint))

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

    def unavailable(self, now: float) -> ProviderFailure:
        """Return the failure of a provider whose breaker is open."""
        error = ProviderUnavailableError(self.name, self.breaker.retry_in(now))
        error.__cause__ = self.breaker.last_error
        return ProviderFailure(self.name, error)

    def failed(self, admitted: Pass, error: Exception, now: float) -> ProviderFailure:
        """Count `error` and return it as a failure. Raises it instead if it is the caller's own fault.

        It is the caller's only at the first provider: another one is sent what was written for the first.
        """
        fault = fault_of(error)
        if fault == "passing":
            self.breaker.failed(admitted, error, now, at_once=timed_out(error))
        elif shows_life(error):
            self.breaker.answered(admitted)
        else:
            self.breaker.left(admitted)
        if fault == "caller" and not self.fallback:
            raise error
        return ProviderFailure(self.name, error)
