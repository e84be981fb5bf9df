"""`python -m cachecore_llm.testing.provider`: run a local provider until it is interrupted or terminated."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from cachecore_llm.testing.provider import DirectiveError, LocalProvider
from cachecore_llm.testing.provider.directives import TABLE


async def serve(port: int, directives: str | None) -> None:
    """Serve until SIGINT or SIGTERM. The first line of the output is the address."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with LocalProvider(port=port, directives=directives) as provider:
        sys.stdout.write(f"{provider.url}\n")
        sys.stdout.flush()
        await stopped.wait()


def main() -> int:
    """Read the arguments and serve. Returns the exit status."""
    listed = "\n".join(f"  [[{name}]]".ljust(16) + meaning for name, (_, _, meaning) in TABLE.items())
    parser = argparse.ArgumentParser(
        prog="python -m cachecore_llm.testing.provider",
        description="A server on 127.0.0.1 that answers like OpenAI and Anthropic.",
        epilog=f"directives, in the last user message or the header x-provider-directives:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--directives", default="", help="for every request, as in '[[delay 0.2]]'")
    parser.add_argument("--plain", action="store_true", help="read no directives in requests")
    given = parser.parse_args()
    try:
        asyncio.run(serve(given.port, None if given.plain else given.directives))
    except (DirectiveError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
