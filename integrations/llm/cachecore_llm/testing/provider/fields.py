"""The fields of a request's body, read with the types they must have; others are refused as the services do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

Vendor = Literal["openai", "anthropic"]

_NAMES: Final = {dict: "object", list: "array", str: "string", int: "integer"}


class RejectedError(Exception):
    """A request that the real service would refuse. `kind` is the error's type or code; None: the status' usual one."""

    def __init__(self, status: int, message: str, *, param: str | None = None, kind: str | None = None) -> None:
        super().__init__(status, message)
        self.status, self.message, self.param, self.kind = status, message, param, kind


class Fields:
    """The fields of a JSON object inside a request; `path` leads to it, as in `text.format`. `null` means absent.

    All methods raise RejectedError for a value of another type.
    """

    def __init__(self, values: Mapping[str, Any], vendor: Vendor, path: str = "") -> None:
        self.values = values
        self.vendor: Vendor = vendor
        self.path = path

    def _place(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def refuse(self, name: str, expected: str, value: Any) -> RejectedError:
        """Return the error for a value that is not as expected; the value itself is not repeated but for a number."""
        place = self._place(name)
        shown = value if isinstance(value, int | float) else _NAMES.get(type(value), "null")
        if self.vendor == "anthropic":
            return RejectedError(400, f"{place}: Input should be {expected}, not {shown}")
        message = f"Invalid '{place}': expected {expected}, but got {shown} instead."
        return RejectedError(400, message, param=place, kind="invalid_type")

    def _of(self, name: str, kind: type[Any]) -> Any:
        value = self.values.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise self.refuse(name, f"a valid {_NAMES[kind]}", value)
        return value

    def required(self, name: str, kind: type[Any]) -> Any:
        """Return a value that must be there and not empty."""
        value = self._of(name, kind)
        if value is None:
            if self.vendor == "anthropic":
                raise RejectedError(400, f"{self._place(name)}: Field required")
            place = self._place(name)
            raise RejectedError(
                400, f"Missing required parameter: '{place}'.", param=place, kind="missing_required_parameter"
            )
        if value in ("", []):
            raise self.refuse(name, f"a {_NAMES[kind]} that is not empty", value)
        return value

    def array(self, name: str) -> list[Any]:
        """Return an array, an empty one if absent."""
        return self._of(name, list) or []

    def objects(self, name: str) -> list[dict[str, Any]]:
        """Return an array of objects, an empty one if absent."""
        value = self.array(name)
        for n, one in enumerate(value):
            if not isinstance(one, dict):
                raise self.refuse(f"{name}[{n}]", "a valid object", one)
        return value

    def object(self, name: str) -> Fields:
        """Return the fields of an object, none if absent."""
        return Fields(self._of(name, dict) or {}, self.vendor, self._place(name))

    def text(self, name: str) -> str | None:
        """Return a text."""
        value: str | None = self._of(name, str)
        return value

    def whole(self, name: str, least: int = 1, most: int | None = None) -> int | None:
        """Return a whole number within bounds."""
        value: int | None = self._of(name, int)
        if value is not None and (value < least or (most is not None and value > most)):
            bounds = f"an integer of at least {least}" if most is None else f"an integer from {least} to {most}"
            raise self.refuse(name, bounds, value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the texts that are not empty of one text or an array of texts."""
        value = self.values.get(name)
        listed = [value] if isinstance(value, str) else self.array(name)
        for n, one in enumerate(listed):
            if not isinstance(one, str):
                raise self.refuse(f"{name}[{n}]", "a valid string", one)
        return tuple(one for one in listed if one)
