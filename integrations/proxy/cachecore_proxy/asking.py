"""The caller of a request and its tenant, read from the headers.

A key is the gateway's own, which is exchanged for a credential of the settings, or the caller's at the provider, which
is forwarded. A key in the address is refused: addresses are written into logs on their way.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from cachecore_llm.http.scope import RotatingCredentialError, scope_of
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.policy.prompts import is_name
from cachecore_llm.upstream.headers import credentials, is_credential
from cachecore_proxy.settings import AccessSettings, Family, KeySettings

RawHeaders = Sequence[tuple[bytes, bytes]]

_KEYS: Final = ("authorization", "x-api-key", "api-key")
OWN_KEY: Final = "cck-"
"""How the keys begin that `cachecore proxy --new-key` makes."""
_SHAPING: Final = ("anthropic-beta", "anthropic-version", "openai-beta")
"""Headers that shape answers. They are keyed and forwarded, with those of the settings; any other is neither."""
_OF_ONE_REQUEST: Final = frozenset(
    {
        *(b"content-length", b"host", b"x-request-id", b"traceparent", b"idempotency-key"),
        *(b"x-stainless-retry-count", b"x-stainless-read-timeout"),
    }
)
_PAGING: Final = frozenset({"page_token", "next_page_token", "next_token", "continuation_token"})
"""Parameters with names like credentials that are places in a list."""
_MOST_SENDERS: Final = 4096
_MOST_SENDER_BYTES: Final = 4096
_MAX_TENANT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sender:
    """The caller of a request, by its headers. Equal only to itself, so that it can be a key."""

    family: Family
    tenant: str | None
    shown: str | None
    """The tenant as counts and logs name it."""
    scope: str
    credential: str | None
    """As in `Call`."""
    digest: str | None
    """Of a forwarded key, which the provider judges; None: the key is the gateway's own."""
    entry: str
    """The name of its judgement; empty for the gateway's own."""
    credentials: Mapping[str, str]
    """Headers with the key, to forward; empty for the gateway's own."""
    shaping: Mapping[str, str]
    controls: Controls
    prompt: str | None
    bypass: str | None = None
    """Why the cache is passed by for this caller, if it is."""

    @property
    def forwarded(self) -> bool:
        """Return whether the caller's own key goes to the provider."""
        return self.digest is not None


