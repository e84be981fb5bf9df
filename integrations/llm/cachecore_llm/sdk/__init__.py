"""HTTP clients that answer the requests of the OpenAI and Anthropic SDKs from a cache."""

from cachecore_llm.http.scope import RotatingCredentialError
from cachecore_llm.sdk.clients import async_cached_client, async_cached_transport, cached_client, cached_transport

__all__ = [
    "RotatingCredentialError",
    "async_cached_client",
    "async_cached_transport",
    "cached_client",
    "cached_transport",
]
