"""The settings of a gateway, checked when they are made. Durations are seconds, sizes bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from cachecore.contract.errors import OptionsError
from cachecore.contract.options import positive

Family = Literal["openai", "anthropic"]
"""Protocols of one maker: `openai` is chat, responses and embeddings, `anthropic` is messages."""

FAMILIES: Final[tuple[Family, ...]] = ("openai", "anthropic")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_HEADER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def checked_name(option: str, value: object) -> str:
    """Return a name. Raises OptionsError."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise OptionsError(f"{option} must be 1 to 64 letters, digits, '.', '_' or '-', not {value!r}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """One provider."""

    name: str
    url: str
    """Where its API begins, with or without `/v1`."""
    families: tuple[Family, ...] = ()
    """The protocols that it speaks; empty: as its address says, both where that is not known."""
    credential: str | None = field(default=None, repr=False)
    """The gateway's own key at this provider; None: it has none."""
    credential_header: str | None = None
    """Where that key goes; None: `authorization`, with `Bearer`, for OpenAI, `x-api-key` for Anthropic."""
    forward_keys: bool | None = None
    """Whether keys of callers are sent to it; None: only if it is the first of its family. A key is a secret between a
    caller and one provider."""
    timeout: float = 600.0
    """Until a whole answer is there."""
    first_content_timeout: float = 300.0
    """Until a stream has content."""
    idle_timeout: float = 120.0
    """Between two events of a stream after that."""
    models: Mapping[str, str] = field(default_factory=dict)
    """The model that a request names -> this provider's own; `*` is every other."""

    def __post_init__(self) -> None:
        checked_name("the name of an upstream", self.name)
        parts = urlsplit(self.url)
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise OptionsError(f"url of the upstream {self.name!r} must be http(s)://host[/path], not {shown!r}")
        if parts.username or parts.password:
            raise OptionsError(
                f"url of the upstream {self.name!r} holds a credential: name the environment variable that holds it, "
                "credential_env='…'"
            )
        for option in ("timeout", "first_content_timeout", "idle_timeout"):
            positive(f"{option} of the upstream {self.name!r}", getattr(self, option))
        if not self.families:
            object.__setattr__(self, "families", _families(parts.hostname))
        if unknown := [family for family in self.families if family not in FAMILIES]:
            raise OptionsError(
                f"protocols of the upstream {self.name!r} are of {', '.join(FAMILIES)}, not {unknown[0]!r}"
            )
        if self.credential_header is not None and not _HEADER.fullmatch(self.credential_header):
            raise OptionsError(
                f"credential_header of {self.name!r} must be a name in lower case, not {self.credential_header!r}"
            )
        for asked, own in self.models.items():
            given: object = own  # the annotation is not checked at run time
            if not isinstance(given, str) or not given or not asked:
                raise OptionsError(f"models of the upstream {self.name!r} map names to names, not {asked!r} to {own!r}")
        object.__setattr__(self, "models", MappingProxyType(dict(self.models)))

    @property
    def base(self) -> str:
        """Return the address to which `/v1/…` is added."""
        return self.url.rstrip("/").removesuffix("/v1").rstrip("/")


