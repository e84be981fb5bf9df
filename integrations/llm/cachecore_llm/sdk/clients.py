"""HTTP clients for the SDKs, in one line: `AsyncOpenAI(http_client=async_cached_client("redis://localhost"))`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

from cachecore import Cache
from cachecore.contract.errors import OptionsError
from cachecore.contract.options import Duration, positive
from cachecore_llm.config import CacheConfig
from cachecore_llm.flow.heartbeats import HEARTBEAT_SECONDS
from cachecore_llm.http.scope import ScopeFunction
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.sdk.front import Front
from cachecore_llm.sdk.libraries import LibraryName
from cachecore_llm.sdk.libraries import library as library_named
from cachecore_llm.sdk.sync_transport import CachedTransport
from cachecore_llm.sdk.transport import AsyncCachedTransport
from cachecore_llm.sdk.upstream import AsyncUpstream, InThreads, limits, timeout

if TYPE_CHECKING:
    import httpx
    import httpx2

Store = str | Cache[Any] | ResponseCache


@overload
def async_cached_client(
    store: Store,
    config: CacheConfig | None = None,
    *,
    scope: str | ScopeFunction | None = None,
    tenant: str | None = None,
    digest_key: bytes = b"",
    heartbeat: Duration | None = HEARTBEAT_SECONDS,
    library: Literal["httpx2"] | None = None,
    transport: Any = None,
    **options: Any,
) -> httpx2.AsyncClient: ...
@overload
def async_cached_client(
    store: Store,
    config: CacheConfig | None = None,
    *,
    scope: str | ScopeFunction | None = None,
    tenant: str | None = None,
    digest_key: bytes = b"",
    heartbeat: Duration | None = HEARTBEAT_SECONDS,
    library: Literal["httpx"],
    transport: Any = None,
    **options: Any,
) -> httpx.AsyncClient: ...
def async_cached_client(store: Store, config: CacheConfig | None = None, **arguments: Any) -> Any:
    """Return a client for `AsyncOpenAI(http_client=…)` or `AsyncAnthropic(http_client=…)`.

    It behaves as the SDK's own client does: retries, timeouts, limits, redirects and the environment's proxies. Closing
    it closes what was opened here; a cache that was given stays open.

    Args:
        store: a URL such as `redis://localhost`, a `Cache`, or a `ResponseCache`.
        config: how answers are kept; not with a `ResponseCache`, which has its own.
        scope: the name of all who may share answers. Not given: each credential has answers of its own. Or a function
            that returns the name from the headers of a request, with names in lower case.
        tenant: whose requests these are; tenants never share answers.
        digest_key: of the digests of credentials, at most 64 bytes; the same in all processes that share answers.
        heartbeat: seconds after which a caller that waits for the next event of a stream gets a comment line, which the
            SDKs drop, and between two of them; None for none. It moves no timeout.
        library: `httpx2` or `httpx`; the newer SDKs stand on the first. Not given: the one that is installed.
        transport: asked in place of the network.
        arguments: further ones are options of the client that asks the provider, such as `verify`, `proxy` or `limits`.

    Raises:
        OptionsError: a wrong argument.
        ImportError: the library is not installed.
    """
    made = _async_transport(store, config, **arguments)
    chosen = library_named(arguments.get("library"))
    return chosen.module.AsyncClient(
        transport=made, timeout=timeout(chosen), limits=limits(chosen), follow_redirects=True
    )


@overload
def cached_client(
    store: Store,
    config: CacheConfig | None = None,
    *,
    scope: str | ScopeFunction | None = None,
    tenant: str | None = None,
    digest_key: bytes = b"",
    heartbeat: Duration | None = HEARTBEAT_SECONDS,
    library: Literal["httpx2"] | None = None,
    transport: Any = None,
    **options: Any,
) -> httpx2.Client: ...
@overload
def cached_client(
    store: Store,
    config: CacheConfig | None = None,
    *,
    scope: str | ScopeFunction | None = None,
    tenant: str | None = None,
    digest_key: bytes = b"",
    heartbeat: Duration | None = HEARTBEAT_SECONDS,
    library: Literal["httpx"],
    transport: Any = None,
    **options: Any,
) -> httpx.Client: ...
def cached_client(store: Store, config: CacheConfig | None = None, **arguments: Any) -> Any:
    """Return a client for `OpenAI(http_client=…)` or `Anthropic(http_client=…)`. As `async_cached_client`."""
    made = _transport(store, config, **arguments)
    chosen = library_named(arguments.get("library"))
    return chosen.module.Client(transport=made, timeout=timeout(chosen), limits=limits(chosen), follow_redirects=True)


def async_cached_transport(store: Store, config: CacheConfig | None = None, **arguments: Any) -> Any:
    """Return the transport alone, for a program that builds its own client. As `async_cached_client`.

    The library turns the environment's proxies off for a client with a transport of its own; this one has them.
    """
    return _async_transport(store, config, **arguments)


def cached_transport(store: Store, config: CacheConfig | None = None, **arguments: Any) -> Any:
    """Return the transport alone, for threads. As `async_cached_transport`."""
    return _transport(store, config, **arguments)


def _async_transport(
    store: Store,
    config: CacheConfig | None,
    *,
    scope: str | ScopeFunction | None = None,
    tenant: str | None = None,
    digest_key: bytes = b"",
    heartbeat: Duration | None = HEARTBEAT_SECONDS,
    library: LibraryName | None = None,
    transport: Any = None,
    **options: Any,
) -> AsyncCachedTransport:
    chosen = library_named(library)
    _check_options(options)
    answers, opened = _answers(store, config)
    front = Front(tenant=tenant, scope=scope, digest_key=digest_key)
    upstream = AsyncUpstream(chosen, transport, **options)
    made: AsyncCachedTransport = chosen.async_transport(AsyncCachedTransport)(
        chosen,
        answers.flow,
        front,
        upstream,
        opened,
        None if heartbeat is None else positive("heartbeat", heartbeat),
    )
    return made


def _transport(
    store: Store,
    config: CacheConfig | None,
    *,
    transport: Any = None,
    library: LibraryName | None = None,
    **arguments: Any,
) -> CachedTransport:
    chosen = library_named(library)
    asked = None if transport is None else InThreads(chosen, transport)
    inner = _async_transport(store, config, library=library, transport=asked, **arguments)
    made: CachedTransport = chosen.sync_transport(CachedTransport)(chosen, inner)
    return made


def _check_options(options: dict[str, Any]) -> None:
    """Refuse settings of the cache among the options of the client that asks the provider."""
    for name, value in options.items():
        if name == "ttl" or name in CacheConfig.__dataclass_fields__:
            setting = "ttl_seconds" if name == "ttl" else name
            raise OptionsError(
                f"{name}= is a setting of the cache and no option of an HTTP client: "
                f"give CacheConfig({setting}={value!r}) after the store"
            )


def _answers(store: Store, config: CacheConfig | None) -> tuple[ResponseCache, ResponseCache | None]:
    """Return the cache of answers, and once more if it was opened here."""
    if isinstance(store, ResponseCache):
        if config is not None:
            raise OptionsError("a ResponseCache has its own settings: give it the CacheConfig")
        return store, None
    made = ResponseCache(store, config)
    return made, made
