"""The values that Flask-Caching keeps beside plain data: responses, markup and errors, without pickle."""

from __future__ import annotations

from typing import Any, Final

from flask import Response
from markupsafe import Markup
from werkzeug.exceptions import HTTPException, default_exceptions

from cachecore import EncodingError
from cachecore.serializers import ExtendedSerializer, Kind


class _Abort:
    """An error of werkzeug on its way to bytes."""

    def __init__(self, error: HTTPException) -> None:
        extras = {name for name, value in vars(error).items() if value is not None} - {"description"}
        if extras or default_exceptions.get(error.code or 0) is not type(error):
            raise EncodingError(f"a {type(error).__name__} with a response or headers of its own cannot be stored")
        self.parts = [error.code, error.description]


def _parts(response: Response) -> list[Any]:
    if not response.is_sequence:
        raise EncodingError("a response that streams cannot be stored: return its whole data")
    return [response.get_data(), response.status, list(response.headers.items())]


def _response(parts: Any) -> Response:
    data, status, headers = parts
    response = Response(data, status)
    response.headers.clear()
    response.headers.extend(map(tuple, headers))
    return response


SERIALIZER: Final = ExtendedSerializer(
    [
        Kind(64, "response", Response, _parts, _response),
        Kind(65, "markup", Markup, str.__str__, Markup),
        Kind(66, "abort", _Abort, lambda abort: abort.parts, lambda parts: default_exceptions[parts[0]](parts[1])),
    ]
)
"""The serializer of these caches; a `Cache` given as `backend` has it or one of its own."""


def storable(value: Any) -> Any:
    """Return `value`, a response of another class as the plain response that it sends, an error as its parts."""
    if isinstance(value, Response) and type(value) is not Response:
        return _response(_parts(value))
    return _Abort(value) if isinstance(value, HTTPException) else value
