"""Between the namespaces in which answers lie, and the names of tenants and prompts.

Long or unusual names stand in namespaces as digests. Those that the gateway has seen of late are known; any other is
shown, and may be given, as the segment itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from cachecore_llm.policy.prompts import label_segments
from cachecore_llm.policy.tenants import tenant_segments
from cachecore_proxy.activity import Name

_HASHED: Final = re.compile(r"[xm]-[A-Za-z0-9_-]{22}")
_MODEL: Final = "model:"


class Place(NamedTuple):
    """The facts of the answers in a namespace that its name tells."""

    tenant: str
    """Empty if there is none, as for `prompt`."""
    prompt: str
    text: str
    """The first digits of the digest of the prompt's text."""


class Places:
    """Names for namespaces; `seen` are names that the gateway has seen."""

    def __init__(self, seen: Iterable[Name]) -> None:
        self._names: dict[str, str] = {}
        names = list(seen)
        for tenant in {name.tenant for name in names if name.tenant}:
            self._note(tenant_segments(tenant)[0], tenant)
        for prompt in {name.prompt for name in names if name.prompt}:
            for segment, text in _labels(prompt.split("/")):
                self._note(segment, text)

    def _note(self, segment: str, text: str) -> None:
        if _HASHED.fullmatch(segment):
            self._names[segment] = text

    def read(self, namespace: str) -> Place:
        """Return the facts that `namespace`, below that of the cache, tells."""
        tenant, prompt, text = "", [], ""
        for segment in namespace.split("/") if namespace else ():
            kind, rest = segment[:2], segment[2:]
            if kind == "p-":
                text = rest[:8]
            elif kind in ("t-", "x-"):
                tenant = rest if kind == "t-" else self._names.get(segment, segment)
            elif kind in ("l-", "m-"):
                prompt.append(rest if kind == "l-" else self._names.get(segment, segment))
        return Place(tenant, "/".join(prompt), text)


def models_of(tags: Iterable[str]) -> str:
    """Return the models for which answers with these tags were asked or given."""
    return ", ".join(sorted(tag[len(_MODEL) :] for tag in tags if tag.startswith(_MODEL)))


def tenant_segment(tenant: str) -> str:
    """Return the segment of a tenant, given by its name or as a digest."""
    return tenant if _HASHED.fullmatch(tenant) and tenant[0] == "x" else tenant_segments(tenant)[0]


def prompt_segments(prompt: str) -> tuple[str, ...]:
    """Return the segments of a prompt's name; each may be given as a digest. Raises OptionsError."""
    parts = prompt.split("/")
    segments = label_segments(prompt)
    return tuple(
        part if _HASHED.fullmatch(part) and part[0] == "m" else segment
        for part, segment in zip(parts, segments, strict=True)
    )


def _labels(parts: list[str]) -> list[tuple[str, str]]:
    if not all(parts) or len(parts) > 4:  # the flow refuses it, so that nothing lies there
        return []
    return list(zip(label_segments("/".join(parts)), parts, strict=True))
