"""The process around the gateway: uvicorn within bounds, signals, the page, and a stop that lets streams end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from cachecore.contract.errors import CacheError, OptionsError
from cachecore_proxy.access_log import AccessLog
from cachecore_proxy.connections import protocol_of
from cachecore_proxy.gateway import Gateway
from cachecore_proxy.settings import Bounds, Settings

logger = logging.getLogger("cachecore.proxy")

Reread = Callable[[], Settings]


class Running:
    """A gateway that serves."""

    def __init__(self, gateway: Gateway, port: int, admin_port: int | None) -> None:
        self.gateway = gateway
        self.port = port
        self.admin_port = admin_port
        """Of the page; None if it is off."""
        self.stopped = asyncio.Event()

    @property
    def url(self) -> str:
        """Return the address without a path: `ANTHROPIC_BASE_URL`; `OPENAI_BASE_URL` is the same with `/v1`."""
        host = self.gateway.settings.host
        shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104 - a name
        return f"http://{shown}:{self.port}"

    async def reread(self, read: Reread) -> bool:
        """Take keys and prompts of the settings that `read` returns; return whether they could be read."""
        try:
            settings = await asyncio.to_thread(read)
        except CacheError as error:
            logger.error("the settings stay as they were: %s", error)
            return False
        await self.gateway.take(settings)
        logger.info("keys and prompts were read again")
        return True


@asynccontextmanager
async def serving(settings: Settings, *, log: AccessLog | None = None) -> AsyncIterator[Running]:
    """Serve until the block ends; then let requests and streams end, for `stop_timeout` at most.

    Raises:
        OptionsError: a setting is wrong.
        OSError: the port is taken.
    """
    gateway = Gateway(settings, log=log)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(gateway.aclose)
        watching = asyncio.create_task(gateway.prompts.watch())
        stack.push_async_callback(_cancelled, watching)
        admin_port = None
        if settings.admin:
            app, host, port = _page(gateway, settings)
            admin_port = await stack.enter_async_context(_listening(app, host, port, Bounds(stop_timeout=2.0), "on"))
        port = await stack.enter_async_context(
            _listening(gateway, settings.host, settings.port, settings.bounds, "off")
        )
        running = Running(gateway, port, admin_port)
        try:
            yield running
        finally:
            gateway.stopping = True


async def serve(
    settings: Settings, *, read: Reread | None = None, ready: Callable[[Running], None] | None = None
) -> None:
    """Serve until SIGINT or SIGTERM; SIGHUP calls `read` and takes its keys and prompts. `ready` is told once."""
    log = AccessLog() if settings.access_log else None
    async with serving(settings, log=log) as running:
        loop = asyncio.get_running_loop()
        rereading: set[asyncio.Task[bool]] = set()

        def reread() -> None:
            if read is not None:
                task = loop.create_task(running.reread(read))
                rereading.add(task)
                task.add_done_callback(rereading.discard)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.stopped.set)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, reread)
        if ready is not None:
            ready(running)
        await running.stopped.wait()


@asynccontextmanager
async def _listening(app: Any, host: str, port: int, bounds: Bounds, lifespan: Any) -> AsyncIterator[int]:
    """Serve `app`; yield the port. Raises OSError if it is taken."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol_of(bounds),
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # addresses of clients are neither logged nor trusted
        timeout_keep_alive=int(bounds.keep_alive),
        timeout_graceful_shutdown=max(1, int(bounds.stop_timeout)),
        limit_concurrency=bounds.max_connections,
        backlog=4096,
    )
    listener = _bound(host, port)
    server = _Server(config)
    try:
        await server.begin(listener)
    except BaseException:
        listener.close()
        raise
    ticking = asyncio.create_task(server.main_loop())
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await ticking
        await server.shutdown(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server inside a loop that is another's, which also takes the signals."""

    async def begin(self, listener: socket.socket) -> None:
        """Begin to serve. Raises OptionsError if the application does not start."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        try:
            await self.startup(sockets=[listener])
        except SystemExit:
            raise OptionsError("an application did not start; the log says why") from None


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises OSError, which names address and reason."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    # asyncio turns Nagle's algorithm off only where the socket names its protocol. Head and body of an answer are two
    # packets, and the second would wait 40 ms for the client's delayed acknowledgement of the first.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(4096)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"{host}:{port}: {error.strerror}") from None
    return listener


def _page(gateway: Gateway, settings: Settings) -> tuple[Any, str, int]:
    """Return the page with its address."""
    from cachecore_proxy.admin import PageOptions, admin_app  # templates are read only where the page is on

    table = dict(settings.admin)
    host, port = str(table.pop("host", "127.0.0.1")), int(table.pop("port", 8081))
    return admin_app(gateway.cache, gateway.activity, PageOptions(**table)), host, port


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
