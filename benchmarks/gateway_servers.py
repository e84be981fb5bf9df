"""The servers that `benchmarks.gateway` compares, each in a process of its own.

    python -m benchmarks.gateway_servers NAME LOOP [ARGUMENT …]

prints its address. NAME is `upstream`, `gateway`, `constant`, `relay` or `fan_out`; LOOP is `uvloop` or `asyncio`. The
upstream answers each line of its input with the number of calls that it has had.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

DELAY = 0.2
"""Seconds before the upstream answers."""


async def upstream() -> None:
    """A provider that answers after 200 ms."""
    from cachecore_llm.testing.provider import LocalProvider

    async with LocalProvider(directives=f"[[delay {DELAY}]]") as provider:
        asyncio.get_running_loop().add_reader(sys.stdin, lambda: told(provider.calls) if sys.stdin.readline() else None)
        await served(provider.port)


async def gateway(store: str, provider: str) -> None:
    """The gateway as `cachecore proxy` runs it, its access log included."""
    from cachecore_proxy.access_log import AccessLog
    from cachecore_proxy.server import serving
    from cachecore_proxy.settings import Settings, UpstreamSettings

    with open(os.devnull, "w") as out:  # noqa: ASYNC230 - opened once, before anything is served
        upstreams = (UpstreamSettings(name="local", url=provider),)
        settings = Settings(store=store, upstreams=upstreams, port=0)
        async with serving(settings, log=AccessLog(out)) as running:
            await served(running.port)


async def constant(size: str) -> None:
    """A bare Starlette application that reads its body and answers a constant."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    content = b'{"answer": "' + b"x" * (int(size) - 14) + b'"}'

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(content, media_type="application/json")

    async with under_uvicorn(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as port:
        await served(port)


async def relay(provider: str) -> None:
    """A bare relay: each request goes to the provider over httpx2, and its answer comes back."""
    import httpx2
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async with httpx2.AsyncClient(timeout=None) as http:

        async def answer(request: Request) -> Response:
            headers = {"content-type": "application/json", "authorization": request.headers["authorization"]}
            content = await request.body()
            came = await http.post(f"{provider}/v1/chat/completions", content=content, headers=headers)
            return Response(came.content, came.status_code, media_type="application/json")

        async with under_uvicorn(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as port:
            await served(port)


async def fan_out(provider: str) -> None:
    """A bare fan-out: the readers of one body share one request to the provider, and get its bytes as they come."""
    import httpx2
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    flights: dict[bytes, Flight] = {}
    async with httpx2.AsyncClient(timeout=None) as http:

        async def read(body: bytes, flight: Flight, key: str) -> None:
            headers = {"content-type": "application/json", "authorization": key}
            async with http.stream(
                "POST", f"{provider}/v1/chat/completions", content=body, headers=headers
            ) as response:
                async for chunk in response.aiter_raw():
                    flight.took(chunk)
            flight.took(None)
            del flights[body]

        async def answer(request: Request) -> StreamingResponse:
            body = await request.body()
            flight = flights.get(body)
            if flight is None:
                flight = flights[body] = Flight()
                flight.task = asyncio.create_task(read(body, flight, request.headers["authorization"]))
            return StreamingResponse(flight.chunks_as_they_come(), media_type="text/event-stream")

        async with under_uvicorn(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as port:
            await served(port)


class Flight:
    """One request of a fan-out, and what came of it."""

    def __init__(self) -> None:
        self._chunks: list[bytes | None] = []
        self._changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def took(self, chunk: bytes | None) -> None:
        self._chunks.append(chunk)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def chunks_as_they_come(self) -> AsyncIterator[bytes]:
        place = 0
        while True:
            while place < len(self._chunks):
                chunk = self._chunks[place]
                if chunk is None:
                    return
                yield chunk
                place += 1
            await self._changed.wait()


@asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncIterator[int]:
    """Serve an application as the gateway is served: uvicorn with httptools, no access log."""
    import uvicorn

    # With its protocol, as the gateway does: asyncio would leave Nagle's algorithm on.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None,
                                           access_log=False, server_header=False))  # fmt: skip
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving


def told(value: object) -> None:
    sys.stdout.write(f"{value}\n")
    sys.stdout.flush()


async def served(port: int) -> None:
    """Print the address, and wait for SIGTERM."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    told(f"http://127.0.0.1:{port}")
    await stopped.wait()


SERVERS: dict[str, Callable[..., Awaitable[None]]] = {
    "upstream": upstream,
    "gateway": gateway,
    "constant": constant,
    "relay": relay,
    "fan_out": fan_out,
}


async def run(name: str, arguments: list[str]) -> None:
    await SERVERS[name](*arguments)


if __name__ == "__main__":
    factory = None
    if sys.argv[2] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run(sys.argv[1], sys.argv[3:]))
