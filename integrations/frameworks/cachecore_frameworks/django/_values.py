"""The values that Django's caches keep beside plain data: responses and safe strings, without pickle."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpResponse
from django.utils.safestring import SafeString

from cachecore.serializers import ExtendedSerializer, Kind


def _parts(response: Any) -> list[Any]:
    cookies = [[name, one.value, one.coded_value, dict(one)] for name, one in response.cookies.items()]
    return [response.content, response.status_code, response.reason_phrase, list(response.headers.items()), cookies]


def _response(parts: Any) -> Any:
    content, status, reason, headers, cookies = parts
    response = HttpResponse(content, status=status, reason=reason, headers=dict(headers))
    for name, value, coded, attributes in cookies:
        response.cookies[name] = value
        response.cookies[name].set(name, value, coded)
        response.cookies[name].update(attributes)
    return response


SERIALIZER: Final = ExtendedSerializer(
    [Kind(64, "response", HttpResponse, _parts, _response), Kind(65, "safe", SafeString, str.__str__, SafeString)]
)
"""The serializer of these caches; a `Cache` given as `LOCATION` has it or one of its own."""


def storable(value: Any) -> Any:
    """Return `value`, a response of another class as the plain response that it sends."""
    return _response(_parts(value)) if isinstance(value, HttpResponse) else value
