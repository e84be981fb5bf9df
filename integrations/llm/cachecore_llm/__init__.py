"""Cached LLM answers, with providers that stand in for each other and a cache that answers last."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cachecore_llm.config import CacheConfig, CacheMetrics
from cachecore_llm.embeddings import Embeddings
from cachecore_llm.errors import (
    AllProvidersFailedError,
    LLMError,
    NotCachedError,
    ProviderFailure,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ReportedError,
    UnknownParameterError,
    UnsupportedRequestError,
    UnusableAnswerError,
)
from cachecore_llm.llm_stream import LLMStream
from cachecore_llm.policy.admission import AdmissionRules
from cachecore_llm.policy.controls import Controls
from cachecore_llm.request import TRANSPORT_FIELDS, LLMRequest
from cachecore_llm.response import CacheStatus, Choice, LLMResponse, ToolCall, Usage
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.service import LLMService
from cachecore_llm.simulated import SimulatedProvider
from cachecore_llm.sync_service import SyncLLMService, SyncLLMStream
from cachecore_llm.upstream import BreakerOptions, FallbackOrchestrator, Provider

if TYPE_CHECKING:
    from cachecore_llm.upstream.anthropic import AnthropicProvider
    from cachecore_llm.upstream.openai import OpenAIProvider

__all__ = [
    "TRANSPORT_FIELDS",
    "AdmissionRules",
    "AllProvidersFailedError",
    "AnthropicProvider",
    "BreakerOptions",
    "CacheConfig",
    "CacheMetrics",
    "CacheStatus",
    "Choice",
    "Controls",
    "Embeddings",
    "FallbackOrchestrator",
    "LLMError",
    "LLMRequest",
    "LLMResponse",
    "LLMService",
    "LLMStream",
    "NotCachedError",
    "OpenAIProvider",
    "Provider",
    "ProviderFailure",
    "ProviderTimeoutError",
    "ProviderUnavailableError",
    "ReportedError",
    "ResponseCache",
    "SimulatedProvider",
    "SyncLLMService",
    "SyncLLMStream",
    "ToolCall",
    "UnknownParameterError",
    "UnsupportedRequestError",
    "UnusableAnswerError",
    "Usage",
]


_FROM_SDKS = {"AnthropicProvider": "anthropic", "OpenAIProvider": "openai"}


def __getattr__(name: str) -> Any:
    # Imported where it is used: an SDK costs more than everything else together, and is an extra.
    if name in _FROM_SDKS:
        return getattr(import_module(f"cachecore_llm.upstream.{_FROM_SDKS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
