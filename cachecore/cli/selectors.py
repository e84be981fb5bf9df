"""What answers are meant by an option that a plugin brings, such as `--prompt` of a layer for LLMs.

An entry point of the group `cachecore.selectors` names a `Selector`. Its options join those of `invalidate`, and its
selections are invalidated as the core's own are. One that does not load is left out, with a line on stderr.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, Protocol

import typer

GROUP: Final = "cachecore.selectors"


@dataclass(frozen=True, slots=True)
class Selection:
    """Answers: those that carry `tag`, those in `namespace`, or both."""

    words: str
    """What they are, for people, such as `the answers to the prompt 'faq'`."""
    tag: str | None = None
    namespace: str | None = None
    holds: Callable[[str], bool] | None = None
    """With `tag`: told a namespace, whether what lies there carries the tag, where that can be known by namespace."""


class Selector(Protocol):
    """Options that mean answers."""

    @property
    def options(self) -> Mapping[str, str]:
        """Name of each option, without its dashes, to its help."""

    @property
    def prefix(self) -> str:
        """The prefix of the keys of these answers, where none is given."""

    def select(self, given: Mapping[str, str]) -> list[Selection]:
        """Return what `given` (option to value, those that were given) means. Raises OptionsError."""


def installed() -> list[Selector]:
    """Return the selectors of all plugins."""
    found: list[Selector] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            found.append(point.load())
        except Exception as error:  # noqa: BLE001 - whatever a plugin's import raises; the command works without it
            typer.echo(f"the options of {point.name} ({point.value}) cannot be loaded: {error}", err=True)
    return found
