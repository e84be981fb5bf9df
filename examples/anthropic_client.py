"""The Anthropic SDK with streamed answers kept in a file: the second run streams the same answer from there.

    ANTHROPIC_API_KEY=… python examples/anthropic_client.py "Why is the sky blue?"

Needs the extra `anthropic` of cachecore-llm (docs/install.md).
`ANTHROPIC_BASE_URL` names any other endpoint that speaks the protocol.
"""

import asyncio
import sys

from anthropic import AsyncAnthropic

from cachecore_llm.sdk import async_cached_client


async def main() -> None:
    question = " ".join(sys.argv[1:]) or "Why is the sky blue?"
    async with AsyncAnthropic(http_client=async_cached_client("sqlite:///answers.db")) as client:
        async with client.messages.stream(
            model="claude-sonnet-5", max_tokens=500, messages=[{"role": "user", "content": question}]
        ) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
        print(f"\n{stream.response.headers['cache-status']}")


asyncio.run(main())
