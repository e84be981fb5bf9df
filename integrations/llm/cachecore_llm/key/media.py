"""Media by content: base64 becomes the digest of the bytes it stands for, however it was written.

A text that is not base64, or a URL of any other kind, is keyed as it is and never fetched.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

_DATA_URL: Final = re.compile(r"data:([^,]*?);base64,", re.IGNORECASE)
_SPACE: Final = str.maketrans("", "", " \t\r\n\f\v")


def by_content(value: Any) -> Any:
    """Return the media type and digest in place of a data URL; any other value as it is. O(length)."""
    if not isinstance(value, str):
        return value
    start = _DATA_URL.match(value)
    if start is None:
        return value
    data = value[start.end() :]
    digest = _digest(data)
    if digest is None:
        return value
    kind, semicolon, parameters = start[1].partition(";")
    return [b"media", kind.strip().lower() + semicolon + parameters, digest]


def base64_by_content(value: Any) -> Any:
    """Return the digest in place of a data URL or of bare base64; any other value as it is. O(length)."""
    if not isinstance(value, str) or _DATA_URL.match(value):
        return by_content(value)
    digest = _digest(value)
    return value if digest is None else [b"media", None, digest]


def _digest(data: str) -> bytes | None:
    """Return the SHA-256 of the bytes that `data` stands for, None if it is no base64."""
    try:
        if "%" in data:  # a data URL may escape +, / and =; base64 itself has no %
            data = unquote_to_bytes(data).decode("latin-1")
        content = binascii.a2b_base64(data.translate(_SPACE), strict_mode=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII or has no bytes
        return None
    return hashlib.sha256(content).digest()
