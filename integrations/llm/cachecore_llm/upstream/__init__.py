"""Providers of answers, and how several stand in for each other. No SDK is imported here."""

from cachecore_llm.upstream.breaker import Breaker, BreakerOptions
from cachecore_llm.upstream.faults import Fault, fault_of
from cachecore_llm.upstream.orchestrator import Deliver, FallbackOrchestrator, Sent
from cachecore_llm.upstream.plain import PlainProvider, wired
from cachecore_llm.upstream.provider import Provider, SupportsIdentity, WireProvider
from cachecore_llm.upstream.streamed import Streamed, Unusable

__all__ = [
    "Breaker",
    "BreakerOptions",
    "Deliver",
    "FallbackOrchestrator",
    "Fault",
    "PlainProvider",
    "Provider",
    "Sent",
    "Streamed",
    "SupportsIdentity",
    "Unusable",
    "WireProvider",
    "fault_of",
    "wired",
]
