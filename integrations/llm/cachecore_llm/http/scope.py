"""Who asks: a digest of the credential and of what it asks for, so that two customers never share an answer unasked."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from cachecore.contract.errors import OptionsError
from cachecore_llm.upstream.headers import credentials, scope_digest
from cachecore_llm.wire.objects import UnreadableStreamError, load

ScopeFunction = Callable[[Mapping[str, str]], str]
"""Gives the scope of a request from its headers (names in lower case), such as from claims of its token."""

_KEYS: Final = ("authorization", "api-key", "x-api-key")
"""Headers that the SDKs put one and the same key into, depending on their version and the service."""

_SIGNED: Final = ("aws4-hmac-", "signature ")


class RotatingCredentialError(OptionsError):
    """The credential of a request changes by itself, so a key made of it would never hit twice. Give a scope."""

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"the request carries {kind}, which is renewed every few minutes, so answers kept under it are never found "
            "again: give the client a name for all who may share answers, scope='my-service', or a function of the "
            "headers that returns one"
        )


class Scope(NamedTuple):
    """What the key of a request says of the caller; the fields of that name of a `Call`."""

    scope: str
    credential: str | None
    """Where `scope` is a name that several share, the digest of this caller's own credential; empty if it has none."""


def scope_of(
    headers: Mapping[str, str],
    in_query: Sequence[tuple[str, str]] = (),
    *,
    given: str | ScopeFunction | None = None,
    key: bytes = b"",
) -> Scope:
    """Return the scope of a request.

    Args:
        headers: with names in lower case.
        in_query: credentials in the address.
        given: the name of all who share answers, in place of the credential; or a function that returns it.
        key: of the digest, at most 64 bytes; the same in all processes that share answers.

    Raises:
        RotatingCredentialError: no scope is given and the credential is one that is renewed.
    """
    # The value counts and not its header: an SDK's next version may send the same key in another one.
    about = credentials(headers)
    carried = sorted({_bare(about.pop(header)) for header in _KEYS if header in about})
    digest = scope_digest([carried, sorted(in_query), about], key) or ""
    name: object = given(headers) if callable(given) else given
    if name is None:
        for value in carried:
            kind = _rotating(value)
            if kind is not None:
                raise RotatingCredentialError(kind)
        return Scope(f"c:{digest}", None)
    if not isinstance(name, str) or not name:
        raise OptionsError(f"a scope must be text and not empty, not {type(name).__name__ if name else repr(name)}")
    return Scope(f"n:{name}", digest)


def _bare(value: str) -> str:
    kind, space, credential = value.strip().partition(" ")
    return credential.strip() if space and kind.lower() == "bearer" else value.strip()


def _rotating(credential: str) -> str | None:
    """Return the kind of credential that is renewed by itself; None if it is none of those known."""
    if credential.lower().startswith(_SIGNED):
        return "a signature of this request (AWS, HTTP signatures)"
    claims = _claims(credential)
    if claims is not None and "exp" in claims:
        return "a token that expires (Azure AD, workload identity, OAuth)"
    return None


def _claims(credential: str) -> Mapping[str, object] | None:
    """Return the claims of a JSON web token, unverified; None if it is none."""
    parts = credential.split(".")
    if len(parts) != 3 or not credential.startswith("ey"):
        return None
    try:
        return load(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, UnreadableStreamError, ValueError):
        return None
