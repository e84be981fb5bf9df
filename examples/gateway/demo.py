"""A gateway in front of a local provider, which needs no key and no network. Ends with Ctrl-C.

    python examples/gateway/demo.py [port]

It prints the two lines that a program in any language needs. The answers are kept in memory; the provider is simulated
and writes words of no meaning, 200 ms after it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.access_log import AccessLog
from cachecore_proxy.server import serving
from cachecore_proxy.settings import Settings, UpstreamSettings

ASKED = """
Ask twice; the second answer comes from the cache (cache-status: cachecore; hit):

    curl -si {url}/v1/chat/completions -H 'authorization: Bearer any' -H 'content-type: application/json' \\
      -d '{{"model": "m", "messages": [{{"role": "user", "content": "How do I return an item?"}}]}}'
"""


async def main(port: int = 8080) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with LocalProvider(directives="[[delay 0.2]]") as provider:
        settings = Settings(upstreams=(UpstreamSettings(name="local", url=provider.url),), port=port)
        async with serving(settings, log=AccessLog()) as running:
            print(f"OPENAI_BASE_URL={running.url}/v1")
            print(f"ANTHROPIC_BASE_URL={running.url}")
            print(ASKED.format(url=running.url), file=sys.stderr)
            sys.stdout.flush()
            await stopped.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(*map(int, sys.argv[1:2])))
