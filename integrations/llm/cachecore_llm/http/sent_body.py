"""The bytes of a request for a stream, with the stream options that its endpoint takes."""

from __future__ import annotations

import json

from cachecore_llm.upstream.stream_options import StreamOptions
from cachecore_llm.wire import JsonObject


def streamed_body(body: bytes, content: JsonObject, options: StreamOptions) -> bytes:
    """Return the caller's bytes, with the options that are wanted of every stream.

    Args:
        body: as the caller wrote it.
        content: the same, read.
        options: what the endpoint takes.
    """
    wanted = options.added_to(content)
    if wanted.get("stream_options") == content.get("stream_options"):
        return body
    if "stream_options" in content or "stream_options" not in wanted:
        return encoded(wanted)
    # Before the caller's own fields, whose bytes stay: JSON of SDKs holds what cannot be encoded again (1e999).
    return b'{"stream_options": ' + json.dumps(wanted["stream_options"]).encode() + b", " + body.lstrip()[1:]


def encoded(content: JsonObject) -> bytes:
    """Return a body that is not the caller's own. Lone surrogates stay as they are."""
    return json.dumps(content, ensure_ascii=False).encode(errors="surrogatepass")


class Refusal:
    """An HTTP error in the form that stream options are judged by."""

    def __init__(self, status_code: int, body: bytes) -> None:
        self.status_code, self.body = status_code, body[:4096]
