"""Cached routes of FastAPI: `@cached(cache, ttl=60)` on an endpoint of a router with `route_class=CachedRoute`.

A request first passes through all dependencies of its route, so authentication comes before the cache. The stored
answer is the response as FastAPI made it of the endpoint's value, with `response_model` applied. It has an `ETag`,
`Cache-Control` and `Age`, and `If-None-Match` is answered by 304. Requests for one key at once run one endpoint.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from cachecore import Cache, Claim, OptionsError
from cachecore_frameworks._http import headers_of_304, headers_of_answer, may_be_stored, personal

_HELD: Final = "cachecore.held"
_VARY: Final = "cachecore.vary"


def vary_by(dependency: Callable[..., Any]) -> Any:
    """Return a dependency that makes the value of `dependency` part of the key, such as the id of a user or a tenant.

    The value is plain data. Responses of such a route are `private`.
    """

    async def part(request: Request, value: Any = Depends(dependency)) -> None:  # noqa: B008 - as FastAPI wants it
        request.scope.setdefault(_VARY, []).append(value)

    return Depends(part)


def cached(
    cache: Cache[Any],
    *,
    ttl: float,
    headers: Sequence[str] = (),
    shared: bool = False,
    tags: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], Any]:
    """Cache the responses of an endpoint to GET requests, by URL, `headers` and `vary_by`.

    A request with `Authorization` or `Cookie` is not cached unless the route has a `vary_by` or is `shared`. Stored are
    whole responses with status 200, without `Set-Cookie` and without `no-store`, `no-cache` or `private` of their own;
    all others, streams among them, pass through.

    Args:
        cache: the cache of the responses.
        ttl: seconds; also the `max-age` for clients.
        headers: names of request headers that the response depends on; they become its `Vary`.
        shared: whether all callers see the same.
        tags: tags of the responses, with placeholders for parts of the path: `"item:{item_id}"`.

    Raises:
        OptionsError: when a request comes, if the router has no `route_class=CachedRoute`.
    """

    def decorate(endpoint: Callable[..., Any]) -> Any:
        if inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint):
            return endpoint  # a stream
        signature = inspect.signature(endpoint, eval_str=True)
        own = inspect.Parameter("cachecore_request", inspect.Parameter.KEYWORD_ONLY, annotation=Request)
        # FastAPI gives the request to one parameter only.
        known = [one.name for one in signature.parameters.values() if one.annotation is Request]
        name = f"{endpoint.__module__}.{endpoint.__qualname__}"

        @functools.wraps(endpoint)
        async def route(**named: Any) -> Any:
            request = named[known[0]] if known else named.pop(own.name)
            vary = request.scope.get(_VARY, [])
            if _HELD not in request.scope:
                raise OptionsError(f"{name} is cached on a router without route_class=CachedRoute: give it one")
            if request.method == "GET" and (vary or shared or not personal(request.headers)):
                sent = [request.headers.getlist(header) for header in headers]
                asked = [name, request.headers.get("host"), request.url.path, request.query_params.multi_items()]
                key = {"asked": asked, "headers": sent, "vary": vary}
                claim = await cache.claim(key, ttl=ttl, tags=[tag.format(**request.path_params) for tag in tags])
                if claim.hit is not None:
                    return _served(claim.hit.value, claim.hit.age)
                own_headers = functools.partial(
                    headers_of_answer, ttl=ttl, vary=headers, private=bool(vary) and not shared
                )
                request.scope[_HELD] = (claim, own_headers)
            call = functools.partial(endpoint, **named)
            return await (call() if inspect.iscoroutinefunction(endpoint) else run_in_threadpool(call))

        parameters = sorted([*signature.parameters.values(), *([] if known else [own])], key=lambda one: one.kind)
        route.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what FastAPI reads
        return route

    return decorate


class CachedRoute(APIRoute):
    """The class of routes that may be cached: `APIRouter(route_class=CachedRoute)`, `app.router.route_class = …`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route, which stores the response that `cached` claimed."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.scope[_HELD] = None
            try:
                response = await handler(request)
                held = request.scope[_HELD]
                # A stream has no body.
                if held and hasattr(response, "body") and may_be_stored(response.status_code, response.headers):
                    await _stored(held[0], response, held[1])
            finally:
                if request.scope[_HELD] is not None:
                    await request.scope[_HELD][0].release()
            known = request.headers.get("if-none-match")
            if known is None or "cache-status" not in response.headers:
                return response
            unchanged = headers_of_304(known, response.headers)
            return response if unchanged is None else Response(status_code=304, headers=unchanged)

        return handle


def _served(stored: Any, age: float | None) -> Response:
    body, headers = stored
    response = Response(body)
    response.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    response.headers["age"] = str(int(age or 0))
    response.headers["cache-status"] = "cachecore; hit"
    return response


async def _stored(claim: Claim[Any], response: Response, own: Callable[[bytes], dict[str, str]]) -> None:
    """Store a response of an endpoint, with the headers that all callers get."""
    body = bytes(response.body)
    for name, value in own(body).items():
        response.headers.setdefault(name, value)
    kept = [[name, value] for name, value in response.headers.items()]
    response.headers["cache-status"] = "cachecore; fwd=miss; stored"
    await claim.store([body, kept])
