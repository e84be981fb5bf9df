"""Requests that a plugin knows, for `explain`: what a service does not key is no difference.

An entry point of the group `cachecore.requests` names a `RequestReader`. One that does not load is left out, with a
line on stderr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

import typer

from cachecore.contract.protocols import CacheBackend

GROUP: Final = "cachecore.requests"


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request as it is keyed."""

    kind: str
    """What it is, for people, such as `openai.chat`."""
    value: Any = None
    """What is keyed."""
    bypass: str | None = None
    """Why it is never answered from a cache, if it is not."""


class RequestReader(Protocol):
    """Knows requests of one kind."""

    @property
    def prefix(self) -> str:
        """The prefix of the keys of their answers, where none is given."""

    def keyed(self, request: Any) -> Keyed | None:
        """Return how `request` (JSON) is keyed; None if it is none of these. Raises CacheError."""

    def path(self, path: str) -> str:
        """Return how people name the field at `path` of the value that is keyed."""

    async def in_store(
        self, request: Any, backend: CacheBackend, prefix: str, *, shared: bool = False
    ) -> Mapping[str, Any]:
        """Return why `request` is answered from the store, or not, as plain data.

        `shared`: `prefix` is that of a `Cache` which holds their answers in a namespace with the name of `self.prefix`.

        `status` (`hit`, `miss`, `bypass`), `reason`, `nearest` (None, or `key` and `differences` of `path` and `kind`),
        `looked_at`, `comparable`, and `unknown`: fields that the file does not tell. Raises CacheError.
        """


def installed() -> list[RequestReader]:
    """Return the readers of all plugins."""
    found: list[RequestReader] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found.append(point.load())
        except Exception as error:  # noqa: BLE001 - whatever a plugin's import raises; requests are compared as JSON
            typer.echo(f"the requests of {point.name} ({point.value}) cannot be loaded: {error}", err=True)
    return found
