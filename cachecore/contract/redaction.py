"""The parts of a URL that may be shown: URLs hold passwords, so none is ever shown as it is."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
HIDDEN: Final = "***"
_PIECES = re.compile(r"[/?#:@&=;,\s]")  # where a parser of URLs may cut a password
_NUMERIC_HOST = re.compile(r"\[[0-9A-Fa-f:.]*\]")
_NO_PORT = re.compile(r"[^/]*:(?!\d*(?:[/,]|$))")
_SECRET_NAME = re.compile(r"pass|pw|secret|token|auth|key|cred|user|sig", re.IGNORECASE)
_WORD: Final = 4
_PLAIN_VALUE = re.compile(r"\d{1,8}(?:\.\d{1,8})?(?:ms|s|m|h|d|w|[kmg]i?b|b)?|true|false|yes|no|on|off", re.IGNORECASE)
_OPEN_SETTING = re.compile(r"ssl_(cert_reqs|ca_certs|ca_path|certfile)=[\w./-]{1,255}")
"""Settings of TLS that are no secret: a mode, or the path of a file."""


def redact_url(url: str) -> str:
    """Return `url` fit for messages and logs: no user, no password, no value of a query that may be a secret.

    When it is not clear where a password ends, more is hidden rather than less.
    """
    match = URL.fullmatch(url)
    if match is None:
        return HIDDEN
    scheme, rest = match.groups()
    head, mark, tail = _cut(rest)
    if "@" in tail:  # a password with ? or # in it, or a secret with @ in the query: no telling which
        return f"{scheme}://{HIDDEN}"
    user, at, place = head.rpartition("@")
    if not at and _headless(place):
        return f"{scheme}://{HIDDEN}"
    shown = "&".join(map(_shown, tail.split("&"))) if mark else ""
    return f"{scheme}://{HIDDEN + at if at and user else at}{place}{mark}{shown}"


def _cut(rest: str) -> tuple[str, str, str]:
    mark = re.search(r"[?#]", rest)
    return (rest, "", "") if mark is None else (rest[: mark.start()], mark[0], rest[mark.end() :])


def _headless(place: str) -> bool:
    """Whether `place` has a port that is no number, a password that lost its host, or settings (`h:1,password=x`)."""
    return "=" in place.partition("/")[0] or _NO_PORT.match(_NUMERIC_HOST.sub("", place)) is not None


def _shown(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if not equals:
        return HIDDEN if name else ""
    if _OPEN_SETTING.fullmatch(pair):
        return pair
    return pair if _PLAIN_VALUE.fullmatch(value) and not _SECRET_NAME.search(name) else f"{name}={HIDDEN}"


def tells(error: Exception, url: str) -> bool:
    """Whether the text of `error` holds a part of `url` that `redact_url` hides."""
    rest = url.partition("://")[2]
    return _holds(str(error), _hidden_places(rest) | _hidden_values(rest), redact_url(url))


def untold(error: Exception, url: str) -> str | None:
    """Return the text of `error` with `***` for the parts that `redact_url` hides of the query of `url`.

    None if the text holds another part that `redact_url` hides: where a password stands among words, the words
    around it may tell it.
    """
    text, shown = str(error), redact_url(url)
    rest = url.partition("://")[2]
    values = _hidden_values(rest)
    for quoted in sorted((repr(value) for value in values | set(map(unquote, values))), key=len, reverse=True):
        text = text.replace(quoted, repr(HIDDEN))
    return None if _holds(text, _hidden_places(rest) | values, shown) else text


def _hidden_values(rest: str) -> set[str]:
    tail = _cut(rest)[2]
    return {pair.partition("=")[2] or pair for pair in tail.split("&") if _shown(pair) != pair}


def _hidden_places(rest: str) -> set[str]:
    head, _, tail = _cut(rest)
    user, at, place = rest.rpartition("@") if "@" in tail else head.rpartition("@")
    if at:
        return {user, *user.split(":", 1)}
    return {place, *place.split(":")} if _headless(place) else set()


def _holds(text: str, hidden: set[str], shown: str) -> bool:
    hidden = hidden | {unquote(part) for part in hidden}
    hidden |= {piece for part in hidden for piece in _PIECES.split(part) if piece not in shown}
    return any(_stands(part, text) for part in hidden if part)


def _stands(part: str, text: str) -> bool:
    """Whether `part` is in `text`; one of few letters only as a word, since any text has those letters."""
    if len(part) >= _WORD:
        return part in text
    return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None
