"""Cached LLM answers, with providers that stand in for each other and a cache that answers last."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cachecore_llm.config import CacheConfig, CacheMetrics
from cachecore_llm.cost.ledger import Ledger
from cachecore_llm.cost.prices import Prices
from cachecore_llm.cost.rates import Rates
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
from cachecore_llm.flow.misses import MissReport
from cachecore_llm.flow.nearest import FieldDifference, NearestEntry
from cachecore_llm.llm_stream import LLMStream
from cachecore_llm.policy.admission import AdmissionRules
from cachecore_llm.policy.controls import Controls
from cachecore_llm.policy.prompts import Prompt, PromptRegistry
from cachecore_llm.request import TRANSPORT_FIELDS, LLMRequest
from cachecore_llm.response import CacheStatus, Choice, LLMResponse, ToolCall, Usage
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.service import LLMService
from cachecore_llm.sync_service import SyncLLMService, SyncLLMStream
from cachecore_llm.upstream import BreakerOptions, FallbackOrchestrator, Provider
from cachecore_llm.upstream.simulated import SimulatedProvider

if TYPE_CHECKING:
    from cachecore_llm.upstream.anthropic import AnthropicProvider as AnthropicProvider
    from cachecore_llm.upstream.litellm import LiteLLMProvider as LiteLLMProvider
    from cachecore_llm.upstream.local import LocalModel as LocalModel
    from cachecore_llm.upstream.openai import OpenAIProvider

__all__ = [
    "TRANSPORT_FIELDS",
    "AdmissionRules",
    "AllProvidersFailedError",
    "BreakerOptions",
    "CacheConfig",
    "CacheMetrics",
    "CacheStatus",
    "Choice",
    "Controls",
    "Embeddings",
    "FallbackOrchestrator",
    "FieldDifference",
    "LLMError",
    "LLMRequest",
    "LLMResponse",
    "LLMService",
    "LLMStream",
    "Ledger",
    "MissReport",
    "NearestEntry",
    "NotCachedError",
    "OpenAIProvider",
    "Prices",
    "Prompt",
    "PromptRegistry",
    "Provider",
    "ProviderFailure",
    "ProviderTimeoutError",
    "ProviderUnavailableError",
    "Rates",
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


_ON_EXTRAS = {
    "AnthropicProvider": "anthropic",
    "LiteLLMProvider": "litellm",
    "LocalModel": "local",
    "OpenAIProvider": "openai",
}
"""Providers that need an extra -> their modules. Only OpenAI's stands in `__all__`: a star import gets what it got."""


def __getattr__(name: str) -> Any:
    # Imported where it is used: an SDK costs more than everything else together, and is an extra.
    if name in _ON_EXTRAS:
        return getattr(import_module(f"cachecore_llm.upstream.{_ON_EXTRAS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
