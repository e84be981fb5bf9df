"""The pages: each a handler that reads, or a form that acts. `app` puts them under their paths."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cachecore import OptionsError
from cachecore_llm import ResponseCache
from cachecore_proxy.activity import Activity
from cachecore_proxy.admin import wording
from cachecore_proxy.admin.content import content_of
from cachecore_proxy.admin.listing import PAGE, Listing, Listings, Order, Wanted, ordered
from cachecore_proxy.admin.options import PageOptions
from cachecore_proxy.admin.overview import WINDOWS, last_misses, overview
from cachecore_proxy.admin.purging import Purges, count, target_of
from cachecore_proxy.admin.sessions import COOKIE, LIFE, Guesses, Session, Sessions, is_own_form
from cachecore_proxy.admin.sums import Sums

logger = logging.getLogger("cachecore.proxy.page")

Handler = Callable[[Request, Session], Awaitable[Response]]

_MOST_FORM: Final = 16 * 1024
_MOST_ROWS: Final = 200
_MOST_MISSES: Final = 200
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class RefusedFormError(Exception):
    """A form that is not read; the status and the reason are its arguments."""


@dataclass(slots=True)
class Pages:
    """The objects that the pages show and act on."""

    cache: ResponseCache
    activity: Activity
    options: PageOptions
    sessions: Sessions = field(init=False)
    guesses: Guesses = field(init=False)
    purges: Purges = field(init=False)
    listings: Listings = field(init=False)
    sums: Sums = field(init=False)
    _checking: asyncio.Semaphore = field(init=False)
    _counting: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.sessions, self.guesses = Sessions(self.activity.clock), Guesses(self.activity.clock)
        self.purges, self.listings = Purges(self.cache), Listings(self.cache.flow.root)
        self.sums = Sums(self.cache, self.activity)
        _templates()
        self._checking = asyncio.Semaphore(1)  # a password takes a core for 50 ms
        self._counting = asyncio.Semaphore(1)  # as listings: a store is read by one of them at a time

    def show(self, template: str, session: Session | None, status: int = 200, **parts: Any) -> HTMLResponse:
        """Return a page."""
        news = ""
        if session is not None and not template.startswith("_"):
            news, session.news = session.news, ""
        csrf = "" if session is None else session.csrf
        text = _templates().get_template(template).render(csrf=csrf, news=news, inside=session is not None, **parts)
        return HTMLResponse(text, status_code=status)

    def refuse(self, session: Session | None, status: int, why: str) -> HTMLResponse:
        """Return a page that says why there is none."""
        return self.show("refused.html", session, status, why=why, page="")

    # Coming in and going out

    async def login_form(self, request: Request) -> Response:
        """Show the form that asks for the token or the password."""
        if self.sessions.find(request.cookies.get(COOKIE)) is not None:
            return RedirectResponse("/", 303)
        return self._login_form()

    async def login(self, request: Request) -> Response:
        """Begin a session, if the token or the password is right."""
        address = request.client.host if request.client is not None else ""
        try:
            form = await form_of(request)
        except RefusedFormError as error:
            return self.refuse(None, *error.args)
        wait = self.guesses.wait(address)
        if wait > 0:
            return self._too_many(wait)
        self.guesses.failed(address)
        async with self._checking:
            right = await asyncio.to_thread(self.options.admits, form.get("secret", ""))
        if not right:
            logger.warning("a wrong token or password for the page, from %s", address)
            return self._login_form("That is not right.", 403)
        self.guesses.right(address)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            self.sessions.begin(),
            max_age=int(LIFE),
            path="/",
            httponly=True,
            samesite="strict",
            secure=self.options.https,
        )
        return response

    async def logout(self, request: Request, _: Session) -> Response:
        """End the session."""
        self.sessions.end(request.cookies.get(COOKIE))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=self.options.https)
        return response

    def _login_form(self, wrong: str = "", status: int = 200) -> HTMLResponse:
        asked = "Token" if self.options.token else "Password"
        return self.show("login.html", None, status, asked=asked, wrong=wrong, page="login")

    def _too_many(self, wait: float) -> HTMLResponse:
        seconds = math.ceil(wait)
        response = self._login_form(f"Too many wrong guesses: try again in {seconds} s.", 429)
        response.headers["retry-after"] = str(seconds)
        return response

    # Pages to see

    async def front(self, request: Request, session: Session) -> Response:
        """Show the figures."""
        return await self._figures(request, session, "overview.html")

    async def live(self, request: Request, session: Session) -> Response:
        """Show the part of the figures that changes, for the page to replace."""
        return await self._figures(request, session, "_live.html")

    async def _figures(self, request: Request, session: Session, template: str) -> Response:
        given = request.query_params.get("window", "300")
        window = int(given) if given in map(str, WINDOWS) else 300
        figures = await overview(self.cache, self.activity, self.sums, window)
        return self.show(template, session, now=figures, page="overview", rejected=_reasons(figures.stats))

    async def requests(self, _: Request, session: Session) -> Response:
        """Show requests by model, tenant and prompt, and the money paid."""
        summed = await self.sums.now()
        return self.show("requests.html", session, now=summed, most=_MOST_ROWS, page="requests")

    async def misses(self, _: Request, session: Session) -> Response:
        """Show the last misses and their reasons."""
        reasons = sorted(self.activity.reasons.items(), key=lambda one: -one[1])
        return self.show(
            "misses.html", session, misses=last_misses(self.activity, _MOST_MISSES), reasons=reasons, page="misses"
        )

    async def entries(self, request: Request, session: Session) -> Response:
        """Show entries of the store, a page of them."""
        given = request.query_params
        texts = {name: given.get(name, "")[:1000] for name in ("tenant", "prompt", "model", "tag", "older", "younger")}
        order = given.get("order", "newest")
        order = order if order in Order else "newest"
        try:
            wanted = Wanted(
                tenant=texts["tenant"],
                prompt=texts["prompt"],
                model=texts["model"],
                tag=texts["tag"],
                older=_age(texts["older"]),
                younger=_age(texts["younger"]),
            )
            wanted.namespaces()
        except OptionsError as error:
            return self.show(
                "entries.html", session, 400, **_page(Listing(complete=True), 1, order), asked=texts, wrong=str(error)
            )
        listing = self.listings.kept(given.get("of", ""), wanted)
        if listing is None:
            listing = await self.listings.make(wanted, tuple(self.activity.rows))
        number = given.get("page", "1")
        shown = _page(listing, int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1, order)
        return self.show("entries.html", session, **shown, asked=texts, wrong="")

    async def entry(self, request: Request, session: Session) -> Response:
        """Show the facts of one entry; after its form was sent, its content as well."""
        form = await form_of(request) if request.method == "POST" else request.query_params
        counted = await count(self.cache.flow.root, target_of("entry", form.get("key", "")), self.activity.rows)
        if not counted.examples:
            return self.refuse(session, 404, "There is no such entry: it has ended, or was purged.")
        line = counted.examples[0]
        content = None
        if request.method == "POST":
            logger.info("the content of the entry %s was looked at", line.key)
            stored = [entry.load() async for entry in self.cache.flow.root.entries(keys=[line.key])]
            content = content_of(stored[0]) if stored and stored[0] is not None else None
        return self.show("entry.html", session, line=line, content=content, page="entries")

    # Actions

    async def ask_purge(self, request: Request, session: Session) -> Response:
        """Show how many entries a purge would make invalid, and ask."""
        given = request.query_params
        if "kind" not in given:
            return self.show("purge.html", session, target=None, counted=None, page="purge")
        target = target_of(given["kind"], given.get("name", "").strip())
        async with self._counting:
            counted = await count(self.cache.flow.root, target, tuple(self.activity.rows))
        return self.show("purge.html", session, target=target, counted=counted, page="purge")

    async def purge(self, request: Request, session: Session) -> Response:
        """Purge the entries that the form names."""
        form = await form_of(request)
        session.news = await self.purges.purge(target_of(form.get("kind", ""), form.get("name", "")))
        self.listings.forget()
        return RedirectResponse("/purge", 303)

    def inside(self, handler: Handler, *, live: bool = False) -> Callable[[Request], Awaitable[Response]]:
        """Return a handler for open sessions; a form must carry the secret of its session."""

        async def handle(request: Request) -> Response:
            session = self.sessions.find(request.cookies.get(COOKIE))
            if session is None:
                return Response(status_code=401) if live else RedirectResponse("/login", 303)
            try:
                if request.method == "POST" and not is_own_form(session, (await form_of(request)).get("csrf", "")):
                    return self.refuse(session, 403, "This form is not one of this session. Load the page again.")
                return await handler(request, session)
            except RefusedFormError as error:
                return self.refuse(session, *error.args)
            except OptionsError as error:
                return self.refuse(session, 400, str(error))

        return handle


@cache
def _templates() -> Environment:
    """Return the templates, which are compiled once in a process."""
    templates = Environment(
        loader=PackageLoader("cachecore_proxy.admin"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters.update(
        number=wording.number,
        duration=wording.duration,
        ago=wording.ago,
        size=wording.bytes_,
        money=wording.money,
        tokens=wording.tokens,
        until=wording.until,
        why=wording.reason,
        query=_query,
    )
    templates.globals.update(share=wording.share, windows=WINDOWS)
    for name in templates.list_templates():
        templates.get_template(name)  # compiled now, not while requests wait
    return templates


async def form_of(request: Request) -> Mapping[str, str]:
    """Return the fields of a form. Raises RefusedFormError if it is too large or none."""
    known: Mapping[str, str] | None = getattr(request.state, "form", None)
    if known is not None:
        return known
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise RefusedFormError(415, "The page takes its own forms only.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_FORM:
            raise RefusedFormError(413, f"A form of the page has at most {_MOST_FORM} bytes.")
    try:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        raise RefusedFormError(400, "The form cannot be read.") from None
    request.state.form = form
    return form


def _page(listing: Listing, number: int, order: str) -> dict[str, Any]:
    """Return a page of a listing for its template."""
    last = max(1, math.ceil(len(listing.lines) / PAGE))
    number = min(max(1, number), last)
    lines = ordered(listing.lines, order)[(number - 1) * PAGE : number * PAGE]
    return {
        "listing": listing,
        "lines": lines,
        "number": number,
        "last": last,
        "order": order,
        "orders": Order,
        "page": "entries",
    }


def _age(text: str) -> float | None:
    """Return the seconds of `90`, `15m`, `2h` or `3d`; None for no text. Raises OptionsError."""
    if not text.strip():
        return None
    given = text.strip().lower()
    unit = given[-1] if given[-1] in _UNITS else ""
    try:
        seconds = float(given.removesuffix(unit)) * _UNITS.get(unit, 1.0)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise OptionsError(
            f"an age is a number of seconds, or of minutes, hours or days such as 15m, 2h, 3d; not {text!r}"
        )
    return seconds


def _query(fields: Mapping[str, Any], **more: Any) -> str:
    """Return the fields that are not empty as the query of a link."""
    return urlencode({name: value for name, value in {**fields, **more}.items() if value not in ("", None)})


def _reasons(metrics: Any) -> list[tuple[str, int]]:
    """Return why answers were not stored, the most frequent reason first."""
    found = [*metrics.rejected.items(), *metrics.not_stored.items()]
    return sorted(found, key=lambda one: -one[1])[:8]
