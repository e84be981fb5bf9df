"""The head of a request as bytes. What could begin another line or another request is refused."""

from __future__ import annotations

import re
from typing import Final

import httpx2

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch
_TARGET: Final = re.compile(rb"[!-~]+").fullmatch


def head_of(request: httpx2.Request) -> bytes:
    """Return the head of a POST whose body is there. Raises httpx2.LocalProtocolError for one that is not sound."""
    target = request.url.raw_path
    if request.method != "POST" or not _TARGET(target):
        raise httpx2.LocalProtocolError("the method is none but POST, or the target is not sound", request=request)
    lines = [b"POST ", target, b" HTTP/1.1\r\n"]
    lengths = []
    for name, value in request.headers.raw:
        lowered = name.lower()
        if not _NAME(name) or not _VALUE(value) or lowered == b"transfer-encoding":
            raise httpx2.LocalProtocolError("a header of the request is not sound", request=request)
        if lowered == b"content-length":
            lengths.append(value)
        lines += (name, b": ", value, b"\r\n")
    if lengths != [b"%d" % len(request.content)]:
        raise httpx2.LocalProtocolError("the length of the body is another than its head says", request=request)
    lines.append(b"\r\n")
    return b"".join(lines)
