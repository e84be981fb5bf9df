"""A local provider: an HTTP server that speaks the protocols of OpenAI and Anthropic, for tests without a network.

    async with LocalProvider() as provider:
        client = AsyncOpenAI(base_url=provider.openai_url, api_key="any")

`python -m cachecore_llm.testing.provider` runs it by itself. The module `directives` describes how a prompt chooses
its answer. Needs the extra `testing` (h11, which both SDKs bring along).
"""

try:
    import h11  # noqa: F401 - asked for here, so that its absence names the extra
except ImportError as missing:
    raise ImportError("the local provider needs h11: pip install 'cachecore-llm[testing]'") from missing

from cachecore_llm.testing.provider.calls import Call
from cachecore_llm.testing.provider.directives import DirectiveError
from cachecore_llm.testing.provider.local import LocalProvider

__all__ = ["Call", "DirectiveError", "LocalProvider"]
