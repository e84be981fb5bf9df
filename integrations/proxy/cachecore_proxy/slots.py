"""How many requests may be under way at once: one too many is told to come again, and waits for nothing here."""

from __future__ import annotations

from types import TracebackType


class OverloadError(Exception):
    """Too many requests or streams are under way."""


class Slots:
    """So many places: `with slots:` takes one. Raises OverloadError. For one event loop."""

    __slots__ = ("_most", "_name", "taken")

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name, self.taken = most, name, 0

    def __enter__(self) -> None:
        if self.taken >= self._most:
            raise OverloadError(f"{self._most} {self._name} are under way already")
        self.taken += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.taken -= 1