class AccessError(Exception):
    """A request is refused. The text says why, and names no value of a key."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(status, kind, message)
        self.status, self.kind, self.message = status, kind, message


class Asking:
    """Reads the headers of requests. `entry` names the judgement of a key, by family and digest."""

    def __init__(self, access: AccessSettings, entry: Callable[[str, str], str]) -> None:
        self._access = access
        self._entry = entry
        self._own = {key.sha256: key for key in access.keys}
        self._shaping = frozenset((*_SHAPING, *access.keyed_headers))
        self._senders: dict[object, Sender] = {}

    def sender(self, family: Family, raw: RawHeaders) -> Sender:
        """Return the caller of a request. Raises AccessError."""
        known = (family, *[pair for pair in raw if pair[0] not in _OF_ONE_REQUEST])
        sender = self._senders.get(known)
        if sender is None:
            sender = self._read(family, raw)
            if sum(len(name) + len(value) for name, value in raw) <= _MOST_SENDER_BYTES:
                if len(self._senders) >= _MOST_SENDERS:
                    self._senders.clear()
                self._senders[known] = sender
        return sender

    def _read(self, family: Family, raw: RawHeaders) -> Sender:
        headers: dict[str, str] = {}
        for name, value in raw:
            lowered = name.decode("latin-1").lower()
            if lowered in headers and is_credential(lowered):
                raise AccessError(400, "invalid_request_error", f"the header {lowered} is there twice: send it once")
            headers.setdefault(lowered, value.decode("latin-1"))
        key = self._own_key(headers)
        if key is None and any(_bare(headers[name]).startswith(OWN_KEY) for name in _KEYS if name in headers):
            # One that was taken out of the file, perhaps: the provider has no business with it.
            raise AccessError(401, "authentication_error", "this key of the gateway is not, or no more, a good one")
        if key is None and not self._access.forwards:
            raise AccessError(
                401, "authentication_error", "no key of this gateway: send one as Authorization: Bearer …"
            )
        directives = headers.get("cache-control")
        about: dict[str, object] = {
            "family": family,
            "shaping": {name: headers[name] for name in sorted(self._shaping) if name in headers},
            "controls": DEFAULT if directives is None else Controls.from_cache_control(directives),
            "prompt": self._prompt(headers),
        }
        tenant = self._tenant(headers)
        return self._exchanged(key, tenant, about) if key is not None else self._forwarded(headers, tenant, about)

    def _own_key(self, headers: Mapping[str, str]) -> KeySettings | None:
        if not self._own:
            return None
        for header in _KEYS:
            value = headers.get(header)
            if value is None:
                continue
            digest = hashlib.sha256(_bare(value).encode("latin-1")).hexdigest()
            found = self._own.get(digest)
            if found is not None and hmac.compare_digest(found.sha256, digest):
                return found
        return None

    def _exchanged(self, key: KeySettings, tenant: str | None, about: dict[str, object]) -> Sender:
        name, shared = key.tenant or key.name, self._access.scope
        return Sender(
            tenant=tenant or (None if shared else name),
            shown=tenant or name,
            scope=f"n:{shared}" if shared else f"k:{name}",
            credential=f"k:{key.sha256}" if shared else None,
            digest=None,
            entry="",
            credentials={},
            **about,  # type: ignore[arg-type]  # made above, of these very types
        )

    def _forwarded(self, headers: Mapping[str, str], tenant: str | None, about: dict[str, object]) -> Sender:
        access = self._access
        carried = {
            name: value
            for name, value in credentials(headers).items()
            if name not in (access.tenant_header, access.prompt_header)
        }
        bypass = None
        try:
            own = scope_of(carried, key=access.digest_key)
        except RotatingCredentialError:
            own = scope_of(carried, given="rotating", key=access.digest_key)
            bypass = None if access.scope else "rotating credential"
        digest = own.scope.removeprefix("c:") if own.credential is None else own.credential
        name = f"key-{digest[:12]}" if digest else None
        return Sender(
            tenant=tenant or (None if access.scope else name),
            shown=tenant or name,
            scope=f"n:{access.scope}" if access.scope else f"c:{digest}",
            credential=digest if access.scope else None,
            digest=digest,
            entry=self._entry(str(about["family"]), digest),
            credentials=carried,
            bypass=bypass,
            **about,  # type: ignore[arg-type]  # made above, of these very types
        )

    def _tenant(self, headers: Mapping[str, str]) -> str | None:
        header = self._access.tenant_header
        if header is None:
            return None
        value = headers.get(header)
        if value is None or not value.strip():
            if self._access.tenant_required:
                raise AccessError(400, "invalid_request_error", f"the header {header} is missing: it names the tenant")
            return None
        if len(value) > _MAX_TENANT or not value.isprintable():
            raise AccessError(
                400, "invalid_request_error", f"the header {header} must be at most {_MAX_TENANT} letters"
            )
        return value.strip()

    def _prompt(self, headers: Mapping[str, str]) -> str | None:
        header = self._access.prompt_header
        value = None if header is None else headers.get(header)
        if value is not None and not is_name(value):
            raise AccessError(400, "invalid_request_error", f"the header {header} must be the name of a prompt")
        return value


def _bare(value: str) -> str:
    kind, space, key = value.strip().partition(" ")
    return key.strip() if space and kind.lower() == "bearer" else value.strip()


def check_query(query: bytes) -> None:
    """Refuse an address that holds a credential. Raises AccessError."""
    if not query:
        return
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=None):
        lowered = name.lower()
        if is_credential(lowered) and lowered not in _PAGING:
            raise AccessError(
                400,
                "invalid_request_error",
                f"the address holds the parameter {name[:40]!r}, which looks like a credential; addresses are written "
                "into logs, so send it as a header, such as Authorization",
            )
