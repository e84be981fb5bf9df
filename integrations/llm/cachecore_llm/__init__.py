"""Cached LLM answers, with providers that stand in for each other and a cache that answers last."""

from typing import TYPE_CHECKING, Any

from cachecore_llm.config import CacheConfig, CacheMetrics
from cachecore_llm.errors import (
    AllProvidersFailedError,
    LLMError,
    ProviderFailure,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ReportedError,
    UnknownParameterError,
    UnsupportedRequestError,
    UnusableAnswerError,
)
from cachecore_llm.request import TRANSPORT_FIELDS, LLMRequest
from cachecore_llm.response import CacheStatus, LLMResponse, ToolCall, Usage
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.service import LLMService
from cachecore_llm.simulated import SimulatedProvider
from cachecore_llm.upstream import BreakerOptions, FallbackOrchestrator, Provider

if TYPE_CHECKING:
    from cachecore_llm.upstream.openai import OpenAIProvider

__all__ = [
    "TRANSPORT_FIELDS",
    "AllProvidersFailedError",
    "BreakerOptions",
    "CacheConfig",
    "CacheMetrics",
    "CacheStatus",
    "FallbackOrchestrator",
    "LLMError",
    "LLMRequest",
    "LLMResponse",
    "LLMService",
    "OpenAIProvider",
    "Provider",
    "ProviderFailure",
    "ProviderTimeoutError",
    "ProviderUnavailableError",
    "ReportedError",
    "ResponseCache",
    "SimulatedProvider",
    "ToolCall",
    "UnknownParameterError",
    "UnsupportedRequestError",
    "UnusableAnswerError",
    "Usage",
]


def __getattr__(name: str) -> Any:
    # Imported where it is used: the SDK costs more than everything else together, and is an extra.
    if name == "OpenAIProvider":
        from cachecore_llm.upstream.openai import OpenAIProvider

        return OpenAIProvider
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
