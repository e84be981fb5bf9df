"""One segment of a namespace, marked with its kind, so that none can imitate another, whatever it is called.

    t-acme     a tenant, as it is           x-<digest>  a tenant with other characters, or a long one
    l-faq      one segment of a label       m-<digest>  the same, with other characters or long
    p-<digest> the text of a system prompt

Digests are the first 128 bits of SHA-256: in hexadecimal for prompts, else in base64, so that a tenant and the longest
label together still fit a key.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,22}")


def marked(plain: str, hashed: str, text: str) -> str:
    """Return the segment of `text`: behind the mark `plain` as it is, or behind `hashed` as its digest."""
    if _PLAIN.fullmatch(text):
        return plain + text
    return hashed + base64.urlsafe_b64encode(digest(text)).decode().rstrip("=")


def digest(text: str) -> bytes:
    """Return 16 bytes that stand for `text`."""
    # surrogatepass: text that cannot be encoded still has a namespace; its key is refused with a clear error later.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
