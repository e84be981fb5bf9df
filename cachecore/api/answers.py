"""All calls that read and write the answers of one view."""

from __future__ import annotations

from typing import TypeVar

from cachecore.api.claims import Claims
from cachecore.api.contents import Contents
from cachecore.api.many import Many
from cachecore.api.writes import Writes

V = TypeVar("V")


class Answers(Many[V], Writes[V], Claims[V], Contents[V]):
    """The calls that a decorated function uses; `Cache` adds building and closing."""

    __slots__ = ()
