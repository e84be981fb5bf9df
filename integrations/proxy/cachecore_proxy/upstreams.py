"""The providers of a gateway: for each family of protocols an order, in which one stands in for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Self

from cachecore_llm.errors import AllProvidersFailedError
from cachecore_llm.policy.admission import unusable
from cachecore_llm.upstream import Deliver, FallbackOrchestrator, Sent, Streamed
from cachecore_llm.wire import PROTOCOLS, JsonObject, UnreadableRequestError
from cachecore_proxy.activity import Activity, UpstreamState
from cachecore_proxy.judged_keys import JudgedKeys
from cachecore_proxy.network import Network
from cachecore_proxy.provider import HttpProvider
from cachecore_proxy.settings import FAMILIES, Family, Settings
from cachecore_proxy.trips import GatewayCall, Trip


class Upstreams:
    """Sends calls to the providers of `settings`. Belongs to one event loop."""

    def __init__(self, settings: Settings, keys: JudgedKeys, activity: Activity) -> None:
        self._transports = {upstream.name: Network(upstream.base) for upstream in settings.upstreams}
        self._providers: dict[Family, tuple[HttpProvider, ...]] = {}
        self._orders: dict[Family, FallbackOrchestrator] = {}
        for family in FAMILIES:
            members = tuple(
                HttpProvider(
                    upstream,
                    family,
                    forwards=place == 0 if upstream.forward_keys is None else upstream.forward_keys,
                    transport=self._transports[upstream.name],
                    keys=keys,
                    activity=activity,
                    max_answer_bytes=settings.bounds.max_answer_bytes,
                )
                for place, upstream in enumerate(settings.of_family(family))
            )
            self._providers[family] = members
            if members:
                self._orders[family] = _order(members)
        activity.upstreams_from(self.states)

    def first(self, family: Family) -> HttpProvider | None:
        """Return the provider that calls of `family` are written for."""
        members = self._providers[family]
        return members[0] if members else None

    async def send(self, call: GatewayCall, family: Family, deliver: Deliver | None = None) -> Sent:
        """Return the first answer that is of use; `deliver` as in `Sent`. Raises the first provider's own error."""
        try:
            sent = await self._orders[family].send(call, unusable=_judge(call) if self._several(family) else None)
        except AllProvidersFailedError as error:
            raise _first(error) from error
        trip = call.trip
        own = trip.answer is sent.body
        if not own:  # of an earlier provider, because the later ones' were of no use either
            trip.body = None
        return Sent(
            body=sent.body,
            provider=sent.provider,
            fallback=sent.fallback,
            latency=sent.latency,
            headers=trip.kept if own else {},
            facts=trip.facts if own else None,
            deliver=deliver if own else None,
        )

    def stream(self, call: GatewayCall, family: Family) -> EventSource:
        """Return the events of an answer. Until its first content, another provider may take its place."""
        return EventSource(self._orders[family].stream(call), call.trip)

    def states(self) -> Iterator[UpstreamState]:
        """Yield the providers as they are now."""
        for family, order in self._orders.items():
            for member, state in zip(self._providers[family], order.states(), strict=True):
                yield UpstreamState(
                    member.name, family, member.settings.url, state.is_open, state.retry_in, _told(state.last_error)
                )

    def _several(self, family: Family) -> bool:
        return len(self._providers[family]) > 1

    async def aclose(self) -> None:
        """Close all connections."""
        for transport in self._transports.values():
            await transport.aclose()


class EventSource:
    """The events of a stream, as the flow reads them: it also names the provider that answers, and its headers."""

    def __init__(self, streamed: Streamed, trip: Trip) -> None:
        self._streamed, self._trip = streamed, trip

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JsonObject:
        try:
            return await self._streamed.__anext__()
        except AllProvidersFailedError as error:
            raise _first(error) from error

    @property
    def provider(self) -> str | None:
        """Return the name of the provider that answers."""
        return self._streamed.provider

    @property
    def fallback(self) -> bool:
        """Return whether that is another one than the first."""
        return self._streamed.fallback

    @property
    def latency(self) -> float | None:
        """Return the seconds to its first content."""
        return self._streamed.latency

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers that are stored with the answer."""
        return self._trip.kept

    async def aclose(self) -> None:
        """Stop, and close the provider's stream."""
        await self._streamed.aclose()


def _order(members: tuple[HttpProvider, ...]) -> FallbackOrchestrator:
    settings = [member.settings for member in members]
    return FallbackOrchestrator(
        members,
        timeouts={one.name: one.timeout for one in settings},
        first_content_timeout={one.name: one.first_content_timeout for one in settings},
        idle_timeout={one.name: one.idle_timeout for one in settings},
        models={one.name: one.models for one in settings if one.models},
    )


def _first(error: AllProvidersFailedError) -> Exception:
    """Return the error that tells the caller most: that of the first provider that was asked and refused no one."""
    return error.failures[0].error


def _told(error: Exception | None) -> str:
    """Return the class of an error and its status, which hold no text of a request."""
    if error is None:
        return ""
    status = getattr(error, "status_code", None)
    return type(error).__name__ + (f" {status}" if isinstance(status, int) else "")


def _judge(call: GatewayCall) -> Callable[[JsonObject], str | None] | None:
    protocol = PROTOCOLS[call.protocol]
    try:
        facts = protocol.parse(call.body)
    except UnreadableRequestError:  # the provider's own error says more
        return None
    return lambda body: unusable(protocol.facts(body), facts)