def _families(host: str) -> tuple[Family, ...]:
    if host == "anthropic.com" or host.endswith(".anthropic.com"):
        return ("anthropic",)
    return ("openai",) if host.endswith((".openai.com", ".azure.com")) else FAMILIES


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """A key that this gateway gave out, as its digest."""

    name: str
    sha256: str
    """Hexadecimal digits of the SHA-256 of the key."""
    tenant: str | None = None
    """None: the name."""

    def __post_init__(self) -> None:
        checked_name("the name of a key", self.name)
        if not _DIGEST.fullmatch(self.sha256):
            raise OptionsError(
                f"sha256 of the key {self.name!r} must be 64 hexadecimal digits in lower case, never the key itself: "
                "`cachecore proxy --new-key NAME` makes both"
            )
        if self.tenant is not None and not self.tenant:
            raise OptionsError(
                f"tenant of the key {self.name!r} must not be empty; leave it out for the key's own name"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """The callers that may ask, and those that share answers."""

    keys: tuple[KeySettings, ...] = ()
    forward_keys: bool | None = None
    """Whether a key that is none of `keys` is forwarded, for the provider to judge; None: only without `keys`."""
    scope: str | None = None
    """A name under which all share answers; None: each key has its own."""
    tenant_header: str | None = None
    """The header that names the tenant, in place of the key."""
    tenant_required: bool = False
    """Whether a request without that header is refused."""
    prompt_header: str | None = None
    """The header that names the prompt."""
    digest_key: bytes = field(default=b"", repr=False)
    """Of the digests of forwarded keys; the same in all gateways on one store."""
    keyed_headers: tuple[str, ...] = ()
    """Headers that shape answers and go to the provider, beside the protocols' own."""

    def __post_init__(self) -> None:
        digests = [key.sha256 for key in self.keys]
        names = [key.name for key in self.keys]
        if len(set(digests)) < len(digests) or len(set(names)) < len(names):
            raise OptionsError("two keys have one name or one digest: give each a name and a key of its own")
        if self.scope is not None and not self.scope:
            raise OptionsError("scope must not be empty; leave it out to keep keys apart")
        if self.tenant_required and self.tenant_header is None:
            raise OptionsError("tenant_required=true needs tenant_header, the name of the header that names the tenant")
        if len(self.digest_key) > 64:
            raise OptionsError("digest_key must be at most 64 bytes")
        for option in ("tenant_header", "prompt_header"):
            value = getattr(self, option)
            if value is not None and not _HEADER.fullmatch(value):
                raise OptionsError(f"{option} must be the name of a header in lower case, not {value!r}")

    @property
    def forwards(self) -> bool:
        """Return whether keys that are none of the gateway's own are forwarded."""
        return not self.keys if self.forward_keys is None else self.forward_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds on the clients."""

    max_body_bytes: int = 32 * 1024 * 1024
    """Of a call to a model."""
    max_upload_bytes: int = 512 * 1024 * 1024
    """Of any other request, which is not kept in memory."""
    max_head_bytes: int = 64 * 1024
    max_answer_bytes: int = 64 * 1024 * 1024
    """Of a provider's whole answer."""
    max_requests: int = 2_000
    """Requests under way, without streams."""
    max_streams: int = 5_000
    max_connections: int = 10_000
    head_timeout: float = 10.0
    """From the connection, or the first byte, to the end of the headers."""
    body_timeout: float = 60.0
    """For the whole body of a call to a model, and for each part of another request's."""
    send_timeout: float = 30.0
    """For a client to read a part of its answer."""
    answer_timeout: float = 900.0
    """From the end of the body to the answer, or the first event."""
    keep_alive: float = 75.0
    """For which a connection stays open between two requests."""
    stop_timeout: float = 30.0
    """For requests and streams under way, when the gateway stops."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value: Any = getattr(self, name)
            if name.startswith("max_"):
                if type(value) is not int or value < 1:
                    raise OptionsError(f"{name} must be a whole number of at least 1, not {value!r}")
            else:
                positive(name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """A prompt by name, for invalidation and counts."""

    name: str
    text: str = field(repr=False)
    file: str | None = None
    """Where the text came from, if from a file that is watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings of a gateway."""

    store: str = field(default="memory://", repr=False)
    """A URL, which may hold a password."""
    upstreams: tuple[UpstreamSettings, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    access: AccessSettings = AccessSettings()
    bounds: Bounds = Bounds()
    cache: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `CacheConfig`."""
    store_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the store, such as `l1_max_bytes`."""
    prompts: tuple[PromptSettings, ...] = ()
    access_log: bool = True
    metrics: bool = True
    """Whether `/metrics` is served."""
    admin: Mapping[str, Any] = field(default_factory=dict)
    """The table `[admin]`, for the page."""
    source: str = "the command line"
    """Where they were read, for errors."""

    def __post_init__(self) -> None:
        if not self.upstreams:
            raise OptionsError(
                "a gateway needs an upstream: --upstream https://api.openai.com, or [[upstreams]] in the file"
            )
        names = [upstream.name for upstream in self.upstreams]
        if len(set(names)) < len(names):
            raise OptionsError(f"the names of upstreams must differ: {', '.join(names)}")
        if not 0 <= self.port <= 65_535:
            raise OptionsError(f"port must be from 0 to 65535, not {self.port!r}")
        self._check_keys()

    def of_family(self, family: Family) -> tuple[UpstreamSettings, ...]:
        """Return the providers of `family`, in the order they are asked."""
        return tuple(upstream for upstream in self.upstreams if family in upstream.families)

    def _check_keys(self) -> None:
        """Keys of the gateway's own are worth nothing at a provider: the first ones need a credential."""
        if not self.access.keys:
            return
        for family in FAMILIES:
            first = self.of_family(family)[:1]
            if first and first[0].credential is None and self.access.forward_keys is not True:
                raise OptionsError(
                    f"[[keys]] are exchanged for the credential of the upstream {first[0].name!r}, which has none: "
                    "give it credential_env='NAME_OF_A_VARIABLE' (or credential_file)"
                )
