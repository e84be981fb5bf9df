"""Where answers live: the namespace `[tenant/][label/]<digest of the system prompt>`, and how segments are told apart.

Each segment begins with a mark of its kind, so that none can imitate another, whatever it is called:

    t-acme     a tenant, as it is           x-<digest>  a tenant with other characters, or a long one
    l-faq      one segment of a label       m-<digest>  the same, with other characters or long
    p-<digest> a system prompt

A label may have several segments (`faq/v3`); a tenant is always one. Digests are the first 128 bits of SHA-256: in
hexadecimal for prompts, else in base64, so that a tenant and the longest label together still fit a key.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from cachecore.contract.errors import OptionsError

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,22}")
_MAX_LABEL_SEGMENTS: Final = 4


def prompt_digest(system_prompt: str) -> str:
    """Return 32 hexadecimal digits that stand for `system_prompt`."""
    return _digest(system_prompt).hex()


def namespace(system_prompt: str, *, tenant: str | None = None, label: str | None = None) -> str:
    """Return where the answers to `system_prompt` live.

    Raises:
        OptionsError: `tenant` is empty, or `label` has an empty segment or more than four.
    """
    return "/".join([*tenant_segments(tenant), *label_segments(label), "p-" + prompt_digest(system_prompt)])


def tenant_segments(tenant: str | None) -> list[str]:
    """Return the segments of `tenant`: one, or none for None."""
    if tenant is None:
        return []
    given: object = tenant
    if not isinstance(given, str):
        raise OptionsError(f"a tenant must be text, not {given!r}: tenant=str({given!r})")
    if not tenant:
        raise OptionsError("a tenant must not be empty; leave it out where there is none")
    return [_marked("t-", "x-", tenant)]


def label_segments(label: str | None) -> list[str]:
    """Return the segments of `label`, outermost first; none for None."""
    if label is None:
        return []
    given: object = label
    if not isinstance(given, str):
        raise OptionsError(f"a label must be text such as 'faq/v3', not {given!r}")
    segments = label.split("/")
    if not all(segments) or len(segments) > _MAX_LABEL_SEGMENTS:
        raise OptionsError(f"a label is one to {_MAX_LABEL_SEGMENTS} non-empty segments joined by '/', not {label!r}")
    return [_marked("l-", "m-", segment) for segment in segments]


def _marked(plain: str, hashed: str, text: str) -> str:
    if _PLAIN.fullmatch(text):
        return plain + text
    return hashed + base64.urlsafe_b64encode(_digest(text)).decode().rstrip("=")


def _digest(text: str) -> bytes:
    # surrogatepass: text that cannot be encoded still has a namespace; its key is refused with a clear error later.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
